"""A policy as one ONNX file of standard operators: from raw observation to environment action, in integers if it can.

Integer products run as uint8 x uint8 (the weights shifted by half their range): onnxruntime's uint8 x int8 kernels
saturate on x86 processors without VNNI. Weights of fewer than 8 bits, float16 and weight-only codes are stored packed
and unpacked by operators that a runtime folds once, when it loads the file. Weights that are zero are stored like any
other: ONNX has no sparse product. Where `DynamicQuantizeLinear` occurs, the ranges are those of the whole batch: such
a file plays at batch 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.export.onnx_graph import GraphBuilder
from lilliput.policies.export.onnx_memory import Remembered
from lilliput.policies.policy import Policy, layer_shapes

if TYPE_CHECKING:
    import onnx

MODEL = "model.onnx"
INPUT, OUTPUT = "observation", "action"
INPUT_WITH_STATE, OUTPUT_WITH_STATE = "obs", "actions"
"""As rsl_rl names them, beside `h_in`, `c_in`, `h_out` and `c_out`."""

OPSET = 17
"""The first with LayerNormalization; every runtime of the last years reads it."""
IR_VERSION = 8


def write(policy: Policy, folder: Path) -> dict[str, str]:
    """The versions of what wrote the file `model.onnx` in `folder`."""
    import onnx

    (folder / MODEL).write_bytes(build(policy).SerializeToString(deterministic=True))
    return {"onnx": onnx.__version__}


def build(policy: Policy) -> onnx.ModelProto:
    """The ONNX model of the policy, checked.

    Raises:
        LilliputError: a sum of products may leave int32.
    """
    import onnx
    from onnx import helper

    graph = GraphBuilder()
    first, last = (INPUT_WITH_STATE, OUTPUT_WITH_STATE) if policy.has_memory else (INPUT, OUTPUT)
    memory = Remembered(graph, policy) if policy.has_memory else None
    shape = spaces.input_shape(policy.observation_space)
    dtype = np.dtype(spaces.input_dtype(policy.observation_space))
    value = first if dtype == np.float32 else graph.cast(first, np.float32)
    stack, shapes = policy.layers, layer_shapes(policy)
    read, given = "", [value]
    for index, layer in enumerate(stack):
        if not read and not isinstance(layer, layers.SelectInputs):
            read = value
        try:
            if _is_clipped_by_codes(layer, stack[index + 1 :]):
                pass
            elif memory is not None and isinstance(layer, layers.Memory):
                value = memory.step(layer, value, layer_of_graph)
            else:
                value = layer_of_graph(graph, layer, value, shapes[index])
        except LilliputError as error:
            raise LilliputError(f"layer {index} ({type(layer).__name__}): {error}") from None
        given.append(value)
    action_shape = shapes[-1]
    if dtype == np.float32:
        value = _undecided(graph, read, len(shapes[0]), value, len(action_shape), is_choice=policy.is_discrete)
    if memory is not None:
        memory.keep(given, undecided(graph, read, len(shapes[0])) if dtype == np.float32 else "")
    if isinstance(policy.action_space, spaces.Box) and policy.action_space.shape != action_shape:
        action_shape = policy.action_space.shape
        value = graph.node("Reshape", value, graph.constant(np.array([-1, *action_shape], np.int64)))
    graph.name_output(value, last)
    action_dtype = np.int64 if policy.is_discrete else np.float32
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "policy",
            [
                helper.make_tensor_value_info(first, helper.np_dtype_to_tensor_dtype(dtype), ["batch", *shape]),
                *(memory.inputs() if memory is not None else ()),
            ],
            [
                helper.make_tensor_value_info(
                    last, helper.np_dtype_to_tensor_dtype(np.dtype(action_dtype)), ["batch", *action_shape]
                ),
                *(memory.outputs() if memory is not None else ()),
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lilliput",
    )
    helper.set_model_props(
        model,
        {
            "policy_digest": policy.digest,
            "recipe": policy.provenance.recipe,
            "wrappers": ", ".join(policy.provenance.wrappers),
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _undecided(graph: GraphBuilder, read: str, rank: int, action: str, action_rank: int, *, is_choice: bool) -> str:
    """The action; NaN, or choice 0, where a number that is read is NaN or infinite: x - x is 0 for all others."""
    axes = graph.constant(np.arange(1, rank + 1, dtype=np.int64))
    nothing = graph.node("ReduceSum", graph.node("Sub", read, read), axes, keepdims=int(rank == action_rank))
    if action_rank not in (0, rank):
        nothing = graph.node("Reshape", nothing, graph.constant(np.array([-1] + [1] * action_rank, np.int64)))
    if not is_choice:
        return graph.node("Add", action, nothing)
    return graph.node("Where", graph.node("IsNaN", nothing), graph.constant(np.int64(0)), action)


def undecided(graph: GraphBuilder, read: str, rank: int) -> str:
    """(batch, 1): whether a number that is read is NaN or infinite."""
    axes = graph.constant(np.arange(1, rank + 1, dtype=np.int64))
    nothing = graph.node("ReduceSum", graph.node("Sub", read, read), axes, keepdims=1)
    if rank > 1:
        nothing = graph.node("Reshape", nothing, graph.constant(np.array([-1, 1], np.int64)))
    return graph.node("IsNaN", nothing)


def layer_of_graph(graph: GraphBuilder, layer: layers.Layer, x: str, shape: tuple[int, ...]) -> str:
    match layer:
        case layers.SelectInputs(indices=indices):
            return graph.node("Gather", x, graph.constant(indices.astype(np.int64)), axis=1)
        case layers.Standardize():
            centred = graph.node("Sub", x, graph.real(layer.mean)) if layer.mean.any() else x
            scaled = graph.node("Mul", centred, graph.real(layer.scale)) if (layer.scale != 1).any() else centred
            return graph.clip(scaled, -layer.clip, layer.clip)
        case layers.Dense():
            inputs = [x, graph.real(layer.weight), *(() if layer.bias is None else (graph.real(layer.bias),))]
            return graph.node("Gemm", *inputs, transB=1)
        case layers.Conv2d():
            inputs = [x, graph.real(layer.weight), *(() if layer.bias is None else (graph.real(layer.bias),))]
            return graph.node("Conv", *inputs, **_window(layer))
        case layers.QuantizedDense():
            return _quantized_dense(graph, layer, x)
        case layers.QuantizedConv2d():
            return _quantized_conv2d(graph, layer, x, shape)
        case layers.Lstm() | layers.Gru() | layers.History() | layers.PreviousAction():
            raise LilliputError(f"{type(layer).__name__} stands within a layer")
        case layers.LayerNorm():
            parts = graph.real(layer.weight), graph.real(layer.bias)
            return graph.node("LayerNormalization", x, *parts, axis=-1, epsilon=layer.epsilon)
        case layers.Flatten():
            return graph.node("Flatten", x, axis=1)
        case layers.Relu():
            return graph.node("Relu", x)
        case layers.Tanh() | layers.SquashAction():
            return graph.node("Tanh", x)
        case layers.Sigmoid():
            return graph.node("Sigmoid", x)
        case layers.Elu(alpha=alpha):
            return graph.node("Elu", x, alpha=alpha)
        case layers.LeakyRelu(slope=slope):
            return graph.node("LeakyRelu", x, alpha=slope)
        case layers.Silu():
            return graph.node("Mul", x, graph.node("Sigmoid", x))
        case layers.Gelu():
            # Gelu is an operator only from opset 20 on; runtimes recognise this spelling.
            erf = graph.node("Erf", graph.node("Div", x, graph.constant(np.float32(np.sqrt(2)))))
            gate = graph.node("Add", erf, graph.constant(np.float32(1)))
            return graph.node("Mul", graph.node("Mul", x, gate), graph.constant(np.float32(0.5)))
        case layers.HardTanh(low=low, high=high):
            return graph.clip(x, np.array(low), np.array(high))
        case layers.BetaAction():
            both = graph.node("Add", graph.node("Softplus", x), graph.constant(np.float32(1)))
            parts, sizes = (f"{both}_alpha", f"{both}_beta"), np.full(2, shape[0] // 2, np.int64)
            graph.node_of_several("Split", both, graph.constant(sizes), outputs=parts, axis=1)
            return graph.node("Div", parts[0], graph.node("Add", *parts))
        case layers.RescaleAction():
            return graph.node("Add", graph.node("Mul", x, graph.real(layer.scale)), graph.real(layer.offset))
        case layers.ClipAction():
            return graph.clip(x, layer.low, layer.high)
        case layers.ArgmaxAction(sizes=(_,)):
            return graph.node("ArgMax", x, axis=1, keepdims=0)
        case layers.ArgmaxAction(sizes=sizes):
            names = tuple(f"group{i}" for i in range(len(sizes)))
            graph.node_of_several("Split", x, graph.constant(np.array(sizes, np.int64)), outputs=names, axis=1)
            return graph.node("Concat", *(graph.node("ArgMax", name, axis=1, keepdims=1) for name in names), axis=1)
        case _:
            assert_never(layer)


def _is_clipped_by_codes(layer: layers.Layer, following: tuple[layers.Layer, ...]) -> bool:
    """Whether the next layer's codes saturate where this Relu would cut: at 0."""
    following = following[1:] if following and isinstance(following[0], layers.Flatten) else following
    match (layer, following[:1]):
        case (
            layers.Relu(),
            (
                layers.QuantizedDense(input=layers.StaticRange() as range_)
                | layers.QuantizedConv2d(input=layers.StaticRange() as range_),
            ),
        ):
            return not range_.zero_point.any() and bool((range_.inverse_scale > 0).all())
        case _:
            return False


def _quantized_dense(graph: GraphBuilder, layer: layers.QuantizedDense, x: str) -> str:
    scale = layer.weight.scale
    if layer.input is None:
        weight = _dequantized(graph, layer.weight)
        return graph.node("Gemm", x, weight, *(() if layer.bias is None else (graph.real(layer.bias),)), transB=1)
    codes = _codes(graph, layer.input, x, axes=(1,))
    weight = _weight_codes(graph, layer.weight, layer.weight.values.T)
    inputs = [codes.name, weight, codes.zero_point, graph.constant(_weight_zero_point(layer.weight))]
    _check_int32(layer.weight)
    return _real_outputs(graph, graph.node("MatMulInteger", *inputs), scale, codes, layer.bias)


def _quantized_conv2d(graph: GraphBuilder, layer: layers.QuantizedConv2d, x: str, shape: tuple[int, ...]) -> str:
    bias = None if layer.bias is None else layer.bias
    if layer.input is None:
        weight = _dequantized(graph, layer.weight)
        return graph.node("Conv", x, weight, *(() if bias is None else (graph.real(bias),)), **_window(layer))
    codes = _codes(graph, layer.input, x, axes=(1, 2, 3))
    window, border = _window(layer), None
    if isinstance(layer.input, layers.StaticRange) and any(layer.padding):
        # A real 0 is the code zero_point, and ConvInteger without an input zero point would pad with the code 0.
        border = _border(layer, shape)
    weight = _weight_codes(graph, layer.weight, layer.weight.values)
    inputs = [codes.name, weight, codes.zero_point, graph.constant(_weight_zero_point(layer.weight))]
    _check_int32(layer.weight)
    sums = graph.node("ConvInteger", *inputs, **window)
    if border is not None and border.any():
        sums = graph.node("Add", sums, graph.constant(border))
    per_channel = (-1, 1, 1)
    scale = layer.weight.scale.reshape(per_channel) if layer.weight.scale.shape else layer.weight.scale
    return _real_outputs(graph, sums, scale, codes, None if bias is None else bias.reshape(per_channel))


@final
@dataclass(frozen=True)
class _Codes:
    """Names of an input's uint8 codes, their zero point and their scale: empty where weights and bias hold it already.

    Where `is_flat` is true the scale is 0, which stands for 1.
    """

    name: str
    zero_point: str = ""
    scale: str = ""
    is_flat: str = ""


def _real_outputs(graph: GraphBuilder, sums: str, scale: np.ndarray, codes: _Codes, bias: np.ndarray | None) -> str:
    factor = graph.real(scale)
    if codes.scale:
        factor = graph.node("Mul", codes.scale, factor)
    if codes.is_flat:
        # Not Mul(Where(...)): onnxruntime 1.32 fuses that into MatMulIntegerToFloat, which is wrong for a scale a row.
        factor = graph.node("Where", codes.is_flat, graph.real(scale), factor)
    y = graph.node("Mul", graph.cast(sums, np.float32), factor)
    return y if bias is None else graph.node("Add", y, graph.real(bias))


def _codes(
    graph: GraphBuilder, range_: layers.StaticRange | layers.DynamicRange, x: str, axes: tuple[int, ...]
) -> _Codes:
    if isinstance(range_, layers.StaticRange):
        return _Codes(_static_codes(graph, range_, x))
    if range_.bits == 8:
        names = tuple(f"{x}_{part}" for part in ("codes", "scale", "zero_point"))
        codes, scale, zero_point = graph.node_of_several("DynamicQuantizeLinear", x, outputs=names)
        return _Codes(codes, zero_point, scale)
    # An observation's own range, as affine.dynamic_range; the codes are stored around 128 because a zero point may not
    # differ between the rows of a product.
    zero, top = graph.constant(np.float32(0)), graph.constant(np.float32(affine.unsigned_max(range_.bits)))
    low = graph.node("Min", graph.node("ReduceMin", x, axes=axes, keepdims=1), zero)
    high = graph.node("Max", graph.node("ReduceMax", x, axes=axes, keepdims=1), zero)
    raw = graph.node("Div", graph.node("Sub", high, low), top)
    is_flat = graph.node("Equal", raw, zero)
    scale = graph.node("Where", is_flat, graph.constant(np.float32(1)), raw)
    lowest = graph.node("Round", graph.node("Div", low, scale))
    highest = graph.node("Add", lowest, top)
    centred = graph.node("Min", graph.node("Max", graph.node("Round", graph.node("Div", x, scale)), lowest), highest)
    codes = graph.cast(graph.node("Add", centred, graph.constant(np.float32(128))), np.uint8)
    return _Codes(codes, graph.constant(np.uint8(128)), raw, is_flat)


def _static_codes(graph: GraphBuilder, range_: layers.StaticRange, x: str) -> str:
    """saturate(round(x * inverse_scale) + zero_point), to the bit: QuantizeLinear would divide by a rounded scale."""
    top, zero_point = affine.unsigned_max(range_.bits), range_.zero_point
    one, first = graph.constant(np.float32(1)), int(zero_point.flat[0])
    scaled = graph.node("Mul", x, graph.real(range_.inverse_scale))
    if (zero_point == first).all() and 0 <= first <= 255:
        if range_.bits < 8:
            scaled = graph.clip(scaled, np.array(-first), np.array(top - first))
        return graph.node("QuantizeLinear", scaled, one, graph.constant(np.uint8(first)))
    # A zero point for each input: onnxruntime's QuantizeLinear takes 3 times as long for an axis as for a scalar.
    rounded = graph.node("Round", scaled)
    if int(np.abs(zero_point.astype(np.int64)).max()) + top < 1 << 24:
        shifted = graph.node("Add", rounded, graph.constant(zero_point.astype(np.float32)))
        if range_.bits < 8:
            shifted = graph.clip(shifted, np.array(0), np.array(top))
        return graph.node("QuantizeLinear", shifted, one, graph.constant(np.uint8(0)))
    shifted = graph.node("Add", graph.cast(rounded, np.float64), graph.constant(zero_point.astype(np.float64)))
    bounds = graph.constant(np.float64(0)), graph.constant(np.float64(top))
    return graph.cast(graph.node("Clip", shifted, *bounds), np.uint8)


def _border(layer: layers.QuantizedConv2d, shape: tuple[int, ...]) -> np.ndarray:
    """What padding with the input's zero point adds to every sum of products over padding with the code 0."""
    assert isinstance(layer.input, layers.StaticRange)
    window = layers.Conv2d(layer.weight.values.astype(np.float32), None, layer.stride, layer.padding)
    inside = reference.apply(window, np.ones((1, *shape), np.float32))
    full = layer.weight.values.astype(np.int64).sum(axis=(1, 2, 3))[:, None, None]
    border = (full - np.rint(inside).astype(np.int64)) * int(layer.input.zero_point)
    _check_int32(layer.weight, int(np.abs(border).max()))
    return border.astype(np.int32)


def _window(layer: layers.Conv2d | layers.QuantizedConv2d) -> dict[str, list[int]]:
    return {
        "kernel_shape": [*layer.weight.shape[2:]],
        "strides": [*layer.stride],
        "pads": [*layer.padding, *layer.padding],
    }


def _weight_zero_point(weight: QuantizedTensor) -> np.ndarray:
    return np.array(1 << (weight.bits - 1), np.uint8)


def _weight_codes(graph: GraphBuilder, weight: QuantizedTensor, values: np.ndarray) -> str:
    """The codes as uint8, shifted by the weight's zero point: stored in `bits` bits each."""
    bits, count = weight.bits, values.size
    shifted = (values.astype(np.int16) + int(_weight_zero_point(weight))).astype(np.uint8)
    if bits == 8:
        return graph.constant(shifted)
    packed = graph.constant(affine.pack(shifted, bits)[:, None])
    field = bits if bits in (2, 4) else 1
    left = np.arange(8 - field, -1, -field, dtype=np.uint8)
    raised = graph.node("BitShift", packed, graph.constant(left), direction="LEFT")
    fields = graph.node("BitShift", raised, graph.constant(np.uint8(8 - field)), direction="RIGHT")
    flat = graph.node("Reshape", fields, graph.constant(np.array([-1], np.int64)))
    ends = (graph.constant(np.array([end], np.int64)) for end in (0, count * bits // field))
    flat = graph.node("Slice", flat, *ends)
    if field == 1:
        rows = graph.cast(graph.node("Reshape", flat, graph.constant(np.array([count, bits], np.int64))), np.float32)
        flat = graph.cast(
            graph.node("MatMul", rows, graph.constant(np.float32(2) ** np.arange(bits, dtype=np.float32)[:, None])),
            np.uint8,
        )
    return graph.node("Reshape", flat, graph.constant(np.array(values.shape, np.int64)))


def _dequantized(graph: GraphBuilder, weight: QuantizedTensor) -> str:
    """The real weights, folded as the file is loaded: DequantizeLinear would run at every decision, 25 times slower."""
    codes = graph.cast(_weight_codes(graph, weight, weight.values), np.float32)
    centred = graph.node("Sub", codes, graph.constant(_weight_zero_point(weight).astype(np.float32)))
    scale = weight.scale.reshape((-1,) + (1,) * (weight.values.ndim - 1)) if weight.scale.shape else weight.scale
    return graph.node("Mul", centred, graph.real(scale))


def _check_int32(weight: QuantizedTensor, border: int = 0) -> None:
    rows = np.abs(weight.values.astype(np.int64)).reshape(len(weight.values), -1).sum(axis=1)
    largest = int(rows.max()) * 255 + border
    if largest >= 1 << 31:
        raise LilliputError(f"a sum of products may reach {largest}, beyond int32; quantize weights only")
