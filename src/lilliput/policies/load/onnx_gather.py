"""ONNX operators that take elements at fixed places, as torch writes `x[:, [0, 3, 5]]` and its like."""

import math
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load import flow
from lilliput.policies.load.flow import Flow
from lilliput.policies.load.onnx_graph import attribute

OPERATORS = ("Gather", "GatherND", "GatherElements")


def refusal(kind: str) -> LilliputError:
    """What is said where the places are no constants."""
    return LilliputError(
        f"{kind} takes elements at places that are computed from the observation; supported: at fixed ones, as "
        "x[:, [0, 3, 5]]: choose them before the policy sees the observation, and export the rest"
    )


def evaluate(node: Any, x: Flow, index: np.ndarray | None) -> Flow:
    """The elements along an axis (Gather), by tuples of places (GatherND), or by a place each (GatherElements).

    Raises:
        LilliputError: places that are no constants, that do not fit, or more elements than any policy's value has.
    """
    if index is None or index.dtype.kind not in "iu":
        raise refusal(node.op_type)
    axis, ahead = attribute(node, "axis", 0), attribute(node, "batch_dims", 0)
    match node.op_type:
        case "Gather":
            count = math.prod(x.shape) // x.shape[axis] * index.size
        case "GatherND":
            if not 0 <= ahead < index.ndim or index.shape[:ahead] != x.shape[:ahead]:
                raise LilliputError(f"GatherND at {list(index.shape)} places of a value of shape {list(x.shape)}")
            count = index.size // index.shape[-1] * math.prod(x.shape[ahead + index.shape[-1] :])
        case _:
            count = index.size
    if count > flow.MAX_ELEMENTS:
        raise LilliputError(f"{node.op_type} gives {count} numbers, more than any policy's value has")

    def taken(array: np.ndarray) -> np.ndarray:
        match node.op_type:
            case "Gather":
                return np.take(array, index, axis=axis)
            case "GatherND":
                own = np.indices(array.shape[:ahead], sparse=True)
                wide = [one.reshape(one.shape + (1,) * (index.ndim - 1 - ahead)) for one in own]
                return array[(*wide, *np.moveaxis(index, -1, 0))]
            case _:
                near = [slice(n) for n in index.shape]
                near[axis] = slice(None)
                return np.take_along_axis(array[tuple(near)], index, axis)

    return flow.rearranged(x, taken, node.op_type)
