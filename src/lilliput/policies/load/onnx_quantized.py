"""The integer operators of ONNX as quantized layers: what onnxruntime's tools write (QDQ, dynamic), and our own files.

Only what a quantized layer is to the bit, up to the rounding of scales, is read: codes of a linear layer's input, int8
weights, and a real output. Anything else that is quantized is refused, saying so.
"""

from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, reference
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.load import flow
from lilliput.policies.load.flow import (
    IDENTITY_OUTPUTS,
    Affine,
    Bounds,
    Choices,
    Codes,
    Flow,
    Link,
    Partial,
    RangePart,
    Sums,
)
from lilliput.policies.load.onnx_constant import Coded, Constant
from lilliput.policies.load.onnx_graph import attribute
from lilliput.policies.load.onnx_weight import convolution, matrix, row_bias

OPERATORS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
ROUNDED, ZERO_POINT = Partial("Round"), "zero point"

_INSTEAD = "load the model from before it was quantized, and use quantize()"


def evaluate(node: Any, arguments: list[Any]) -> list[Flow]:
    """The outputs of one of `OPERATORS`."""
    x = arguments[0]
    if not isinstance(x, Flow):
        raise LilliputError(f"{node.op_type} takes the observation as its second input; supported: as its first")
    match node.op_type:
        case "DynamicQuantizeLinear":
            codes = flow.elementwise(x, Codes(layers.DynamicRange(8)))
            parts = (RangePart(what, 255, np.ones((), np.float32)) for what in ("raw", ZERO_POINT))
            return [codes, *(Flow(Link(codes.link.parent, part, (1,)), (), x.rows) for part in parts)]
        case "QuantizeLinear":
            return [_quantized(x, *_scale_and_zero(node, arguments))]
        case "DequantizeLinear":
            return [_dequantized(x, *_scale_and_zero(node, arguments))]
        case _:
            return [_sums(node, arguments, x)]


def _scale_and_zero(node: Any, arguments: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    scale, zero = arguments[1], arguments[2] if len(arguments) > 2 else Constant(np.zeros((), np.uint8))
    if not isinstance(scale, Constant) or not isinstance(zero, Constant) or scale.array.size != 1:
        raise LilliputError(f"{node.op_type} with a scale that is no single constant; {_INSTEAD}")
    if zero.array.dtype not in (np.uint8, np.int8) or zero.array.size != 1 or not scale.array > 0:
        raise LilliputError(f"{node.op_type} to {zero.array.dtype}; supported: int8 and uint8 ({_INSTEAD})")
    return scale.array.reshape(()).astype(np.float32), zero.array.reshape(())


def _quantized(x: Flow, scale: np.ndarray, zero: np.ndarray) -> Flow:
    """The codes saturate(round(x / scale) + zero), unsigned."""
    offset = 128 if zero.dtype == np.int8 else 0
    point = int(zero) + offset
    if scale == 1:
        own = _own_codes(flow.settled(x), point)
        if own is not None and not offset:
            return own
    inverse = np.asarray(np.float32(1) / scale, np.float32)
    before = x.link.step
    if isinstance(before, Codes) and before.real and isinstance(before.range, layers.StaticRange) and x.index is None:
        same = before.range.inverse_scale.shape == () and before.range.inverse_scale == inverse
        if same and before.range.zero_point == point and before.offset == offset:
            # Rounding what is rounded already changes nothing.
            return Flow(Link(x.link.parent, Codes(before.range, offset), x.link.shape), x.shape, x.rows)
    return flow.elementwise(x, Codes(layers.StaticRange(inverse, np.asarray(point, np.int32)), offset))


def cast_to_codes(x: Flow) -> Flow:
    """The codes of a value that was rounded, shifted and cut to what uint8 holds."""
    own = _own_codes(flow.settled(x), 0) if isinstance(x.link.step, Bounds) else None
    if own is None:
        raise LilliputError("Cast to uint8; supported: floats")
    return own


def _own_codes(x: Flow, point: int) -> Flow | None:
    """The codes of x * inverse_scale, rounded, cut and shifted in the ways in which Lilliput writes it."""
    link, bits, zero = x.link, 8, np.asarray(point, np.int32)
    if isinstance(link.step, Bounds) and link.parent is not None:
        low, high = link.step.low, link.step.high
        if low.shape or high.shape or not high - low > 0 or np.log2(high - low + 1) not in range(2, 9):
            return None
        bits, cut, link = int(np.log2(high - low + 1)), low, link.parent
    else:
        cut = None
    step = link.step
    if isinstance(step, Affine) and link.parent is not None and link.parent.step == ROUNDED and not point:
        if step.scale.shape or step.scale != 1 or (np.rint(step.shift) != step.shift).any():
            return None
        if (np.abs(step.shift) > 2**31 - 1).any() or (cut is not None and cut != 0):
            return None
        zero, link = step.shift.astype(np.int32), link.parent.parent
    elif cut is not None and cut != -point:
        return None
    if link is None or not isinstance(link.step, Affine) or link.parent is None or link.step.shift.any():
        return None
    inverse = link.step.scale.astype(np.float32)
    shape = np.broadcast_shapes(inverse.shape, zero.shape)
    parts = [np.array(np.broadcast_to(part, shape)) for part in (inverse, zero)]
    codes = Codes(layers.StaticRange(parts[0], parts[1], bits))
    return Flow(Link(link.parent, codes, link.shape), x.shape, x.rows)


def _dequantized(x: Flow, scale: np.ndarray, zero: np.ndarray) -> Flow:
    """The real numbers that the codes stand for."""
    step = x.link.step
    if (
        not isinstance(step, Codes)
        or step.real
        or not isinstance(step.range, layers.StaticRange)
        or x.index is not None
    ):
        raise LilliputError(f"DequantizeLinear of what is no code; {_INSTEAD}")
    point, factor = int(zero) + step.offset, step.range.inverse_scale * scale
    if step.range.zero_point.shape or step.range.zero_point != point or abs(float(factor) - 1) > 1e-6:
        raise LilliputError(f"DequantizeLinear with another scale than QuantizeLinear's; {_INSTEAD}")
    real = Codes(step.range, step.offset, real=True)
    return Flow(Link(x.link.parent, real, x.link.shape), x.shape, x.rows)


def _sums(node: Any, arguments: list[Any], x: Flow) -> Flow:
    """The sums of products of codes."""
    step = x.link.step
    weight = arguments[1]
    zero = arguments[2] if len(arguments) > 2 else None
    weight_zero = (
        arguments[3].array if len(arguments) > 3 and isinstance(arguments[3], Constant) else np.zeros((), np.int8)
    )
    if not isinstance(step, Codes) or step.real or x.index is not None or not isinstance(weight, Constant):
        raise LilliputError(f"{node.op_type} of other things than codes and constant weights; {_INSTEAD}")
    is_conv = node.op_type == "ConvInteger"
    coded = Coded(weight.array, _by_row(weight_zero, weight.array.ndim, is_conv), np.ones((), np.float32))
    if not is_conv:
        coded = Coded(coded.codes.T, coded.zero_point.T, coded.scale)
    tensor = _tensor(coded)
    match step.range:
        case layers.DynamicRange():
            fixed = step.range.bits < 8 and isinstance(zero, Constant) and zero.array.size == 1 and zero.array == 128
            own = isinstance(zero, Flow) and _is_part(zero.link, x.link.parent, ZERO_POINT)
            if not (fixed or own):
                raise LilliputError(f"{node.op_type} of dynamic codes without their own zero point; {_INSTEAD}")
            shift = 0
        case layers.StaticRange():
            if isinstance(zero, Flow | Choices):
                raise LilliputError(f"{node.op_type} with a zero point that varies; {_INSTEAD}")
            shift = 0 if zero is None else int(zero.array.reshape(-1)[0]) + step.offset
    sums = tensor.values.astype(np.int64).reshape(len(tensor.values), -1).sum(axis=1)
    bias = np.asarray(-shift * sums, np.float32) if shift else None
    below = Flow(_above(x.link), x.shape, x.rows)
    made = _layer(node, below, tensor, bias, step.range, pending=True)
    return made if shift else _bordered(made)


def _bordered(sums: Flow) -> Flow:
    """The sums, noting what a border is short of where the padding's code 0 is not a real 0."""
    step = sums.link.step
    assert isinstance(step, Sums)
    layer = step.layer
    if not isinstance(layer, layers.QuantizedConv2d) or not isinstance(layer.input, layers.StaticRange):
        return sums
    if not any(layer.padding) or not layer.input.zero_point.any():
        return sums
    assert sums.link.parent is not None
    window = layers.Conv2d(layer.weight.values.astype(np.float32), None, layer.stride, layer.padding)
    inside = reference.apply(window, np.ones((1, *sums.link.parent.shape), np.float32))[0]
    full = layer.weight.values.astype(np.int64).sum(axis=(1, 2, 3))[:, None, None]
    border = (full - np.rint(inside).astype(np.int64)) * int(layer.input.zero_point)
    return Flow(Link(sums.link.parent, Sums(layer, border), sums.link.shape), sums.shape, sums.rows)


def with_border(x: Flow, constant: np.ndarray) -> Flow | None:
    """Sums of a convolution, what their border is short of added; None where it is not that."""
    step = x.link.step
    if not isinstance(step, Sums) or step.border is None or constant.size != step.border.size:
        return None
    if not np.array_equal(constant.reshape(step.border.shape), step.border):
        return None
    return Flow(Link(x.link.parent, Sums(step.layer), x.link.shape), x.shape, x.rows)


def _above(link: Link) -> Link:
    assert link.parent is not None
    return link.parent


def _by_row(zero: np.ndarray, rank: int, is_conv: bool) -> np.ndarray:
    if zero.size == 1:
        return zero.reshape(()).astype(np.int64)
    return zero.reshape((-1,) + (1,) * (rank - 1) if is_conv else (1,) * (rank - 1) + (-1,)).astype(np.int64)


def _layer(
    node: Any,
    below: Flow,
    tensor: QuantizedTensor,
    bias: np.ndarray | None,
    range_: layers.InputRange,
    *,
    pending: bool,
) -> Flow:
    """The quantized layer; `pending`: its scale is still to come."""
    if node.op_type in ("Conv", "ConvInteger"):
        window = convolution(node, tensor.values.astype(np.float32), None)
        made = layers.QuantizedConv2d(tensor, bias, range_, window.stride, window.padding)
        return flow.convolved(below, Sums(made) if pending else made)
    dense = layers.QuantizedDense(tensor, bias, range_)
    return flow.linear(below, Sums(dense) if pending else dense, len(tensor.values))


class _BeyondInt8(LilliputError):
    """Weights whose codes less their zero point leave int8."""


def _tensor(coded: Coded) -> QuantizedTensor:
    """The weights as int8 codes around zero, a scale for each row or for all.

    Raises:
        LilliputError: codes less their zero point leave int8, or scales for other things than outputs.
    """
    codes, zero, rank = coded.codes, coded.zero_point, coded.codes.ndim
    if codes.dtype not in (np.uint8, np.int8) or rank < 2:
        raise LilliputError(
            f"quantized weights of {codes.dtype}{list(codes.shape)}; supported: int8 and uint8 ({_INSTEAD})"
        )
    values = codes.astype(np.int64) - zero
    one = int(zero.reshape(-1)[0])
    own = codes.dtype == np.uint8 and zero.size == 1 and one in (2, 4, 8, 16, 32, 64)
    bits = one.bit_length() if own and values.min() >= -one and values.max() < one else 8
    low, high = affine.signed_range(bits)
    if values.min() < low or values.max() > high:
        raise _BeyondInt8(
            f"weights whose codes, less their zero point, reach from {values.min()} to {values.max()}: int8 ends at "
            f"{low} and {high}; quantize symmetrically, or {_INSTEAD}"
        )
    scale = coded.scale
    if scale.size > 1:
        wide = scale.reshape((1,) * (rank - scale.ndim) + scale.shape)
        if wide.shape != (len(codes),) + (1,) * (rank - 1):
            raise LilliputError(
                f"weights with a scale for each input or block; supported: for each output ({_INSTEAD})"
            )
    kind = np.float16 if scale.dtype == np.float16 else np.float32
    flat = scale.reshape(()) if scale.size == 1 else scale.reshape(-1)
    return QuantizedTensor(np.ascontiguousarray(values, np.int8), flat.astype(kind), bits)


def linear(node: Any, x: Flow, weight: Constant, bias: Constant | None) -> Flow | None:
    """The quantized layer that a Gemm, MatMul or Conv is, where its input or its weights are real numbers of codes."""
    flattened = x.link.parent if isinstance(x.link.step, layers.Flatten) else x.link
    step = None if flattened is None else flattened.step
    is_real = isinstance(step, Codes) and step.real
    if weight.coded is None:
        if is_real:
            raise LilliputError(f"{node.op_type} of quantized inputs with weights that are not; {_INSTEAD}")
        return None
    coded = weight.coded
    if node.op_type != "Conv":
        shape = coded.codes.shape
        turned, factor = matrix(node, np.arange(coded.codes.size).reshape(shape))
        if factor is not None or attribute(node, "beta", 1.0) != 1:
            raise LilliputError(f"{node.op_type} scales its quantized weights; {_INSTEAD}")
        if turned.shape != shape or not np.array_equal(turned, np.arange(coded.codes.size).reshape(shape)):
            parts = [part if part.ndim < 2 else part.T for part in (coded.zero_point, coded.scale)]
            if any(part.ndim == 1 and part.size > 1 for part in parts):
                raise LilliputError(f"weights with a scale for each input; supported: for each output ({_INSTEAD})")
            coded = Coded(coded.codes.T, parts[0], parts[1])
    try:
        tensor = _tensor(coded)
    except _BeyondInt8:
        if is_real and x.link.size > IDENTITY_OUTPUTS:
            raise
        return None  # the float32 numbers that the codes stand for compute the same
    offsets = None if bias is None else row_bias(node, bias.array.astype(np.float32), len(tensor.values))
    if not is_real:
        return _layer(node, x, tensor, offsets, None, pending=False)
    assert isinstance(step, Codes)
    assert isinstance(step.range, layers.StaticRange)
    assert flattened is not None
    scale = np.asarray(tensor.scale.astype(np.float64) / float(step.range.inverse_scale))
    sums = tensor.values.astype(np.int64).reshape(len(tensor.values), -1).sum(axis=1)
    whole = (0.0 if offsets is None else offsets.astype(np.float64)) - int(step.range.zero_point) * sums * scale
    scaled = QuantizedTensor(tensor.values, scale.astype(np.float32), tensor.bits)
    below = Flow(_above(flattened), x.shape, x.rows)
    return _layer(node, below, scaled, whole.astype(np.float32), step.range, pending=False)


def scaled_by(x: Flow, constant: np.ndarray) -> Flow | None:
    """Sums times their scale, or the scale of dynamic codes times that of weights, which waits for its sums."""
    step = x.link.step
    if not isinstance(step, Sums):
        return None
    if isinstance(step.layer.input, layers.DynamicRange):
        raise LilliputError(f"sums of dynamic codes without the codes' scale; {_INSTEAD}")
    return _finished(x, constant)


def scaled_sums(first: Flow, second: Flow) -> Flow | None:
    """Sums of dynamic codes times the codes' scale, which may be multiplied by the weights' already."""
    for sums, scale in ((first, second), (second, first)):
        if isinstance(sums.link.step, Sums):
            part = scale.link.step
            if _is_part(scale.link, sums.link.parent, "raw", "factor") and isinstance(part, RangePart):
                return _finished(sums, part.factor)
            raise LilliputError(f"sums of codes times a scale that is not theirs; {_INSTEAD}")
    return None


def _is_part(link: Link, base: Link | None, *what: str) -> bool:
    """Whether the link is a part of that kind of the range of `base`, flattened or not."""
    whole = base.parent if base is not None and isinstance(base.step, layers.Flatten) else base
    return isinstance(link.step, RangePart) and link.step.what in what and link.parent in (base, whole)


def _finished(x: Flow, constant: np.ndarray) -> Flow:
    step = x.link.step
    assert isinstance(step, Sums)
    layer, rows = step.layer, len(step.layer.weight.values)
    if step.border is not None and step.border.any():
        raise LilliputError(f"a convolution of codes is padded with another number than 0; {_INSTEAD}")
    if constant.size not in (1, rows) or (
        constant.size > 1 and constant.shape[-3 if len(x.link.shape) == 3 else -1 :][0] != rows
    ):
        raise LilliputError(
            f"sums of codes with a scale of shape {list(constant.shape)}; supported: one for each output"
        )
    kind = np.float16 if constant.dtype == np.float16 else np.float32
    scale = constant.reshape(() if constant.size == 1 else (-1,)).astype(kind)
    bias = None if layer.bias is None else (layer.bias * scale).astype(np.float32)
    weight = QuantizedTensor(layer.weight.values, scale, layer.weight.bits)
    made = (
        layers.QuantizedDense(weight, bias, layer.input)
        if isinstance(layer, layers.QuantizedDense)
        else layers.QuantizedConv2d(weight, bias, layer.input, layer.stride, layer.padding)
    )
    return Flow(Link(x.link.parent, made, x.link.shape), x.shape, x.rows)
