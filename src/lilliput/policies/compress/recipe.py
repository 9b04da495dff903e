"""Recipes of steps as text: `prune_units(ratio=0.5) | quantize(weight_bits=8)`, the one identity of an experiment."""

from lilliput import recipe as grammar
from lilliput.parameter import called
from lilliput.policies.compress.step import Step
from lilliput.policies.compress.table import STEPS

Recipe = tuple[Step, ...]


def parse(text: str) -> Recipe:
    """The steps that the text names; none for an empty text.

    >>> format_recipe(parse("prune_units( 0.5 )|half( )"))
    'prune_units(ratio=0.5) | half()'

    Raises:
        LilliputError: the text is not a recipe; the error says where.
    """
    return tuple(called(call, STEPS) for call in grammar.parse(text))


def format_recipe(recipe: Recipe) -> str:
    """The canonical text: parameters by name, in the order of their declaration, defaults left out."""
    return grammar.format_calls(grammar.call_of(step.NAME, step) for step in recipe)
