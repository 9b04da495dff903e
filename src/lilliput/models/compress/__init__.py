"""Model + recipe -> model: one module a step, rows in `table`; `arithmetic` works on a weight and a Hessian alone."""

import dataclasses

from lilliput.errors import LilliputError
from lilliput.models.compress.calibration_pictures import check_pictures
from lilliput.models.compress.calibration_text import check_text
from lilliput.models.compress.context import Context
from lilliput.models.compress.recipe import Recipe, format_recipe, parse
from lilliput.models.compress.step import Step
from lilliput.models.compress.table import STEPS
from lilliput.models.model import Model

__all__ = ["STEPS", "Context", "Recipe", "Step", "check", "compress", "format_recipe", "parse"]


def compress(model: Model, recipe: Recipe | str, context: Context | None = None) -> Model:
    """The model after every step of the recipe, in order; its provenance carries the recipe's text and what steps said.

    Raises:
        NotApplicable: a step has nothing to do on this model.
        LilliputError: the recipe cannot be read or honoured.
    """
    steps = parse(recipe) if isinstance(recipe, str) else recipe
    check(model, steps)
    context = Context(model) if context is None else context
    before, said = model.provenance.recipe, list[str]()
    tell = context.tell

    def say(sentence: str) -> None:
        said.append(sentence)
        tell(sentence)

    context = dataclasses.replace(context, say=say)
    for step in steps:
        model = step.apply(model, context)
    text = " | ".join(part for part in (before, format_recipe(steps)) if part)
    every = tuple(dict.fromkeys((*model.provenance.said, *said)))
    return dataclasses.replace(model, provenance=dataclasses.replace(model.provenance, recipe=text, said=every))


def check(model: Model, recipe: Recipe) -> None:
    """Check what can be known before anything is computed: every step is for such models, every source is there.

    Raises:
        LilliputError: one is not; the error names the step.
    """
    for step in recipe:
        step.check(model)
        for source in step.sources:
            try:
                check_text(source) if model.family == "language" else check_pictures(source, step.pictures)
            except LilliputError as error:
                raise LilliputError(f"{step.NAME}: source {error}") from error
