"""Model + recipe -> model: one module a step, rows in `table`; `arithmetic` works on a weight and a Hessian alone."""

import dataclasses

from lilliput.models.compress.context import Context
from lilliput.models.compress.recipe import Recipe, format_recipe, parse
from lilliput.models.compress.step import Step
from lilliput.models.compress.table import STEPS
from lilliput.models.model import Model

__all__ = ["STEPS", "Context", "Recipe", "Step", "compress", "format_recipe", "parse"]


def compress(model: Model, recipe: Recipe | str, context: Context | None = None) -> Model:
    """The model after every step of the recipe, in order; its provenance carries the recipe's canonical text.

    Raises:
        NotApplicable: a step has nothing to do on this model.
        LilliputError: the recipe cannot be read or honoured.
    """
    steps = parse(recipe) if isinstance(recipe, str) else recipe
    context = Context(model) if context is None else context
    before = model.provenance.recipe
    for step in steps:
        model = step.apply(model, context)
    text = " | ".join(part for part in (before, format_recipe(steps)) if part)
    return dataclasses.replace(model, provenance=dataclasses.replace(model.provenance, recipe=text))
