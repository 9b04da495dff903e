"""Recipes of this wing as text: `prune_weights(sparsity=0.5) | quantize(weight_bits=4)`, in the house's one grammar."""

from lilliput import recipe as grammar
from lilliput.models.compress.step import Step
from lilliput.models.compress.table import STEPS
from lilliput.parameter import called

Recipe = tuple[Step, ...]


def parse(text: str) -> Recipe:
    """The steps that the text names; none for an empty text.

    Raises:
        LilliputError: the text is not a recipe of this wing; the error says where.
    """
    return tuple(called(call, STEPS) for call in grammar.parse(text))


def format_recipe(recipe: Recipe) -> str:
    """The canonical text: parameters by name, in the order of their declaration, defaults left out."""
    return grammar.format_calls(grammar.call_of(step.NAME, step) for step in recipe)
