"""The range of one observation's numbers as `lilliput export` spells it for codes of fewer than 8 bits.

DynamicQuantizeLinear knows 8 bits alone, and takes the range of a whole batch: see `export/onnx.py`.
"""

from typing import Any

import numpy as np

from lilliput.policies import layers
from lilliput.policies.load.flow import Codes, Flow, Link, RangePart, settled
from lilliput.policies.load.onnx_constant import Constant
from lilliput.policies.load.onnx_graph import attribute

UINT8 = 2

_RULES: dict[tuple[str, ...], str] = {
    ("ReduceMin", "x"): "minimum",
    ("ReduceMax", "x"): "maximum",
    ("Min", "minimum", "0"): "low",
    ("Max", "maximum", "0"): "high",
    ("Sub", "high", "low"): "span",
    ("Div", "span", "c"): "raw",
    ("Equal", "raw", "0"): "flat",
    ("Where", "flat", "1", "raw"): "scale",
    ("Div", "low", "scale"): "low / scale",
    ("Round", "low / scale"): "lowest",
    ("Add", "lowest", "c"): "highest",
    ("Div", "x", "scale"): "x / scale",
    ("Round", "x / scale"): "rounded",
    ("Max", "rounded", "lowest"): "raised",
    ("Min", "raised", "highest"): "centred",
    ("Add", "centred", "128"): "shifted",
    ("Mul", "raw", "c"): "factor",
    ("Where", "flat", "c", "factor"): "factor",
}
"""What each operator makes of parts (constants are 0, 1, 128, or c for any)."""


def evaluate(node: Any, arguments: list[Any]) -> Flow | None:
    """The part that the node gives, or the codes at the end; None where it is none of this."""
    flows = [settled(one) for one in arguments if isinstance(one, Flow)]
    parts = [one.link.step for one in flows if isinstance(one.link.step, RangePart)]
    reduces = node.op_type in ("ReduceMin", "ReduceMax")
    if not (parts or reduces):
        return None
    bases = {one.link.parent if isinstance(one.link.step, RangePart) else one.link for one in flows}
    base = bases.pop()
    if bases or base is None:
        return None
    top, factor = max((part.top for part in parts), default=0), np.ones((), np.float32)
    shape = (flows[0].rows, *(1,) * (len(flows[0].shape) - 1)) if reduces else max(one.shape for one in flows)
    if node.op_type == "Cast" and parts[0].what == "shifted" and attribute(node, "to", 0) == UINT8:
        return Flow(Link(base, Codes(layers.DynamicRange(top.bit_length())), base.shape), shape, flows[0].rows)
    words = [node.op_type]
    for one in arguments[:1] if reduces else arguments:
        words.append(_word(one))
    what = _RULES.get(tuple(words)) or _RULES.get(tuple("c" if word.isdigit() else word for word in words))
    given = next((one.array for one in arguments if isinstance(one, Constant)), factor)
    match what:
        case None:
            return None
        case "raw":
            top = int(given.reshape(-1)[0])
            if given.size != 1 or given != top or top + 1 not in (4, 8, 16, 32, 64, 128):
                return None
        case "highest" if given.size != 1 or given != top:
            return None
        case "factor":
            before = [part.factor for part in parts if part.what == "factor"]
            if before and not np.array_equal(before[0], given):
                return None
            factor = given
    return Flow(Link(base, RangePart(what, top, factor), base.shape), shape, flows[0].rows)


def _word(one: Any) -> str:
    match one:
        case Constant(array=value) if value.size == 1 and float(value.reshape(-1)[0]) in (0, 1, 128):
            return str(int(value.reshape(-1)[0]))
        case Constant():
            return "c"
        case Flow(link=Link(step=RangePart(what=what))):
            return what
        case _:
            return "x"
