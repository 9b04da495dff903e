"""The operators of torch that a TorchScript program may use, on what varies with the observation and on constants."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow, flow_pattern
from lilliput.policies.load.flow import MAX_ELEMENTS, Choices, Flow, NoLayer, Value
from lilliput.policies.load.layer_geometry import BatchStatistics, batch_norm, conv2d, same_padding

FLOAT, DOUBLE, LONG = 6, 7, 4
"""torch's numbers of its types."""

CUTTING: Final = ("slice", "select", "split", "chunk", "narrow", "split_with_sizes", "index_select")
"""Operators whose result tells less of the size of what they take."""

_MEMORY = ("rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell")
_NO_LAYER = (
    "selu", "mish", "softplus", "prelu", "rrelu", "glu", "hardsigmoid", "hardswish", "hardshrink", "softshrink",
    "log_sigmoid", "threshold", "softmin", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "group_norm", "instance_norm", "scaled_dot_product_attention",
)  # fmt: skip
"""Of the observation: what no layer of a policy computes, in any file."""

_RANDOM = ("normal", "randn", "rand", "randn_like", "rand_like", "bernoulli", "multinomial", "normal_")


@final
class Batched(LilliputError):
    """An operator over the axis of the observations, which is the observation's own where it stands alone."""


def apply(name: str, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What the operator gives.

    Raises:
        LilliputError: an operator that is not followed, or with arguments that are not.
    """
    if name in _MEMORY:
        raise LilliputError(f"it has a memory ({name}); supported: LSTM and GRU")
    if name in _RANDOM:
        raise LilliputError(f"its action is drawn at random ({name}); save the deterministic one")
    plain = name if name in _OPERATORS or name in _CONSTANT else name.removesuffix("_")
    varies = any(isinstance(one, Flow | Choices) for one in (*given, *named.values())) or any(
        isinstance(one, Flow | Choices) for part in given if isinstance(part, list) for one in part
    )
    function = (_OPERATORS if varies else _CONSTANT).get(plain)
    if function is None and varies and plain in _NO_LAYER:
        raise NoLayer(f"its source has the operator {name!r}, which no layer of a policy computes")
    if function is None:
        kind, known = ("", _OPERATORS) if varies else (" of constants", _CONSTANT)
        raise LilliputError(f"its source has the operator {name[:40]!r}{kind}; supported: {', '.join(known)}")
    try:
        return function(*given, **named)
    except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise LilliputError(f"the operator {name[:40]!r} gets arguments that are not supported here") from error


def _flow(value: Any) -> Flow:
    if not isinstance(value, Flow):
        raise LilliputError("a choice is computed with; supported: nothing behind it")
    return value


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
    _flow(x)
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
    return flow.affine(_flow(b), by, _number(a))


def _mul(a: Any, b: Any) -> Flow:
    if isinstance(a, Flow) and isinstance(b, Flow):
        return flow_pattern.product(a, b)
    return flow.affine(a, _number(b), 0.0) if isinstance(a, Flow) else flow.affine(_flow(b), _number(a), 0.0)


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Flow:
    if rounding_mode is not None:
        raise LilliputError("div rounds")
    if isinstance(a, Flow) and isinstance(b, Flow):
        return flow_pattern.quotient(a, b)
    divisor = _number(b)
    if (divisor == 0).any():
        raise LilliputError("div by zero")
    return flow.affine(_flow(a), 1 / divisor, 0.0)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Flow:
    low = -np.inf if min is None else _number(min)
    return flow.bounded(_flow(x), low, np.inf if max is None else _number(max))


def _elementwise(layer: layers.Activation) -> Callable[..., Flow]:
    return lambda x: flow.elementwise(_flow(x), layer)


def _elu(x: Any, alpha: Any = 1.0, scale: Any = 1, input_scale: Any = 1) -> Flow:
    if scale != 1 or input_scale != 1:
        raise NoLayer("elu scales its input or output (SELU, CELU)")
    return flow.elementwise(_flow(x), layers.Elu(float(alpha)))


def _celu(x: Any, alpha: Any = 1.0) -> Flow:
    if alpha != 1:
        raise NoLayer("celu with another alpha than 1")
    return _elu(x)


def _leaky_relu(x: Any, negative_slope: Any = 0.01) -> Flow:
    return flow.elementwise(_flow(x), layers.LeakyRelu(float(negative_slope)))


def _gelu(x: Any, approximate: str = "none") -> Flow:
    if approximate != "none":
        raise LilliputError(f"gelu is approximated by {approximate!r}")
    return flow.elementwise(_flow(x), layers.Gelu())


def _softmax(x: Any, dim: int, dtype: Any = None) -> Flow:
    at = _own_axis(_flow(x), dim, "softmax")
    flow.over_last(x, "softmax")
    if at != len(x.shape) - 1 or dtype not in (None, FLOAT):
        raise LilliputError("softmax over an axis that is not the last")
    return flow.elementwise(x, flow.Softmax())


def _argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Choices:
    if dim is None:
        flow.over_last(_flow(x), "argmax")
    return flow.argmax(_flow(x), -1 if dim is None else _own_axis(x, dim, "argmax"), keep=keepdim)


def _axis(dim: int, rank: int) -> int:
    if not -rank <= dim < rank:
        raise LilliputError(f"the axis {dim} of a value with {rank} axes")
    return dim % rank


def _own_axis(x: Value, dim: int, what: str) -> int:
    """The axis, counted from 0, which is not that of the observations."""
    at = _axis(dim, len(x.shape))
    if at == 0 and len(x.shape) > 1:
        raise Batched(
            f"{what} works over axis 0, which holds the observations where they come in a batch; export it with "
            f"dim=-1, or trace it with one observation as it takes it"
        )
    return at


def _reshape(x: Value, shape: Sequence[int]) -> Value:
    if isinstance(shape, np.ndarray) or not all(isinstance(n, int) for n in shape):
        raise LilliputError("a shape that is no constant")
    return flow.reshaped(x, shape)


def _flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    rank = len(x.shape)
    first, last = _axis(start_dim, rank), _axis(end_dim, rank)
    return flow.reshaped(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def _unflatten(x: Value, dim: int, sizes: Sequence[int]) -> Value:
    at = _axis(dim, len(x.shape))
    return flow.reshaped(x, (*x.shape[:at], *sizes, *x.shape[at + 1 :]))


def _squeeze(x: Value, dim: int | None = None) -> Value:
    at = range(len(x.shape)) if dim is None else (_axis(dim, len(x.shape)),)
    return flow.reshaped(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in at))


def _unsqueeze(x: Value, dim: int) -> Value:
    at = _axis(dim, len(x.shape) + 1)
    return flow.reshaped(x, (*x.shape[:at], 1, *x.shape[at:]))


def _permute(x: Any, dims: Sequence[int]) -> Flow:
    return flow.rearranged(_flow(x), lambda array: array.transpose(tuple(dims)), "permute")


def _transpose(x: Any, first: int, second: int) -> Flow:
    return flow.rearranged(_flow(x), lambda array: array.swapaxes(first, second), "transpose")


def _slice(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Flow:
    cut = [slice(None)] * len(_flow(x).shape)
    cut[dim] = slice(start, end, step)
    return flow.rearranged(x, lambda array: array[tuple(cut)], "slice")


def _select(x: Any, dim: int, index: int) -> Flow:
    return flow.rearranged(_flow(x), lambda array: np.take(array, index, axis=dim), "select")


def _narrow(x: Any, dim: int, start: int, length: int) -> Flow:
    return _slice(x, dim, start, start + length)


def _split(x: Any, size: int | Sequence[int], dim: int = 0) -> list[Flow]:
    whole: int = _flow(x).shape[dim]
    if isinstance(size, int):
        each = [size] * (whole // size) + [whole % size] * (whole % size > 0)
    else:
        each = list(size)
    if sum(each) != whole:
        raise LilliputError(f"split of {whole} into {each[:8]}")
    ends = np.cumsum(each)
    return [_slice(x, dim, int(end) - n, int(end)) for end, n in zip(ends, each, strict=True)]


def _chunk(x: Any, chunks: int, dim: int = 0) -> list[Flow]:
    return _split(x, -(-_flow(x).shape[dim] // chunks), dim)


def _cat(parts: Sequence[Any], dim: int = 0) -> Value:
    if not all(isinstance(part, Flow | Choices) for part in parts):
        raise LilliputError("cat puts constants beside the observation's values")
    if len(parts) > 1:
        for part in parts:
            _own_axis(part, dim, "cat")
    return flow.joined(list(parts), dim)


def _dropout(x: Any, p: Any, train: bool) -> Flow:
    if train:
        raise LilliputError("dropout is still training: save it after .eval()")
    return _flow(x)


def _to(x: Value, dtype: Any = FLOAT, *_: Any, **__: Any) -> Value:
    if isinstance(x, Choices) and dtype == LONG:
        return x
    if dtype not in (FLOAT, DOUBLE) or isinstance(dtype, bool):
        raise LilliputError("a value is cast to another type than a float")
    return x


def _same(x: Value, *_: Any, **__: Any) -> Value:
    return x


def _conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Flow:
    given = None if bias is None else _weights(bias)
    return flow.convolved(
        _flow(x), conv2d(_weights(weight), given, _pair(stride), _pair(padding), _pair(dilation), groups)
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
    return batch_norm(_flow(x), BatchStatistics(parts[0], parts[1], _number(mean), _number(var), float(eps)))


def _layer_norm(x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: Any = 1e-5, *_: Any) -> Flow:
    count = math.prod(shape)
    if math.prod(_flow(x).shape) != count * x.rows:
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
    "rsub": lambda a, b, alpha=1: flow.affine(_flow(a), -alpha, _number(b)),
    "mul": _mul, "div": _div, "neg": lambda x: flow.affine(_flow(x), -1.0, 0.0),
    "clamp": _clamp, "clip": _clamp, "hardtanh": lambda x, low=-1.0, high=1.0: _clamp(x, low, high),
    "clamp_min": lambda x, low: _clamp(x, low), "clamp_max": lambda x, high: _clamp(x, None, high),
    "relu": _elementwise(layers.Relu()), "relu6": lambda x: _clamp(x, 0.0, 6.0), "tanh": _elementwise(layers.Tanh()),
    "sigmoid": _elementwise(layers.Sigmoid()), "silu": _elementwise(layers.Silu()), "elu": _elu, "celu": _celu,
    "leaky_relu": _leaky_relu, "gelu": _gelu, "softmax": _softmax, "log_softmax": _softmax, "argmax": _argmax,
    "flatten": _flatten, "unflatten": _unflatten,
    "reshape": _reshape, "view": _reshape, "squeeze": _squeeze, "unsqueeze": _unsqueeze,
    "permute": _permute, "transpose": _transpose, "slice": _slice, "select": _select, "narrow": _narrow,
    "split": _split, "split_with_sizes": _split, "chunk": _chunk, "cat": _cat, "concat": _cat,
    "dropout": _dropout, "feature_dropout": _dropout, "to": _to, "contiguous": _same, "detach": _same, "clone": _same,
    "size": _size, "dim": lambda x: len(x.shape), "dtype": lambda x: FLOAT, "device": lambda x: "cpu",
}  # fmt: skip


def _array(value: Any) -> np.ndarray:
    """A constant tensor; torch computes with float32 where it is one."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.size > MAX_ELEMENTS:
        raise LilliputError("an operator of constants gets what is no tensor of numbers")
    return value


def _computed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on constants of which at most one is a tensor of several elements, so that nothing grows."""

    def compute(*given: Any) -> Any:
        if not all(isinstance(one, int | float | np.ndarray) and not isinstance(one, bool) for one in given):
            raise LilliputError("an operator of constants gets what is no number")
        arrays = [_array(one) if isinstance(one, np.ndarray) else np.asarray(one) for one in given]
        if math.prod(np.broadcast_shapes(*(one.shape for one in arrays))) > MAX_ELEMENTS:
            raise LilliputError("an operator of constants gives more numbers than any policy has")
        tensors = [one for one in given if isinstance(one, np.ndarray)]
        if not tensors:
            return function(*given)
        kinds = {one.dtype for one in tensors if one.ndim} or {one.dtype for one in tensors}
        kind = np.result_type(*kinds, *([np.float32] if any(k.kind in "iu" for k in kinds) else []))
        return np.asarray(function(*(np.asarray(one, kind) for one in given)), kind)

    return compute


_CONSTANT: Final[dict[str, Callable[..., Any]]] = {
    "add": _computed(lambda a, b, c=1: a + c * b), "sub": _computed(lambda a, b, c=1: a - c * b),
    "mul": _computed(lambda a, b: a * b), "div": _computed(lambda a, b: a / b), "neg": _computed(lambda a: -a),
    "sqrt": _computed(np.sqrt), "exp": _computed(np.exp), "abs": _computed(np.abs),
    "reciprocal": _computed(lambda a: 1 / a), "pow": _computed(lambda a, b: a**b),
    "floordiv": lambda a, b: int(a) // int(b), "len": len, "int": int, "float": float,
    "eq": lambda a, b: bool(a == b), "ne": lambda a, b: bool(a != b), "lt": lambda a, b: bool(a < b),
    "gt": lambda a, b: bool(a > b), "le": lambda a, b: bool(a <= b), "ge": lambda a, b: bool(a >= b),
    "__not__": lambda a: not a, "__is__": lambda a, b: a is b, "__isnot__": lambda a, b: a is not b,
    "__contains__": lambda a, b: b in a, "NumToTensor": lambda a: a, "Int": int, "Bool": bool, "list": list,
    "t": lambda a: _array(a).T, "detach": _array, "contiguous": _array, "clone": _array,
    "unsqueeze": lambda a, dim: np.expand_dims(_array(a), dim),
    "squeeze": lambda a, dim=None: _array(a).squeeze(dim),
    "view": lambda a, shape: _array(a).reshape(shape), "reshape": lambda a, shape: _array(a).reshape(shape),
    "transpose": lambda a, i, j: _array(a).swapaxes(i, j), "permute": lambda a, dims: _array(a).transpose(dims),
    "slice": lambda a, dim=0, start=None, end=None, step=1: np.take(
        _array(a), range(_array(a).shape[dim])[start:end:step], axis=dim
    ),
    "to": lambda a, dtype=FLOAT, *_: _array(a).astype(np.float32 if dtype == FLOAT else np.float64),
    "size": lambda a, dim=None: list(a.shape) if dim is None else a.shape[dim], "dim": lambda a: _array(a).ndim,
}  # fmt: skip
