"""What in an ONNX graph does not depend on the observation: computed by onnx's own reference, its size known before."""

import math
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.onnx_graph import MAX_ELEMENTS, attribute

MAX_PRODUCTS = 1 << 31

_BROADCASTING = frozenset(
    ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Less", "Greater", "Where", "And", "Or", "Mod")
)
_SHRINKING = frozenset(
    (
        "Identity", "Cast", "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Slice", "Split", "Shape",
        "Size", "Neg", "Sqrt", "Exp", "Log", "Reciprocal", "Abs", "Floor", "Ceil", "Round", "Softplus", "Sigmoid",
        "Tanh", "IsNaN", "Not", "ReduceProd", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "DequantizeLinear",
        "QuantizeLinear", "Clip", "BitShift", "Concat",
    )
)  # fmt: skip
"""Give at most as many numbers as they take, or as many as they may be broadcast to."""
FOLDED = _BROADCASTING | _SHRINKING | {"MatMul", "Gather", "Expand", "ConstantOfShape", "NonZero"}


@final
@dataclass(frozen=True, eq=False)
class Coded:
    """The integer codes of a constant: the real one is scale * (codes - zero_point)."""

    codes: np.ndarray
    zero_point: np.ndarray
    scale: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is the same for every observation, and as what it is stored."""

    array: np.ndarray
    coded: Coded | None = None
    half: bool = False


def folded(node: Any, inputs: list[Constant | None], opset: int) -> list[Constant]:
    """The outputs of a node all of whose inputs are constants.

    Raises:
        LilliputError: an operator that is not in the closed set, or outputs larger than any policy's.
    """
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type not in FOLDED:
        raise LilliputError(f"{node.op_type[:40]} of constants is not supported; export the model with them folded")
    arrays = [None if one is None else one.array for one in inputs]
    _check_size(node, [np.zeros(0) if one is None else one for one in arrays])
    if node.op_type == "DequantizeLinear":
        return [_dequantized(node, inputs)]
    named = [(key, one) for key, one in zip(node.input, arrays, strict=True) if one is not None]
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)
            for key, one in dict(named).items()
        ],
        [helper.make_empty_tensor_value_info(key) for key in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        found = ReferenceEvaluator(model).run(None, dict(named))
    # Whatever a damaged node makes numpy raise.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        raise LilliputError(f"{node.op_type} of constants is damaged; export the model again") from error
    results = [np.asarray(one) for one in found]
    if len(results) == 1 and inputs[0] is not None:
        return [_remembered(node, inputs, results[0])]
    return [Constant(result) for result in results]


def cost(node: Any, inputs: list[Constant], results: list[Constant]) -> int:
    """How many numbers a node of constants takes and gives; a product's sums count as a sixteenth each."""
    products = results[0].array.size * inputs[0].array.shape[-1] if node.op_type == "MatMul" else 0
    return sum(one.array.size for one in (*inputs, *results)) + products // 16


def _check_size(node: Any, arrays: list[np.ndarray]) -> None:
    """Check that the outputs are no larger than a policy may need; see `folded`."""
    shapes = [array.shape for array in arrays]
    products = 0
    try:
        match node.op_type:
            case "Expand":
                count = math.prod(np.broadcast_shapes(shapes[0], tuple(int(n) for n in arrays[1])))
            case "ConstantOfShape":
                count = math.prod(int(n) for n in arrays[0])
            case "Gather":
                count = arrays[0].size * max(arrays[1].size, 1)
            case "MatMul":
                count = math.prod(shapes[0][:-1]) * math.prod(shapes[1]) // max(shapes[1][-2:][0], 1)
                products = count * shapes[0][-1]
            case "NonZero":
                count = arrays[0].size * arrays[0].ndim
            case "Concat":
                count = sum(array.size for array in arrays)
            case "DequantizeLinear" | "QuantizeLinear" | "Clip":
                count = arrays[0].size
            case kind if kind in _BROADCASTING or kind == "BitShift":
                count = math.prod(np.broadcast_shapes(*shapes))
            case _:
                count = max(array.size for array in arrays)
    except (ValueError, IndexError, TypeError) as error:
        raise LilliputError(f"{node.op_type} of constants whose shapes do not fit: {shapes[:3]}") from error
    if products > MAX_PRODUCTS:
        raise LilliputError(f"MatMul of constants takes {products} products; at most {MAX_PRODUCTS} are made")
    if count > MAX_ELEMENTS:
        raise LilliputError(f"{node.op_type} of constants gives {count} numbers; at most {MAX_ELEMENTS} are read")


def _remembered(node: Any, inputs: list[Constant | None], result: np.ndarray) -> Constant:
    """The result with what it is stored as, as far as that survives the node."""
    first = inputs[0]
    assert first is not None
    others = [one for one in inputs[1:] if one is not None]
    coded = first.coded
    one, zero = np.ones((), np.float32), np.zeros((), np.int64)
    match node.op_type:
        case "Cast" if first.array.dtype in (np.int8, np.uint8) and result.dtype == np.float32:
            return Constant(result, Coded(first.array, zero, one))
        case "Cast" if first.array.dtype == np.float16 and result.dtype == np.float32:
            return Constant(result, half=True)
        case "Sub" if coded is not None and others[0].array.size == 1 and coded.scale.size == 1 and coded.scale == one:
            return Constant(result, replace(coded, zero_point=others[0].array.astype(np.int64)))
        case "Mul" if coded is not None and coded.scale.size == 1 and coded.scale == one:
            return Constant(result, replace(coded, scale=others[0].array))
        case "Transpose" if coded is not None:
            order = attribute(node, "perm", None)
            wide = [_widened(part, coded.codes.ndim).transpose(order) for part in (coded.zero_point, coded.scale)]
            return Constant(result, Coded(coded.codes.transpose(order), *wide))
        case "Identity":
            return first
        case "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze":
            return Constant(result, half=first.half)
        case _:
            return Constant(result)


def _dequantized(node: Any, inputs: list[Constant | None]) -> Constant:
    """The constant scale * (codes - zero_point): one of each, or one along an axis."""
    codes, scale, *rest = [one.array for one in inputs if one is not None]
    point = rest[0].astype(np.int64) if rest else np.zeros((), np.int64)
    if codes.dtype not in (np.int8, np.uint8, np.int32) or scale.dtype not in (np.float32, np.float16):
        raise LilliputError(f"DequantizeLinear of {codes.dtype} by {scale.dtype}; supported: int8, uint8 and int32")
    if scale.size == 1 and point.size == 1:
        scale, point = scale.reshape(()), point.reshape(())
    else:
        axis = attribute(node, "axis", 1)
        if scale.ndim != 1 or not -codes.ndim <= axis < codes.ndim or scale.size != codes.shape[axis]:
            raise LilliputError(f"DequantizeLinear of {list(codes.shape)} with {list(scale.shape)} scales")
        wide = [1] * codes.ndim
        wide[axis] = scale.size
        scale, point = scale.reshape(wide), np.broadcast_to(point.reshape(-1), scale.size).reshape(wide)
    real = ((codes.astype(np.int64) - point).astype(np.float32) * scale).astype(scale.dtype)
    return Constant(real, None if codes.dtype == np.int32 else Coded(codes, point, scale))


def _widened(part: np.ndarray, rank: int) -> np.ndarray:
    return part.reshape((1,) * (rank - part.ndim) + part.shape)
