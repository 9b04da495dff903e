"""What a report reads off a recipe's text; the steps themselves are none of its business."""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, final

from lilliput import recipe
from lilliput.policies.compress.context import DEFAULT_OBSERVATIONS
from lilliput.policies.compress.table import shown_defaults
from lilliput.recipe import Call
from lilliput.task import MODEL_SCORES, RETURN

AXES = ("ratio", "sparsity", "weight_bits", "activation_bits", "hidden", "observations", "samples")
"""The parameters that say how far a step goes."""


@functools.cache
def steps(text: str, score: str = RETURN) -> tuple[Call, ...]:
    """The steps of a canonical recipe text, with the defaults that matter to a reader.

    >>> [(s.name, s.get("ratio"), s.get("weight_bits")) for s in steps("prune_units(ratio=0.5) | quantize()")]
    [('prune_units', 0.5, None), ('quantize', None, 8)]
    >>> steps('quantize(method="gptq", source="c4")', "item_score")[0].get("samples")
    128
    """
    calls = recipe.parse(text)
    # Steps of models have the names of those of policies, and defaults of their own.
    return tuple((_full_of_models if score in MODEL_SCORES else _full)(call) for call in calls)


@functools.cache
def method(text: str, score: str = RETURN) -> str:
    """What kind of recipe it is: its steps and their choices, without how far they go; `score`: what it is judged by.

    >>> method('prune_units(ratio=0.5, importance="l2") | quantize(weight_bits=4)')
    'prune_units l2 | quantize dynamic'
    >>> method('quantize(method="gptq", source="c4")', "item_score")
    'quantize gptq c4'
    >>> method("finetune(sparsity=0.9)")
    'finetune sparse'
    """
    words = []
    for step in steps(text, score):
        choices = [str(value) for _, value in step.named if isinstance(value, str)]
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


def curves(recipes: Iterable[str], score: str = RETURN) -> dict[str, tuple[Curve, ...]]:
    """The curves that each recipe is a point of: of recipes that differ in one parameter alone.

    >>> found = curves(["prune_units(ratio=0.1) | half()", "prune_units(ratio=0.5) | half()", "half()"])
    >>> found["prune_units(ratio=0.5) | half()"], found["half()"]
    ((Curve(line='prune_units l1 | half', parameter='ratio', value=0.5),), ())
    """
    points: dict[tuple[object, ...], dict[str, Curve]] = defaultdict(dict)
    distinct = list(dict.fromkeys(recipes))
    for text in distinct:
        found = steps(text, score)
        for number, step in enumerate(found):
            for parameter, value in step.named:
                if parameter in AXES and isinstance(value, int | float):
                    rest = tuple(tuple(p for p in s.named if s is not step or p[0] != parameter) for s in found)
                    line = " | ".join(_words(s, parameter if s is step else "") for s in found)
                    key = (number, parameter, tuple(s.name for s in found), rest)
                    points[key][text] = Curve(line, parameter, float(value))
    known: dict[str, list[Curve]] = {text: [] for text in distinct}
    for spots in points.values():
        if len(spots) > 1:
            for text, curve in spots.items():
                known[text].append(curve)
    return {text: tuple(found) for text, found in known.items()}


def _words(step: Call, parameter: str) -> str:
    """A step's name and choices, with the numbers that are not the usual ones."""
    usual = shown_defaults(step.name)
    own = [(name, value) for name, value in step.named if name != parameter]
    words = [
        str(v) if isinstance(v, str) else f"{name}={v}" for name, v in own if usual.get(name) != v or name in _SHOWN
    ]
    return " ".join([step.name, *words])


_SHOWN = ("scheme", "importance")
"""Choices that a reader wants to see even where they are the usual ones."""


@functools.cache
def undrawn(text: str) -> str:
    """The recipe's text without the draw of its calibration data: draws of one have this in common.

    >>> undrawn('quantize(scheme="static", draw=3)')
    'quantize(scheme="static")'
    """
    calls = recipe.parse(text)
    kept = [replace(call, named=tuple(pair for pair in call.named if pair[0] != "draw")) for call in calls]
    return recipe.format_calls(kept)


def _full(call: Call) -> Call:
    return replace(call, named=tuple({**shown_defaults(call.name), **dict(call.named)}.items()))


def _full_of_models(call: Call) -> Call:
    """The call with how far it goes, and on how many samples, where it leaves that to the defaults."""
    from lilliput.models.compress import STEPS

    known: Any = STEPS.get(call.name)
    usual = {} if known is None else {one.name: one.default for one in dataclasses.fields(known)}
    told = {"weight_bits", *(("samples",) if call.get("source") is not None else ())}
    return replace(call, named=tuple({**{key: usual[key] for key in told & usual.keys()}, **dict(call.named)}.items()))


def calibration(text: str, score: str = RETURN) -> list[str] | None:
    """What a recipe calibrates on, [method, source, observations], where a step says so or is known to calibrate.

    >>> calibration('quantize(scheme="static", source="gaussian", draw=3)')
    ['quantize static', 'gaussian', '2048']
    """
    for step in steps(text, score):
        if any(step.get(name) is not None for name in ("source", "observations", "draw")) or (
            step.get("scheme") == "static" or step.get("importance") in ("wanda", "sparsegpt", "activation")
        ):
            choices = [str(v) for name, v in step.named if isinstance(v, str) and name != "source"]
            source = step.get("source") or "on_policy"
            n = step.get("samples") or step.get("observations") or DEFAULT_OBSERVATIONS
            return [" ".join([step.name, *choices]), source, str(n)]
    return None
