"""An ONNX graph as the chain of steps from its input to an output: what each node does to the one value that varies."""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load.onnx_graph import MAX_NODES, Graph


@final
@dataclass(frozen=True, eq=False)
class Affine:
    """x * scale + shift, broadcast to the observation's or the layer's shape."""

    scale: np.ndarray
    shift: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Bounds:
    """clip(x, low, high)."""

    low: np.ndarray
    high: np.ndarray


@final
@dataclass(frozen=True)
class Softmax:
    """Probabilities of choices; the largest is where the largest input is."""


@final
@dataclass(frozen=True)
class Argmax:
    """The index of the largest."""


Step = Layer | Affine | Bounds | Softmax | Argmax

_SUPPORTED = (
    "Gemm, MatMul, Conv, Add, Sub, Mul, Div, Neg, Clip, Min, Max, Relu, Tanh, Sigmoid, Elu, LeakyRelu, Gelu, Erf (in a "
    "Gelu), LayerNormalization, "
    "BatchNormalization, Flatten, Reshape, Identity, Dropout, Cast, Softmax, ArgMax"
)


def chain(graph: Graph, output: str, source: str) -> list[Step]:
    """The steps from the input `source` to `output`, in order.

    Raises:
        LilliputError: the graph is no single chain of supported operators.
    """
    steps: list[Step] = []
    key = output
    for _ in range(MAX_NODES):
        if key == source:
            return steps[::-1]
        node = graph.producers.get(key)
        if node is None:
            raise LilliputError(
                f"{graph.name}: the output does not depend on the input {source[:60]!r}; export the deterministic "
                "actor alone"
            )
        key, found = _step(graph, node)
        steps += found[::-1]
    raise LilliputError(f"{graph.name} goes in circles; export the model again")


def _step(graph: Graph, node: Any) -> tuple[str, list[Step]]:
    """Where the node's one variable input comes from, and what the node does to it."""
    variable = [key for key in node.input if key and graph.constant(key) is None]
    if node.op_type == "Mul":
        factors, factor = _factors(graph, node, 0)
        if len(factors) == 2:
            return _product(graph, factors[0], factors[1], factor)
    if node.op_type == "Div" and len(set(variable)) == 2:
        return _standardized(graph, node)
    if node.op_type == "Expand" and _is_made_by(graph, node, 1, "Shape"):
        # torch's distributions broadcast their mean to a shape that it has already.
        return node.input[0], []
    if node.op_type == "Sub" and _is_made_by(graph, node, 1, "ReduceLogSumExp"):
        return _log_softmax(graph, node)
    if len(variable) != 1:
        raise LilliputError(
            f"{graph.name}: node {node.op_type} joins {len(variable)} values; "
            "supported: one chain from observation to action"
        )
    return variable[0], _unary(graph, node, variable[0])


def _log_softmax(graph: Graph, node: Any) -> tuple[str, list[Step]]:
    """The source of x - log(sum(exp(x)))."""
    if graph.producers[node.input[1]].input[0] != node.input[0]:
        raise LilliputError(f"{graph.name}: node Sub joins two values; supported: log-probabilities")
    return node.input[0], [Softmax()]


def _is_made_by(graph: Graph, node: Any, index: int, kind: str) -> bool:
    inner = graph.producers.get(node.input[index]) if len(node.input) > index else None
    return inner is not None and inner.op_type == kind


def _product(graph: Graph, first: str, second: str, factor: np.ndarray) -> tuple[str, list[Step]]:
    """The source of x * sigmoid(x), or of x * (1 + erf(x / sqrt 2)), which is twice a GELU, and its steps."""
    rest: list[Step] = [] if np.all(factor == 1) else [Affine(factor, np.zeros(()))]
    for key, other in ((first, second), (second, first)):
        inner = graph.producers.get(key)
        if inner is not None and inner.op_type == "Sigmoid" and inner.input[0] == other:
            return other, [layers.Silu(), *rest]
        if inner is not None and inner.op_type == "Add" and _is_erf_of(graph, inner, other):
            return other, [
                layers.Gelu(),
                *([] if np.all(factor == 0.5) else [Affine(np.asarray(2 * factor), np.zeros(()))]),
            ]
    raise LilliputError(f"{graph.name}: node Mul joins two values; supported: SiLU (x * sigmoid(x)) and GELU")


def _standardized(graph: Graph, node: Any) -> tuple[str, list[Step]]:
    """The source of (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon): a layer norm before opset 17."""
    chain_of = [graph.producers.get(node.input[1])]
    for wanted in ("Sqrt", "Add", "ReduceMean", "Pow"):
        inner = chain_of[-1]
        if inner is None or inner.op_type != wanted:
            break
        variable = next((key for key in inner.input if key and graph.constant(key) is None), "")
        chain_of.append(graph.producers.get(variable))
    centred = graph.producers.get(node.input[0])
    epsilon = _constants_of(graph, chain_of[1]) if len(chain_of) > 1 and chain_of[1] is not None else []
    if len(chain_of) == 5 and centred is not None and chain_of[4] is centred and centred.op_type == "Sub":
        source = centred.input[0]
        mean, power, spread = graph.producers.get(centred.input[1]), _constants_of(graph, chain_of[3]), chain_of[2]
        if mean is not None and mean.op_type == "ReduceMean" and mean.input[0] == source and len(epsilon) == 1:
            lasts = all(_is_over_last(graph, reduced) for reduced in (mean, spread))
            if lasts and epsilon[0].size == 1 and len(power) == 1 and np.all(power[0] == 2):
                one = np.ones(1, np.float32)
                return source, [layers.LayerNorm(one, 0 * one, float(epsilon[0].reshape(-1)[0]))]
    raise LilliputError(f"{graph.name}: node Div joins two values; supported: layer normalization")


def _is_over_last(graph: Graph, node: Any) -> bool:
    given = graph.constant(node.input[1]) if len(node.input) > 1 else None
    axes = graph.attribute(node, "axes", []) if given is None else [int(axis) for axis in given.reshape(-1)]
    return axes == [-1] and bool(graph.attribute(node, "keepdims", 1))


def _factors(graph: Graph, node: Any, depth: int) -> tuple[list[str], np.ndarray]:
    """The variable factors of a product of products, and the constant one."""
    found: list[str] = []
    factor = np.ones(())
    for key in node.input:
        value = graph.constant(key)
        inner = graph.producers.get(key)
        if value is not None:
            factor = _multiplied(factor, _real(value, graph.name), graph.name)
        elif inner is not None and inner.op_type == "Mul" and depth < 4:
            deeper, scale = _factors(graph, inner, depth + 1)
            found += deeper
            factor = _multiplied(factor, scale, graph.name)
        else:
            found.append(key)
    return found, factor


def _multiplied(one: np.ndarray, other: np.ndarray, name: str) -> np.ndarray:
    if one.size != 1 and other.size != 1 and one.shape != other.shape:
        raise LilliputError(
            f"{name}: Mul of constants of the shapes {list(one.shape)} and {list(other.shape)}; fold them"
        )
    return np.asarray(one * other)


def _is_erf_of(graph: Graph, node: Any, key: str) -> bool:
    """Whether the node is 1 + erf(key / sqrt 2)."""
    one = _constants_of(graph, node)
    erf = next(
        (graph.producers[part] for part in node.input if part in graph.producers and graph.constant(part) is None),
        None,
    )
    if erf is None or erf.op_type != "Erf" or len(one) != 1 or not np.all(one[0] == 1):
        return False
    scaled = graph.producers.get(erf.input[0])
    if scaled is None or scaled.op_type not in ("Mul", "Div") or key not in scaled.input:
        return False
    constants = _constants_of(graph, scaled)
    if len(constants) != 1 or constants[0].size != 1 or (scaled.op_type == "Div" and scaled.input[0] != key):
        return False
    factor = float(constants[0].reshape(-1)[0])
    return math.isclose(factor, math.sqrt(2) if scaled.op_type == "Div" else math.sqrt(0.5), rel_tol=1e-5)


def _constants_of(graph: Graph, node: Any) -> list[np.ndarray]:
    return [value for key in node.input if (value := graph.constant(key)) is not None]


def _unary(graph: Graph, node: Any, variable: str) -> list[Step]:
    constants = [graph.constant(key) if key else None for key in node.input]
    match node.op_type:
        case "Identity" | "Dropout":
            return []
        case "Cast":
            from onnx import TensorProto, helper

            kinds = (
                TensorProto.FLOAT,
                TensorProto.DOUBLE,
                TensorProto.FLOAT16,
                TensorProto.INT64,
                TensorProto.INT32,
            )
            if graph.attribute(node, "to", 0) not in kinds:
                raise LilliputError(
                    f"{graph.name}: Cast to {helper.tensor_dtype_to_string(graph.attribute(node, 'to', 0))}; "
                    "supported: floats"
                )
            return []
        case "Gemm" | "MatMul" | "Conv":
            return _linear(graph, node, constants, variable)
        case "Add" | "Sub" | "Mul" | "Div" | "Neg":
            return [_affine(graph, node, constants)]
        case "Clip" | "Min" | "Max":
            return [_bounds(graph, node, constants)]
        case "Relu":
            return [layers.Relu()]
        case "Tanh":
            return [layers.Tanh()]
        case "Sigmoid":
            return [layers.Sigmoid()]
        case "Elu":
            return [layers.Elu(graph.attribute(node, "alpha", 1.0))]
        case "LeakyRelu":
            return [layers.LeakyRelu(graph.attribute(node, "alpha", 0.01))]
        case "Gelu" if graph.attribute(node, "approximate", "none") == "none":
            return [layers.Gelu()]
        case "LayerNormalization" if graph.attribute(node, "axis", -1) in (-1, 1):
            weight = _needed(graph, constants, 1, node)
            bias = constants[2] if len(constants) > 2 and constants[2] is not None else np.zeros_like(weight)
            return [layers.LayerNorm(_f32(weight), _f32(bias), graph.attribute(node, "epsilon", 1e-5))]
        case "BatchNormalization":
            gain, bias, mean, var = (_real(_needed(graph, constants, index, node), graph.name) for index in range(1, 5))
            if gain.ndim != 1 or len({part.shape for part in (gain, bias, mean, var)}) != 1 or (var < 0).any():
                raise LilliputError(
                    f"{graph.name}: a BatchNormalization whose numbers do not fit each other; it is damaged"
                )
            scale = gain / np.sqrt(var + graph.attribute(node, "epsilon", 1e-5))
            return [Affine(scale, bias - mean * scale)]
        case "Flatten" if graph.attribute(node, "axis", 1) == 1:
            return [layers.Flatten()]
        case "Reshape" if len(constants) > 1 and constants[1] is not None and constants[1].size <= 2:
            return [layers.Flatten()] if constants[1].size == 2 else []
        case "Squeeze" | "Unsqueeze":
            return []
        case "Softmax" | "LogSoftmax":
            return [Softmax()]
        case "ArgMax" if graph.attribute(node, "axis", 0) in (-1, 1) and not graph.attribute(
            node, "select_last_index", 0
        ):
            return [Argmax()]
        case _:
            raise LilliputError(
                f"{graph.name}: node {node.op_type[:40]!r} with these attributes is not supported; supported: "
                f"{_SUPPORTED}"
            )


def _needed(graph: Graph, constants: list[np.ndarray | None], index: int, node: Any) -> np.ndarray:
    value = constants[index] if index < len(constants) else None
    if value is None:
        raise LilliputError(
            f"{graph.name}: {node.op_type} has no constant for its input {index}; export the model with its weights "
            "inside"
        )
    return value


def _linear(graph: Graph, node: Any, constants: list[np.ndarray | None], variable: str) -> list[Step]:
    if node.input[0] != variable:
        raise LilliputError(
            f"{graph.name}: {node.op_type} takes the observation as its second input; supported: as its first"
        )
    weight = _f32(_needed(graph, constants, 1, node))
    bias = _f32(constants[2]) if len(constants) > 2 and constants[2] is not None else None
    match node.op_type:
        case "Conv":
            return [_conv(graph, node, weight, bias)]
        case "Gemm":
            alpha, beta = graph.attribute(node, "alpha", 1.0), graph.attribute(node, "beta", 1.0)
            if graph.attribute(node, "transA", 0):
                raise LilliputError(f"{graph.name}: Gemm transposes the observation; supported: transA = 0")
            weight = np.float32(alpha) * (weight if graph.attribute(node, "transB", 0) else weight.T)
            bias = None if bias is None else np.float32(beta) * bias
        case _:
            weight = weight.T
    if weight.ndim != 2 or not weight.size or (bias is not None and bias.size not in (1, len(weight))):
        raise LilliputError(
            f"{graph.name}: {node.op_type} has a weight of shape {list(weight.shape)}; it must be a matrix with a "
            "bias that fits"
        )
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (len(weight),))
    return [layers.Dense(np.ascontiguousarray(weight), None if bias is None else np.ascontiguousarray(bias))]


def _conv(graph: Graph, node: Any, weight: np.ndarray, bias: np.ndarray | None) -> layers.Conv2d:
    strides, pads = graph.attribute(node, "strides", [1, 1]), graph.attribute(node, "pads", [0, 0, 0, 0])
    plain = (
        all(dilation == 1 for dilation in graph.attribute(node, "dilations", [1, 1]))
        and graph.attribute(node, "group", 1) == 1
    )
    fits = (
        weight.ndim == 4
        and weight.size
        and isinstance(strides, list)
        and isinstance(pads, list)
        and len(strides) == 2
        and len(pads) == 4
    )
    if (
        not plain
        or not fits
        or pads[:2] != pads[2:]
        or graph.attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    ):
        raise LilliputError(
            f"{graph.name}: a Conv with dilation, groups or one-sided padding; supported: 2-d, with stride and "
            "equal padding on both sides"
        )
    if max(strides) > 1 << 16 or max(pads) > 1 << 10:
        raise LilliputError(f"{graph.name}: a Conv with the strides {strides} and the padding {pads}; it is damaged")
    return layers.Conv2d(weight, bias, (strides[0], strides[1]), (pads[0], pads[1]))


def _affine(graph: Graph, node: Any, constants: list[np.ndarray | None]) -> Affine:
    one, zero = np.ones(()), np.zeros(())
    if node.op_type == "Neg":
        return Affine(np.asarray(-one), zero)
    first = constants[0] is not None
    constant = _real(_needed(graph, constants, 0 if first else 1, node), graph.name)
    match node.op_type:
        case "Add":
            return Affine(one, constant)
        case "Sub":
            return Affine(np.asarray(-one), constant) if first else Affine(one, np.asarray(-constant))
        case "Mul":
            return Affine(constant, zero)
        case _:
            if first or (constant == 0).any():
                raise LilliputError(f"{graph.name}: a Div by the observation or by zero; supported: by a constant")
            return Affine(np.asarray(1 / constant), zero)


def _bounds(graph: Graph, node: Any, constants: list[np.ndarray | None]) -> Bounds:
    low, high = np.asarray(-np.inf), np.asarray(np.inf)
    if node.op_type == "Clip":
        given = [*constants[1:], None, None][:2]
        lows = given[0] if given[0] is not None else graph.attribute(node, "min", -math.inf)
        highs = given[1] if given[1] is not None else graph.attribute(node, "max", math.inf)
        return Bounds(_real(np.asarray(lows), graph.name), _real(np.asarray(highs), graph.name))
    (constant,) = [_real(value, graph.name) for value in constants if value is not None] or [None]
    if constant is None or len(constants) != 2:
        raise LilliputError(
            f"{graph.name}: {node.op_type} of {len(constants)} values; supported: the chain's value and one constant"
        )
    return Bounds(low, constant) if node.op_type == "Min" else Bounds(constant, high)


def _f32(value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value, np.float32)


def _real(value: np.ndarray, name: str) -> np.ndarray:
    if value.dtype.kind not in "fiu":
        raise LilliputError(f"{name}: a constant is of type {value.dtype}; supported: numbers")
    return value.astype(np.float64)
