"""What a report reads off a recipe's text; the steps themselves are none of its business."""

import ast
import functools
from dataclasses import dataclass
from typing import Any, final

MAIN = {
    "prune_units": "ratio", "prune_weights": "sparsity", "quantize": "weight_bits", "distill": "hidden",
    "finetune": "weight_bits", "half": "",
}  # fmt: skip
"""The parameter that says how far a step goes."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "quantize": {"weight_bits": 8, "activation_bits": 8, "scheme": "dynamic"},
    "prune_units": {"importance": "l1"},
    "prune_weights": {"importance": "magnitude"},
}
"""What a canonical text leaves out and a reader wants to see."""


@final
@dataclass(frozen=True)
class StepText:
    """A step's name and its arguments, with the defaults that matter to a reader."""

    name: str
    arguments: tuple[tuple[str, Any], ...]

    def get(self, parameter: str) -> Any:
        """The argument, or None."""
        return dict(self.arguments).get(parameter)


@functools.cache
def steps(recipe: str) -> tuple[StepText, ...]:
    """The steps of a canonical recipe text.

    >>> [(s.name, s.get("ratio"), s.get("weight_bits")) for s in steps("prune_units(ratio=0.5) | quantize()")]
    [('prune_units', 0.5, None), ('quantize', None, 8)]
    """
    if not recipe:
        return ()
    node = ast.parse(recipe, mode="eval").body
    calls = []
    while isinstance(node, ast.BinOp):
        calls.append(node.right)
        node = node.left
    return tuple(_step(call) for call in [node, *reversed(calls)] if isinstance(call, ast.Call))


@functools.cache
def method(recipe: str) -> str:
    """What kind of recipe it is: its steps and their choices, without how far they go.

    >>> method('prune_units(ratio=0.5, importance="l2") | quantize(weight_bits=4)')
    'prune_units l2 | quantize dynamic'
    """
    words = []
    for step in steps(recipe):
        choices = [str(value) for _, value in step.arguments if isinstance(value, str)]
        words.append(" ".join([step.name, *choices]))
    return " | ".join(words) or "baseline"


def axis(recipe: str) -> tuple[str, str, float] | None:
    """The curve that a recipe of one step is a point of: the curve's name, what varies, and where; None without one.

    >>> axis('prune_units(ratio=0.5, importance="l2")')
    ('prune_units l2', 'ratio', 0.5)
    """
    found = steps(recipe)
    if len(found) != 1 or not MAIN.get(found[0].name):
        return None
    parameter = MAIN[found[0].name]
    value = found[0].get(parameter)
    if not isinstance(value, int | float):
        return None
    others = [str(v) if isinstance(v, str) else f"{name}={v}" for name, v in found[0].arguments if name != parameter]
    return " ".join([found[0].name, *others]), parameter, float(value)


def _step(call: ast.Call) -> StepText:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    given = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    return StepText(name, tuple({**_DEFAULTS.get(name, {}), **given}.items()))


def calibration(recipe: str) -> list[str] | None:
    """What a recipe calibrates on, [method, source, observations], where a step says so or is known to calibrate.

    >>> calibration('quantize(scheme="static", source="gaussian", draw=3)')
    ['quantize static', 'gaussian', '2048']
    """
    for step in steps(recipe):
        if any(step.get(name) is not None for name in ("source", "observations", "draw")) or (
            step.get("scheme") == "static" or step.get("importance") in ("wanda", "sparsegpt", "activation")
        ):
            choices = [str(v) for name, v in step.arguments if isinstance(v, str) and name != "source"]
            source = step.get("source") or "on_policy"
            return [" ".join([step.name, *choices]), source, str(step.get("observations") or 2048)]
    return None
