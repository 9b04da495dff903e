"""What a report reads off a recipe's text; the steps themselves are none of its business."""

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

AXES = ("ratio", "sparsity", "weight_bits", "activation_bits", "hidden", "observations")
"""The parameters that say how far a step goes."""

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
    >>> method("finetune(sparsity=0.9)")
    'finetune sparse'
    """
    words = []
    for step in steps(recipe):
        choices = [str(value) for _, value in step.arguments if isinstance(value, str)]
        pruning = ["sparse"] if step.name == "finetune" and step.get("sparsity") else []
        words.append(" ".join([step.name, *choices, *pruning]))
    return " | ".join(words) or "baseline"


@final
@dataclass(frozen=True)
class Curve:
    """A curve that a recipe is a point of: the line's name, the parameter that varies along it, and where."""

    line: str
    parameter: str
    value: float


def curves(recipes: Iterable[str]) -> dict[str, tuple[Curve, ...]]:
    """The curves that each recipe is a point of: of recipes that differ in one parameter alone.

    >>> found = curves(["prune_units(ratio=0.1) | half()", "prune_units(ratio=0.5) | half()", "half()"])
    >>> found["prune_units(ratio=0.5) | half()"], found["half()"]
    ((Curve(line='prune_units l1 | half', parameter='ratio', value=0.5),), ())
    """
    points: dict[tuple[object, ...], dict[str, Curve]] = defaultdict(dict)
    distinct = list(dict.fromkeys(recipes))
    for recipe in distinct:
        found = steps(recipe)
        for number, step in enumerate(found):
            for parameter, value in step.arguments:
                if parameter in AXES and isinstance(value, int | float):
                    rest = tuple(tuple(p for p in s.arguments if s is not step or p[0] != parameter) for s in found)
                    line = " | ".join(_words(s, parameter if s is step else "") for s in found)
                    key = (number, parameter, tuple(s.name for s in found), rest)
                    points[key][recipe] = Curve(line, parameter, float(value))
    known: dict[str, list[Curve]] = {recipe: [] for recipe in distinct}
    for spots in points.values():
        if len(spots) > 1:
            for recipe, curve in spots.items():
                known[recipe].append(curve)
    return {recipe: tuple(found) for recipe, found in known.items()}


def _words(step: StepText, parameter: str) -> str:
    """A step's name and choices, with the numbers that are not the usual ones."""
    usual = _DEFAULTS.get(step.name, {})
    own = [(name, value) for name, value in step.arguments if name != parameter]
    words = [
        str(v) if isinstance(v, str) else f"{name}={v}" for name, v in own if usual.get(name) != v or name in _SHOWN
    ]
    return " ".join([step.name, *words])


_SHOWN = ("scheme", "importance")
"""Choices that a reader wants to see even where they are the usual ones."""


def undrawn(recipe: str) -> str:
    """The recipe's text without the draw of its calibration data: draws of one have this in common.

    >>> undrawn('quantize(scheme="static", draw=3)')
    'quantize(scheme="static")'
    """
    return re.sub(r"(?:, )?\bdraw=\d+", "", recipe)


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
