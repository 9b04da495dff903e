"""What each ONNX operator makes of the values that vary with the observation."""

import math
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import (
    flow,
    flow_choice,
    flow_pattern,
    onnx_gather,
    onnx_own_range,
    onnx_quantized,
    onnx_refusal,
    onnx_weight,
)
from lilliput.policies.load.flow import Choices, Flow, Value
from lilliput.policies.load.layer_geometry import BatchStatistics, batch_norm
from lilliput.policies.load.onnx_constant import Constant
from lilliput.policies.load.onnx_graph import attribute

Argument = Value | Constant | None


def evaluate(node: Any, arguments: list[Argument]) -> list[Argument]:
    """The outputs of a node with at least one input that varies.

    Raises:
        LilliputError: the operator, or how it is used here, is not supported.
    """
    part = onnx_own_range.evaluate(node, arguments)
    if part is not None:
        return [part]
    constants = [one.array if isinstance(one, Constant) else None for one in arguments]
    values = [one for one in arguments if isinstance(one, Flow | Choices)]
    if any(isinstance(one, Choices) for one in values):
        return [_of_choices(node, arguments, constants)]
    flows = [one for one in values if isinstance(one, Flow)]
    if node.op_type == "Sub" and list(node.input[:1]) == list(node.input[1:]):
        # 0, but where it is NaN: how our own export tells observations that are not finite.
        return [Constant(np.zeros(flows[0].shape, np.float32))]
    if len(flows) > 1 and node.op_type not in onnx_quantized.OPERATORS:
        return [_of_several(node, arguments, flows)]
    first, x = arguments[0], flows[0]
    match node.op_type:
        case "Split":
            return list(_split(node, x, constants))
        case kind if kind in onnx_quantized.OPERATORS:
            return list(onnx_quantized.evaluate(node, arguments))
        case "Identity" | "Dropout":
            return [x]
        case "Cast":
            return [_cast(node, x)]
        case "Gemm" | "MatMul" | "Conv":
            if not isinstance(first, Flow):
                raise LilliputError(
                    f"{node.op_type} takes the observation as its second input; supported: as its first"
                )
            return [_linear(node, x, arguments)]
        case "Add" | "Sub" | "Mul" | "Div":
            constant = next(one for one in constants if one is not None)
            return [_arithmetic(node.op_type, x, constant, behind=isinstance(first, Flow))]
        case "Neg":
            return [flow.affine(x, -1.0, 0.0)]
        case "Clip":
            given = [*constants[1:], None, None][:2]
            low = _number(given[0]) if given[0] is not None else attribute(node, "min", -math.inf)
            high = _number(given[1]) if given[1] is not None else attribute(node, "max", math.inf)
            return [flow.bounded(x, low, high)]
        case "Min" | "Max" if len(arguments) == 2:
            constant = next(_number(one) for one in constants if one is not None)
            return [flow.bounded(x, *((-np.inf, constant) if node.op_type == "Min" else (constant, np.inf)))]
        case "Relu":
            return [flow.elementwise(x, layers.Relu())]
        case "Tanh":
            return [flow.elementwise(x, layers.Tanh())]
        case "Sigmoid":
            return [flow.elementwise(x, layers.Sigmoid())]
        case "Elu":
            return [flow.elementwise(x, layers.Elu(attribute(node, "alpha", 1.0)))]
        case "Selu":
            alpha, gamma = flow_pattern.SELU
            return [flow_pattern.scaled_elu(x, attribute(node, "alpha", alpha), attribute(node, "gamma", gamma), 1.0)]
        case "Celu":
            alpha = attribute(node, "alpha", 1.0)
            return [flow_pattern.scaled_elu(x, alpha, 1.0, 1 / alpha)]
        case "LeakyRelu":
            return [flow.elementwise(x, layers.LeakyRelu(attribute(node, "alpha", 0.01)))]
        case "Gelu" if attribute(node, "approximate", "none") == "none":
            return [flow.elementwise(x, layers.Gelu())]
        case "Swish" if attribute(node, "alpha", 1.0) == 1:
            return [flow.elementwise(x, layers.Silu())]
        case "LayerNormalization" if len(node.output) == 1 or not any(node.output[1:]):
            return [_layer_norm(node, x, constants)]
        case "BatchNormalization":
            return [_batch_norm(node, x, constants), *[None] * (len(node.output) - 1)]
        case "Erf" | "Sqrt":
            return [flow.elementwise(x, flow_pattern.ERF if node.op_type == "Erf" else flow_pattern.ROOT)]
        case "Pow" if constants[1] is not None and np.all(constants[1] == 2):
            return [flow.elementwise(x, flow_pattern.SQUARE)]
        case "Round":
            return [flow.elementwise(x, onnx_quantized.ROUNDED)]
        case "ReduceMean" | "ReduceLogSumExp":
            axes = _axes(node, x, constants)
            keep = bool(attribute(node, "keepdims", 1))
            if node.op_type == "ReduceMean":
                return [flow_pattern.averaged(x, axes, keep=keep)]
            return [flow_pattern.reduced(x, flow_pattern.LOG_SUM_EXP, axes, keep=keep)]
        case "Softmax" | "LogSoftmax":
            flow.over_last(x, node.op_type)
            if attribute(node, "axis", -1) % len(x.shape) != len(x.shape) - 1:
                raise LilliputError(f"{node.op_type} over an axis that is not the last")
            return [flow.elementwise(x, flow.Softmax())]
        case "ArgMax" if not attribute(node, "select_last_index", 0):
            return [flow_choice.argmax(x, attribute(node, "axis", 0), keep=bool(attribute(node, "keepdims", 1)))]
        case "Shape":
            start, end = attribute(node, "start", 0), attribute(node, "end", len(x.shape))
            return [Constant(np.array(x.shape[start:end], np.int64))]
        case "Expand":
            wanted = np.broadcast_shapes(x.shape, tuple(int(n) for n in _needed(node, constants, 1)))
            if math.prod(wanted) != math.prod(x.shape):
                raise LilliputError(f"Expand repeats a value of shape {list(x.shape)} to {list(wanted)}")
            return [flow.reshaped(x, wanted)]
        case "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze":
            return [flow.reshaped(x, _new_shape(node, x, constants))]
        case "Transpose":
            order = attribute(node, "perm", None)
            return [flow.rearranged(x, lambda array: array.transpose(order), "Transpose")]
        case "Concat" if len(arguments) == 1:
            return [x]
        case "Concat":
            return [flow.joined([_all_flows(one) for one in arguments], attribute(node, "axis", 0))]
        case kind if kind in onnx_gather.OPERATORS:
            return [onnx_gather.evaluate(node, x, constants[1])]
        case "Slice":
            return [_sliced(node, x, constants)]
        case _:
            raise onnx_refusal.of(node)


def _of_several(node: Any, arguments: list[Argument], flows: list[Flow]) -> Value:
    first, second = flows[:2]
    match node.op_type:
        case "Mul" if len(arguments) == 2:
            scaled = onnx_quantized.scaled_sums(first, second)
            return flow_pattern.product(first, second) if scaled is None else scaled
        case "Div":
            return flow_pattern.quotient(first, second)
        case "Sub":
            return flow_pattern.difference(first, second)
        case "Add":
            return flow_pattern.total(first, second)
        case "Concat":
            return flow.joined([_all_flows(one) for one in arguments], attribute(node, "axis", 0))
        case "RNN":
            raise onnx_refusal.of(node)
        case kind if kind in onnx_gather.OPERATORS:
            raise onnx_gather.refusal(kind)
        case kind:
            raise LilliputError(
                f"node {kind[:40]} joins {len(flows)} values; supported: one chain from observation to action"
            )


def _all_flows(one: Argument) -> Value:
    if not isinstance(one, Flow | Choices):
        raise LilliputError("Concat puts constants beside the observation's values; export the model without them")
    return one


def _of_choices(node: Any, arguments: list[Argument], constants: list[np.ndarray | None]) -> Value:
    """What may follow an argmax: another shape or type, or other choices beside it."""
    match node.op_type, arguments[0]:
        case (("Identity" | "Cast"), Choices() as x):
            if node.op_type == "Cast" and attribute(node, "to", 0) == 9:
                raise LilliputError("Cast of a choice to truth values; export the choice itself")
            return x
        case (("Flatten" | "Reshape" | "Squeeze" | "Unsqueeze"), Choices() as x):
            return flow.reshaped(x, _new_shape(node, x, constants))
        case "Where", _ if constants[0] is not None and not constants[0].any() and isinstance(arguments[2], Choices):
            return arguments[2]
        case "Concat", _:
            return flow.joined([_all_flows(one) for one in arguments], attribute(node, "axis", 0))
        case _:
            raise LilliputError(
                f"node {node.op_type[:40]} follows the choice; supported: nothing but its shape and type"
            )


def _needed(node: Any, constants: list[np.ndarray | None], index: int) -> np.ndarray:
    value = constants[index] if index < len(constants) else None
    if value is None:
        raise LilliputError(
            f"{node.op_type} has no constant for its input {index}; export the model with its weights inside"
        )
    return value


def _number(value: np.ndarray) -> np.ndarray:
    if value.dtype.kind not in "fiu":
        raise LilliputError(f"a constant is of type {value.dtype}; supported: numbers")
    return value.astype(np.float64)


def _cast(node: Any, x: Flow) -> Flow:
    from onnx import TensorProto

    kind = attribute(node, "to", 0)
    if kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        return x
    if kind == TensorProto.UINT8:
        return onnx_quantized.cast_to_codes(x)
    raise LilliputError(f"Cast to the type {TensorProto.DataType.Name(kind)}; supported: floats")


def _linear(node: Any, x: Flow, arguments: list[Argument]) -> Flow:
    weight = arguments[1] if len(arguments) > 1 else None
    bias = arguments[2] if len(arguments) > 2 else None
    if not isinstance(weight, Constant) or isinstance(bias, Flow | Choices):
        raise LilliputError(f"{node.op_type} has no constant for its input 1; export the model with its weights inside")
    quantized = onnx_quantized.linear(node, x, weight, bias)
    if quantized is not None:
        return quantized
    if node.op_type == "Conv":
        return flow.convolved(x, onnx_weight.convolution(node, _real(weight), None if bias is None else _real(bias)))
    kernel, factor = onnx_weight.matrix(node, _real(weight))
    if factor is not None:
        kernel = np.float32(factor) * kernel
    rows = None if bias is None else onnx_weight.row_bias(node, _real(bias), len(kernel))
    if isinstance(rows, np.ndarray):
        beta = attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
        rows = rows if beta == 1 else np.float32(beta) * rows
    return flow.linear(x, layers.Dense(np.ascontiguousarray(kernel), rows), len(kernel))


def _real(constant: Constant) -> np.ndarray:
    """The constant in float32, or in float16 where it is stored so."""
    if constant.array.dtype.kind not in "fiu":
        raise LilliputError(f"a constant is of type {constant.array.dtype}; supported: numbers")
    return np.ascontiguousarray(constant.array, np.float16 if constant.half else np.float32)


def _arithmetic(kind: str, x: Flow, raw: np.ndarray, *, behind: bool) -> Flow:
    """What an operator with a constant makes of the values; `behind`: the constant is its second input."""
    constant = _number(raw)
    match kind:
        case "Add" if not constant.any() and np.broadcast_shapes(x.shape, constant.shape) == x.shape:
            return x
        case "Add":
            whole = onnx_quantized.with_border(x, raw)
            return flow.affine(x, 1.0, constant) if whole is None else whole
        case "Sub":
            return flow.affine(x, 1.0, -constant) if behind else flow.affine(x, -1.0, constant)
        case "Mul":
            scaled = onnx_quantized.scaled_by(x, raw)
            return flow.affine(x, constant, 0.0) if scaled is None else scaled
        case _:
            if not behind or (constant == 0).any():
                raise LilliputError("a Div by the observation or by zero; supported: by a constant")
            return flow.affine(x, 1 / constant, 0.0)


def _layer_norm(node: Any, x: Flow, constants: list[np.ndarray | None]) -> Flow:
    weight = _needed(node, constants, 1)
    given = constants[2] if len(constants) > 2 else None
    axis = attribute(node, "axis", -1) % len(x.shape)
    if math.prod(x.shape[axis:]) * x.rows != math.prod(x.shape):
        raise LilliputError("LayerNormalization of parts of an observation; supported: of all of it")
    whole = flow.vector(x)
    bias = np.zeros_like(weight) if given is None else given
    gains = [np.broadcast_to(part, x.shape[axis:]).reshape(-1).astype(np.float32) for part in (weight, bias)]
    return flow.elementwise(whole, layers.LayerNorm(gains[0], gains[1], attribute(node, "epsilon", 1e-5)), x.shape)


def _batch_norm(node: Any, x: Flow, constants: list[np.ndarray | None]) -> Flow:
    gain, bias, mean, var = (_number(_needed(node, constants, index)) for index in range(1, 5))
    if attribute(node, "training_mode", 0):
        raise LilliputError("a BatchNormalization that is still training; export the model in evaluation mode")
    return batch_norm(x, BatchStatistics(gain, bias, mean, var, attribute(node, "epsilon", 1e-5)))


def _new_shape(node: Any, x: Value, constants: list[np.ndarray | None]) -> tuple[int, ...]:
    shape = list(x.shape)
    given = constants[1] if len(constants) > 1 else None
    match node.op_type:
        case "Flatten":
            axis = attribute(node, "axis", 1)
            axis += len(shape) if axis < 0 else 0
            return math.prod(shape[:axis]), math.prod(shape[axis:])
        case "Reshape":
            wanted = attribute(node, "shape", None) if given is None else [int(n) for n in given.reshape(-1)]
            if wanted is None:
                raise LilliputError("Reshape to a shape that is no constant; export the model with fixed shapes")
            kept = not attribute(node, "allowzero", 0)
            return tuple(shape[i] if n == 0 and kept and i < len(shape) else n for i, n in enumerate(wanted))
        case _:
            axes = attribute(node, "axes", None) if given is None else [int(n) for n in given.reshape(-1)]
            if node.op_type == "Squeeze":
                ones = [i for i, n in enumerate(shape) if n == 1] if axes is None else [a % len(shape) for a in axes]
                if any(shape[i] != 1 for i in ones):
                    raise LilliputError(f"Squeeze of the axes {axes} of a value of shape {shape}")
                return tuple(n for i, n in enumerate(shape) if i not in ones)
            rank = len(shape) + len(axes or ())
            at = {axis % rank for axis in axes or ()}
            if len(at) != len(axes or ()):
                raise LilliputError(f"Unsqueeze of the axes {axes} of a value of shape {shape}")
            rest = iter(shape)
            return tuple(1 if i in at else next(rest) for i in range(rank))


def _axes(node: Any, x: Flow, constants: list[np.ndarray | None]) -> list[int]:
    given = constants[1] if len(constants) > 1 else None
    axes = attribute(node, "axes", None) if given is None else [int(n) for n in given.reshape(-1)]
    return list(range(len(x.shape)) if axes is None else axes)


def _split(node: Any, x: Flow, constants: list[np.ndarray | None]) -> list[Flow]:
    axis = attribute(node, "axis", 0) % len(x.shape)
    given = constants[1] if len(constants) > 1 else None
    sizes = attribute(node, "split", None) if given is None else [int(n) for n in given.reshape(-1)]
    if sizes is None:
        each = -(-x.shape[axis] // len(node.output))
        sizes = [min(each, x.shape[axis] - i * each) for i in range(len(node.output))]
    if len(sizes) != len(node.output) or sum(sizes) != x.shape[axis] or min(sizes) < 1:
        raise LilliputError(f"Split of a value of shape {list(x.shape)} into {sizes[:8]}; it is damaged")
    parts = []
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        at = np.arange(end - size, end)
        parts.append(flow.rearranged(x, lambda array, at=at: np.take(array, at, axis=axis), "Split"))
    return parts


def _sliced(node: Any, x: Flow, constants: list[np.ndarray | None]) -> Flow:
    old = [attribute(node, key, None) for key in ("starts", "ends", "axes")]
    given = [old[i] if i < 3 and old[i] is not None else _listed(constants, i + 1) for i in range(4)]
    starts, ends, axes, leaps = given
    if starts is None or ends is None:
        raise LilliputError("Slice at places that are no constants; export the model with fixed shapes")
    axes = list(range(len(starts))) if axes is None else axes
    leaps = [1] * len(starts) if leaps is None else leaps
    if not len(starts) == len(ends) == len(axes) == len(leaps) or 0 in leaps:
        raise LilliputError("Slice with starts, ends and axes that do not fit each other; it is damaged")
    cut = [slice(None)] * len(x.shape)
    for start, end, axis, leap in zip(starts, ends, axes, leaps, strict=True):
        if not -len(x.shape) <= axis < len(x.shape):
            raise LilliputError(f"Slice along axis {axis} of a value of shape {list(x.shape)}")
        size = x.shape[axis]
        cut[axis] = slice(start, None if leap < 0 and end < -size else end, leap)
    return flow.rearranged(x, lambda array: array[tuple(cut)], "Slice")


def _listed(constants: list[np.ndarray | None], index: int) -> list[int] | None:
    value = constants[index] if index < len(constants) else None
    return None if value is None else [int(n) for n in value.reshape(-1)]
