"""The operators of torch that a TorchScript program may use, on what varies with the observation and on constants."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow, flow_choice, flow_pattern
from lilliput.policies.load import torchscript_shape as moving
from lilliput.policies.load.flow import Choices, Flow, NoLayer, Value
from lilliput.policies.load.inert_pickle import Global, is_call
from lilliput.policies.load.layer_geometry import BatchStatistics, batch_norm, conv2d, same_padding
from lilliput.policies.load.torchscript_place import WritesInPlace
from lilliput.policies.load.torchscript_shape import axis_of, flow_of, own_axis

FLOAT, DOUBLE, LONG = 6, 7, 4
"""torch's numbers of its types."""
MAX_ELEMENTS = 1 << 26
"""Numbers of a constant."""

CUTTING: Final = ("slice", "select", "split", "chunk", "narrow", "split_with_sizes", "index_select", "index", "flip")
"""Operators whose result tells less of the size of what they take, or hangs on it."""

_MEMORY = ("rnn_tanh", "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell")
_NO_LAYER = (
    "mish", "softplus", "prelu", "rrelu", "glu", "hardsigmoid", "hardswish", "hardshrink", "softshrink",
    "log_sigmoid", "threshold", "softmin", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "group_norm", "instance_norm", "scaled_dot_product_attention",
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "exp", "log", "log1p", "abs", "sign", "floor", "ceil",
    "round", "remainder", "fmod", "softsign", "tanhshrink", "gt", "lt", "ge", "le", "where", "cumsum", "topk",
    "argmin", "sum",
)  # fmt: skip
"""Of the observation: what no layer of a policy computes, in any file."""

_RANDOM = ("normal", "randn", "rand", "randn_like", "rand_like", "bernoulli", "multinomial", "normal_")


def apply(name: str, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What the operator gives.

    Raises:
        LilliputError: an operator that is not followed, or with arguments that are not.
    """
    if name in _MEMORY:
        raise WritesInPlace(f"it has a memory ({name}); supported: LSTM and GRU")
    if name in _RANDOM:
        raise LilliputError(f"its action is drawn at random ({name}); save the deterministic one")
    plain = name if name in _OPERATORS or name in _CONSTANT else name.removesuffix("_")
    varies = any(isinstance(one, Flow | Choices) for one in (*given, *named.values())) or any(
        isinstance(one, Flow | Choices) for part in given if isinstance(part, list) for one in part
    )
    function = (_OPERATORS if varies else _CONSTANT).get(plain)
    if function is None and varies and plain in _NO_LAYER:
        raise NoLayer(f"its source has the operator {name!r}, which no layer of a policy computes")
    if function is None and name.endswith("_") and not name.endswith("__"):
        raise WritesInPlace(f"its source has the operator {name[:40]!r}, which writes in place")
    if function is None:
        kind, known = ("", _OPERATORS) if varies else (" of constants", _CONSTANT)
        raise LilliputError(f"its source has the operator {name[:40]!r}{kind}; supported: {', '.join(known)}")
    try:
        return function(*given, **named)
    except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise LilliputError(f"the operator {name[:40]!r} gets arguments that are not supported here") from error


def _number(value: Any) -> np.ndarray:
    if isinstance(value, bool) or not isinstance(value, int | float | np.ndarray):
        raise LilliputError("an operator gets what is no number")
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise LilliputError(f"an operator gets a constant of type {array.dtype}")
    return array.astype(np.float64)


def _weights(value: Any) -> np.ndarray:
    return np.ascontiguousarray(_number(value), np.float32)


def _linear(x: Any, weight: Any, bias: Any = None) -> Flow:
    matrix = _weights(weight)
    if matrix.ndim != 2 or (bias is not None and np.shape(bias) != matrix.shape[:1]):
        raise LilliputError(f"a linear layer has a weight of shape {list(matrix.shape)}")
    flow_of(x)
    if not x.shape or x.shape[-1] != matrix.shape[1]:
        raise LilliputError(f"a weight of shape {list(matrix.shape)} gets an input of shape {list(x.shape)}")
    return flow.linear(x, layers.Dense(matrix, None if bias is None else _weights(bias)), len(matrix))


def _matmul(x: Any, weight: Any) -> Flow:
    return _linear(x, _number(weight).T)


def _addmm(bias: Any, x: Any, weight: Any, *, beta: Any = 1, alpha: Any = 1) -> Flow:
    if beta != 1 or alpha != 1:
        raise LilliputError("addmm scales its parts")
    return _linear(x, _number(weight).T, bias)


def _add(a: Any, b: Any, alpha: Any = 1, sign: float = 1.0) -> Flow:
    by = alpha * sign
    if isinstance(a, Flow) and isinstance(b, Flow):
        if alpha != 1:
            raise LilliputError("add scales one of two values")
        return flow_pattern.total(a, b) if sign > 0 else flow_pattern.difference(a, b)
    if isinstance(a, Flow):
        return flow.affine(a, 1.0, by * _number(b))
    return flow.affine(flow_of(b), by, _number(a))


def _mul(a: Any, b: Any) -> Flow:
    if isinstance(a, Flow) and isinstance(b, Flow):
        return flow_pattern.product(a, b)
    return flow.affine(a, _number(b), 0.0) if isinstance(a, Flow) else flow.affine(flow_of(b), _number(a), 0.0)


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Flow:
    if rounding_mode is not None:
        raise LilliputError("div rounds")
    if isinstance(a, Flow) and isinstance(b, Flow):
        return flow_pattern.quotient(a, b)
    divisor = _number(b)
    if (divisor == 0).any():
        raise LilliputError("div by zero")
    return flow.affine(flow_of(a), 1 / divisor, 0.0)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Flow:
    low = -np.inf if min is None else _number(min)
    return flow.bounded(flow_of(x), low, np.inf if max is None else _number(max))


def _elementwise(layer: layers.Activation) -> Callable[..., Flow]:
    return lambda x: flow.elementwise(flow_of(x), layer)


def _elu(x: Any, alpha: Any = 1.0, scale: Any = 1, input_scale: Any = 1) -> Flow:
    return flow_pattern.scaled_elu(flow_of(x), float(alpha), float(scale), float(input_scale))


def _celu(x: Any, alpha: Any = 1.0) -> Flow:
    return _elu(x, alpha, 1, 1 / alpha)


def _leaky_relu(x: Any, negative_slope: Any = 0.01) -> Flow:
    return flow.elementwise(flow_of(x), layers.LeakyRelu(float(negative_slope)))


def _gelu(x: Any, approximate: str = "none") -> Flow:
    if approximate != "none":
        raise LilliputError(f"gelu is approximated by {approximate!r}")
    return flow.elementwise(flow_of(x), layers.Gelu())


def _softmax(x: Any, dim: int, dtype: Any = None) -> Flow:
    at = own_axis(flow_of(x), dim, "softmax")
    flow.over_last(x, "softmax")
    if at != len(x.shape) - 1 or dtype not in (None, FLOAT):
        raise LilliputError("softmax over an axis that is not the last")
    return flow.elementwise(x, flow.Softmax())


def _argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Choices:
    if dim is None:
        flow.over_last(flow_of(x), "argmax")
    return flow_choice.argmax(flow_of(x), -1 if dim is None else own_axis(x, dim, "argmax"), keep=keepdim)


def _mean(x: Any, dim: Sequence[int] | int | None = None, keepdim: bool = False, dtype: Any = None) -> Value:
    if dtype not in (None, FLOAT):
        raise LilliputError("mean in another type than float32")
    if dim is None:
        flow.over_last(flow_of(x), "mean")
    over = [-1] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if [axis_of(one, len(flow_of(x).shape)) for one in over] == [0] and len(x.shape) > 2 and x.shape[:2] == (1, 1):
        # An axis put in front of an observation's, as for the one critic of an ensemble: the mean of one is that one.
        return moving.reshape(x, x.shape if keepdim else x.shape[1:])
    return flow_pattern.averaged(flow_of(x), [own_axis(x, one, "mean") for one in over], keep=keepdim)


def _logsumexp(x: Any, dim: Sequence[int] | int, keepdim: bool = False) -> Flow:
    axes = [own_axis(flow_of(x), one, "logsumexp") for one in ([dim] if isinstance(dim, int) else dim)]
    return flow_pattern.reduced(x, flow_pattern.LOG_SUM_EXP, axes, keep=keepdim)


def _dropout(x: Any, p: Any, train: bool) -> Flow:
    if train:
        raise LilliputError("dropout is still training: save it after .eval()")
    return flow_of(x)


def _to(x: Value | np.ndarray, kind: Any = None, *rest: Any, dtype: Any = None, **__: Any) -> Value | np.ndarray:
    """x, which a type of float32 or float64 leaves as it is; a constant is in that type from then on."""
    if isinstance(kind, str) or is_call(kind, Global("torch", "device")):  # a type may come behind it
        kind = rest[0] if rest and not isinstance(rest[0], bool) else None
    elif isinstance(kind, np.ndarray):
        kind = _type_of(kind)
    wanted = dtype if kind is None else kind
    if wanted is None:
        return x if not isinstance(x, np.ndarray) else _array(x)
    whole = isinstance(x, Choices) or (isinstance(x, np.ndarray) and x.dtype == np.int64)
    if whole and isinstance(wanted, int) and wanted == LONG:
        return x
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted not in (FLOAT, DOUBLE):
        raise LilliputError("a value is cast to another type than a float of 32 or 64 bits, which would round it")
    return _array(x).astype(np.float32 if wanted == FLOAT else np.float64) if isinstance(x, np.ndarray) else x


def _type_of(x: Any) -> int:
    return {np.dtype(np.float32): FLOAT, np.dtype(np.float64): DOUBLE, np.dtype(np.int64): LONG}[_array(x).dtype]


def _same(x: Value, *_: Any, **__: Any) -> Value:
    return x


def _conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Flow:
    given = None if bias is None else _weights(bias)
    return flow.convolved(
        flow_of(x), conv2d(_weights(weight), given, _pair(stride), _pair(padding), _pair(dilation), groups)
    )


def _convolution_mode(x: Any, weight: Any, bias: Any, stride: Any, padding: str, dilation: Any, groups: int) -> Flow:
    same = same_padding(_weights(weight), _pair(stride), _pair(dilation)) if padding == "same" else (0, 0)
    if padding not in ("same", "valid"):
        raise LilliputError(f"a convolution with padding {padding[:20]!r}")
    return _conv2d(x, weight, bias, stride, list(same), dilation, groups)


def _convolution(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any,
    groups: int, *_: Any,
) -> Flow:  # fmt: skip
    if transposed or any(output_padding):
        raise LilliputError("a transposed convolution")
    return _conv2d(x, weight, bias, stride, padding, dilation, groups)


def _pair(value: Any) -> tuple[int, int]:
    whole = [value, value] if isinstance(value, int) else list(value) * (2 if len(value) == 1 else 1)
    if len(whole) != 2 or not all(isinstance(n, int) for n in whole):
        raise LilliputError("a convolution that is not over two axes")
    return whole[0], whole[1]


def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: Any, eps: Any, *_: Any
) -> Flow:
    if training:
        raise LilliputError("a batch normalization is still training: save it after .eval()")
    parts = [None if part is None else _number(part) for part in (weight, bias)]
    return batch_norm(flow_of(x), BatchStatistics(parts[0], parts[1], _number(mean), _number(var), float(eps)))


def _layer_norm(x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: Any = 1e-5, *_: Any) -> Flow:
    count = math.prod(shape)
    if math.prod(flow_of(x).shape) != count * x.rows:
        raise LilliputError("a layer norm of parts of an observation; supported: of all of it")
    gains = [
        np.full(count, rest, np.float32) if part is None else _weights(part).reshape(-1)
        for part, rest in ((weight, 1.0), (bias, 0.0))
    ]
    return flow.elementwise(flow.vector(x), layers.LayerNorm(gains[0], gains[1], float(eps)), x.shape)


def _size(x: Value, dim: int | None = None) -> Any:
    return list(x.shape) if dim is None else x.shape[dim]


_OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "linear": _linear, "matmul": _matmul, "mm": _matmul, "addmm": _addmm, "conv2d": _conv2d,
    "_convolution": _convolution, "_convolution_mode": _convolution_mode,
    "batch_norm": _batch_norm, "layer_norm": _layer_norm,
    "add": _add, "sub": lambda a, b, alpha=1: _add(a, b, alpha, -1.0),
    "rsub": lambda a, b, alpha=1: flow.affine(flow_of(a), -alpha, _number(b)),
    "mul": _mul, "div": _div, "neg": lambda x: flow.affine(flow_of(x), -1.0, 0.0),
    "clamp": _clamp, "clip": _clamp, "hardtanh": lambda x, low=-1.0, high=1.0: _clamp(x, low, high),
    "clamp_min": lambda x, low: _clamp(x, low), "clamp_max": lambda x, high: _clamp(x, None, high),
    "relu": _elementwise(layers.Relu()), "relu6": lambda x: _clamp(x, 0.0, 6.0), "tanh": _elementwise(layers.Tanh()),
    "sigmoid": _elementwise(layers.Sigmoid()), "silu": _elementwise(layers.Silu()), "elu": _elu, "celu": _celu,
    "selu": lambda x: _elu(x, *flow_pattern.SELU),
    "leaky_relu": _leaky_relu, "gelu": _gelu, "softmax": _softmax, "log_softmax": _softmax, "argmax": _argmax,
    "mean": _mean, "logsumexp": _logsumexp,
    "flatten": moving.flatten, "unflatten": moving.unflatten,
    "reshape": moving.reshape, "view": moving.reshape, "squeeze": moving.squeeze, "unsqueeze": moving.unsqueeze,
    "permute": moving.permute, "transpose": moving.transpose, "slice": moving.cut, "select": moving.select,
    "index_select": moving.index_select, "index": moving.index, "flip": moving.flip,
    "narrow": moving.narrow, "split": moving.split, "split_with_sizes": moving.split, "chunk": moving.chunk,
    "cat": moving.cat, "concat": moving.cat, "stack": moving.stack,
    "dropout": _dropout, "feature_dropout": _dropout, "to": _to, "type_as": _to, "cpu": _same,
    "contiguous": _same, "detach": _same, "clone": _same,
    "size": _size, "dim": lambda x: len(x.shape), "dtype": lambda x: FLOAT, "device": lambda x: "cpu",
}  # fmt: skip


def _floordiv(a: Any, b: Any) -> int:
    if type(a) is not int or type(b) is not int:
        raise LilliputError("it divides numbers that are no integers with //; supported: integers")
    return a // b


def _array(value: Any) -> np.ndarray:
    """A constant tensor; torch computes with float32 where it is one."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.size > MAX_ELEMENTS:
        raise LilliputError("an operator of constants gets what is no tensor of numbers")
    return value


def _kind(given: Sequence[Any], *, real: bool) -> np.dtype:
    """The type that torch computes with; `real`: it makes floats of integers."""
    tensors = [one for one in given if isinstance(one, np.ndarray)]
    floats = [one.dtype for one in tensors if one.dtype.kind == "f" and one.ndim]
    floats = floats or [one.dtype for one in tensors if one.dtype.kind == "f"]
    if any(kind == np.float16 for kind in floats):
        raise LilliputError("it computes with constants of 16 bits; supported: float32 and float64")
    if floats:
        return np.result_type(*floats)
    if real or any(isinstance(one, float) for one in given):
        return np.dtype(np.float32)
    if any(one.dtype != np.int64 for one in tensors):
        raise LilliputError("it computes with integers of less than 64 bits, which wrap around; supported: int64")
    return np.dtype(np.int64)


def _of_64_bits(number: Any) -> Any:
    if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63:
        raise LilliputError("it computes with integers of more than 64 bits, which wrap around")
    return number


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and abs(b) > 64:
        raise LilliputError("it raises an integer to a power above 64")
    return a**b


def _clamped(x: Any, min: Any = None, max: Any = None) -> np.ndarray:
    array = _array(x)
    if array.dtype not in (np.float32, np.float64):
        raise LilliputError(f"a constant of {array.dtype} is clamped; supported: floats of 32 and 64 bits")
    low, high = (np.asarray(rest if one is None else one, array.dtype) for one, rest in ((min, -np.inf), (max, np.inf)))
    return np.asarray(np.clip(array, low, high), array.dtype)


def _computed(function: Callable[..., Any], *, real: bool = False) -> Callable[..., Any]:
    """The function on constants, in the type that torch computes with, and on no more numbers than a policy has."""

    def compute(*given: Any) -> Any:
        if not all(isinstance(one, int | float | np.ndarray) and not isinstance(one, bool) for one in given):
            raise LilliputError("an operator of constants gets what is no number")
        arrays = [_array(one) if isinstance(one, np.ndarray) else np.asarray(one) for one in given]
        if math.prod(np.broadcast_shapes(*(one.shape for one in arrays))) > MAX_ELEMENTS:
            raise LilliputError("an operator of constants gives more numbers than any policy has")
        tensors = [one for one in given if isinstance(one, np.ndarray)]
        if not tensors:
            return _of_64_bits(function(*given))
        kind = _kind(given, real=real)
        return np.asarray(function(*(np.asarray(one, kind) for one in given)), kind)

    return compute


_CONSTANT: Final[dict[str, Callable[..., Any]]] = {
    "add": _computed(lambda a, b, c=1: a + c * b), "sub": _computed(lambda a, b, c=1: a - c * b),
    "mul": _computed(lambda a, b: a * b), "div": _computed(lambda a, b: a / b, real=True),
    "neg": _computed(lambda a: -a), "sqrt": _computed(np.sqrt, real=True), "exp": _computed(np.exp, real=True),
    "abs": _computed(np.abs), "reciprocal": _computed(lambda a: 1 / a, real=True), "pow": _computed(_power),
    "rsqrt": _computed(lambda a: 1 / np.sqrt(a), real=True), "square": _computed(lambda a: a * a),
    "maximum": _computed(np.maximum), "minimum": _computed(np.minimum), "clamp": _clamped, "clip": _clamped,
    "clamp_min": _clamped, "clamp_max": lambda a, high: _clamped(a, None, high),
    "device": lambda a: "cpu", "dtype": _type_of, "cpu": lambda a: _array(a), "type_as": _to,
    "floordiv": _floordiv, "len": len, "int": int, "float": float,
    "eq": lambda a, b: bool(a == b), "ne": lambda a, b: bool(a != b), "lt": lambda a, b: bool(a < b),
    "gt": lambda a, b: bool(a > b), "le": lambda a, b: bool(a <= b), "ge": lambda a, b: bool(a >= b),
    "__not__": lambda a: not a, "__is__": lambda a, b: a is b, "__isnot__": lambda a, b: a is not b,
    "__contains__": lambda a, b: b in a, "NumToTensor": lambda a: a, "Int": int, "Bool": bool, "list": list,
    "t": lambda a: _array(a).T, "detach": _array, "lift_fresh": _array, "clone": lambda a: _array(a).copy(),
    "contiguous": lambda a: _array(a) if _array(a).flags.c_contiguous else a.copy(),
    "unsqueeze": lambda a, dim: np.expand_dims(_array(a), dim),
    "squeeze": lambda a, dim=None: _array(a).squeeze(dim),
    "view": lambda a, shape: _array(a).reshape(shape), "reshape": lambda a, shape: _array(a).reshape(shape),
    "transpose": lambda a, i, j: _array(a).swapaxes(i, j), "permute": lambda a, dims: _array(a).transpose(dims),
    "slice": lambda a, dim=0, start=None, end=None, step=1: np.take(
        _array(a), range(_array(a).shape[dim])[start:end:step], axis=dim
    ),
    "to": _to,
    "size": lambda a, dim=None: list(a.shape) if dim is None else a.shape[dim], "dim": lambda a: _array(a).ndim,
}  # fmt: skip
