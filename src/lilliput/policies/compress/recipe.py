"""Recipes of steps as text: `prune_units(ratio=0.5) | quantize(weight_bits=8)`, the one identity of an experiment."""

from lilliput import recipe as grammar
from lilliput.errors import LilliputError, closest
from lilliput.policies.compress.step import Step, checked_arguments
from lilliput.policies.compress.table import STEPS
from lilliput.recipe import Call

Recipe = tuple[Step, ...]


def parse(text: str) -> Recipe:
    """The steps that the text names; none for an empty text.

    >>> format_recipe(parse("prune_units( 0.5 )|half( )"))
    'prune_units(ratio=0.5) | half()'

    Raises:
        LilliputError: the text is not a recipe; the error says where.
    """
    return tuple(_step(call) for call in grammar.parse(text))


def format_recipe(recipe: Recipe) -> str:
    """The canonical text: parameters by name, in the order of their declaration, defaults left out."""
    return grammar.format_calls(grammar.call_of(step.NAME, step) for step in recipe)


def _step(call: Call) -> Step:
    name = call.name
    if name not in STEPS:
        raise LilliputError(f"recipe: unknown step {name[:40]!r}; {closest(name, STEPS)}steps: {', '.join(STEPS)}")
    if call.bare:
        raise LilliputError(f"recipe: {name} is a step; write {name}() or {name}(name=value, ...)")
    kind = STEPS[name]
    return kind(**checked_arguments(kind, grammar.arguments_of(call, grammar.fields_of(kind))))
