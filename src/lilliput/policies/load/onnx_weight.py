"""Weight and bias of a linear ONNX node, as a layer takes them."""

from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import layer_geometry
from lilliput.policies.load.onnx_graph import attribute


def matrix(node: Any, weight: np.ndarray) -> tuple[np.ndarray, float | None]:
    """The weight of a Gemm or MatMul as (outputs, inputs), and what it is multiplied by."""
    transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
    if node.op_type == "Gemm" and attribute(node, "transA", 0):
        raise LilliputError("Gemm transposes the observation; supported: transA = 0")
    if weight.ndim != 2 or not weight.size:
        raise LilliputError(f"{node.op_type} has a weight of shape {list(weight.shape)}; it must be a matrix")
    alpha = attribute(node, "alpha", 1.0) if node.op_type == "Gemm" else 1.0
    return weight if transposed else weight.T, None if alpha == 1 else alpha


def row_bias(node: Any, bias: np.ndarray, rows: int) -> np.ndarray:
    """The bias, one number an output."""
    if bias.size not in (1, rows) or (bias.ndim > 1 and bias.shape[-1] != bias.size):
        raise LilliputError(f"{node.op_type} of {rows} outputs has a bias of shape {list(bias.shape)}; it must fit")
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (rows,)))


def convolution(node: Any, weight: np.ndarray, bias: np.ndarray | None) -> layers.Conv2d:
    """The node as a layer."""
    strides, pads = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0, 0, 0, 0])
    dilations, fits = attribute(node, "dilations", [1, 1]), len(strides) == 2 and len(pads) == 4
    if fits and attribute(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        both = layer_geometry.same_padding(weight, tuple(strides), tuple(dilations))
        return layer_geometry.conv2d(weight, bias, (1, 1), both, (1, 1), attribute(node, "group", 1))
    if not fits or pads[:2] != pads[2:] or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise LilliputError("a Conv with one-sided padding, or not 2-d; supported: equal padding on both sides")
    pairs = (strides[0], strides[1]), (pads[0], pads[1]), (dilations[0], dilations[-1])
    return layer_geometry.conv2d(weight, bias, *pairs, attribute(node, "group", 1))
