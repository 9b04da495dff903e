"""What each ONNX operator computes, in torch: those of convolutional networks and of attention.

Whatever an operator may be told and is not known here is refused: a student would learn another function in silence.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lilliput.errors import LilliputError

Settings = Mapping[str, Any]
"""An operator's attributes, with `num_outputs` and `opset`, the version of ONNX's operators."""


def _ints(value: Any) -> list[int]:
    return (
        []
        if value is None
        else [int(one) for one in np.asarray(value.detach() if hasattr(value, "detach") else value).reshape(-1)]
    )


def _padded(x: Any, pads: Sequence[int], value: float = 0.0) -> Any:
    from torch.nn import functional

    half = len(pads) // 2
    each = [side for axis in reversed(range(half)) for side in (pads[axis], pads[axis + half])]
    return functional.pad(x, each, value=value) if any(each) else x


def _pads(x: Any, settings: Settings, kernel: Sequence[int]) -> list[int]:
    """How much is padded of height and width before, and of both behind."""
    how = settings.get("auto_pad", b"NOTSET")
    if how not in (b"SAME_UPPER", b"SAME_LOWER"):
        return list(settings.get("pads", [0, 0, 0, 0])) if how == b"NOTSET" else [0, 0, 0, 0]
    before, behind = [], []
    for size, edge, stride, apart in zip(
        x.shape[2:], kernel, settings.get("strides", [1, 1]), settings.get("dilations", [1, 1]), strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (edge - 1) * apart + 1 - size, 0)
        more, less = total - total // 2, total // 2
        before.append(less if how == b"SAME_UPPER" else more)
        behind.append(more if how == b"SAME_UPPER" else less)
    return before + behind


def _conv(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    x, weight, *rest = inputs
    if weight.ndim != 4:
        raise LilliputError("a convolution that is not of pictures cannot be trained here")
    x = _padded(x, _pads(x, settings, list(weight.shape[2:])))
    return functional.conv2d(
        x,
        weight,
        rest[0] if rest else None,
        settings.get("strides", [1, 1]),
        0,
        settings.get("dilations", [1, 1]),
        settings.get("group", 1),
    )


def _pool(inputs: Sequence[Any], settings: Settings, *, largest: bool) -> Any:
    from torch.nn import functional

    kernel, dilations = list(settings["kernel_shape"]), list(settings.get("dilations", [1, 1]))
    if settings.get("ceil_mode", 0) or len(kernel) != 2 or settings["num_outputs"] > 1:
        raise LilliputError("a pooling that rounds up, is not of pictures or gives places cannot be trained here")
    pads, strides = _pads(inputs[0], settings, kernel), list(settings.get("strides", [1, 1]))
    if largest:
        padded = _padded(inputs[0], pads, float("-inf"))
        return functional.max_pool2d(padded, kernel, strides, dilation=dilations)
    if dilations != [1, 1]:
        raise LilliputError("a mean of pixels that are apart cannot be trained here")
    if any(pads) and (pads[:2] != pads[2:]):
        raise LilliputError("a pooling that pads one side more cannot be trained here")
    counts = bool(settings.get("count_include_pad", 0))
    return functional.avg_pool2d(inputs[0], kernel, strides, pads[:2], count_include_pad=counts)


def _gemm(inputs: Sequence[Any], settings: Settings) -> Any:
    a, b, *rest = inputs
    a = a.T if settings.get("transA") else a
    b = b.T if settings.get("transB") else b
    found = settings.get("alpha", 1.0) * (a @ b)
    return found + settings.get("beta", 1.0) * rest[0] if rest else found


def _norm(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    x, scale, bias, mean, variance = inputs
    if settings.get("training_mode", 0) or not settings.get("spatial", 1):
        raise LilliputError("a batch norm that takes its statistics from the batch cannot be trained here")
    return functional.batch_norm(
        x, mean.detach(), variance.detach(), scale, bias, False, 0.0, settings.get("epsilon", 1e-5)
    )


def _clip(inputs: Sequence[Any], settings: Settings) -> Any:
    low = inputs[1] if len(inputs) > 1 else settings.get("min")
    high = inputs[2] if len(inputs) > 2 else settings.get("max")
    low, high = (None if one is None else float(one) for one in (low, high))
    return inputs[0].clamp(low, high)


def _slice(inputs: Sequence[Any], _: Settings) -> Any:
    x, starts, ends = inputs[0], _ints(inputs[1]), _ints(inputs[2])
    axes = _ints(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _ints(inputs[4]) if len(inputs) > 4 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            raise LilliputError("a slice that goes backwards cannot be trained here")
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _pad(inputs: Sequence[Any], settings: Settings) -> Any:
    if settings.get("mode", b"constant") != b"constant" or len(inputs) > 3:
        raise LilliputError("a padding that is not constant cannot be trained here")
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return _padded(inputs[0], _ints(inputs[1]), value)


def _reshape(inputs: Sequence[Any], settings: Settings) -> Any:
    x, shape = inputs[0], _ints(inputs[1])
    return x.reshape([x.shape[at] if n == 0 and not settings.get("allowzero", 0) else n for at, n in enumerate(shape)])


def _softmax(inputs: Sequence[Any], settings: Settings) -> Any:
    x = inputs[0]
    if settings["opset"] >= 13:
        return x.softmax(settings.get("axis", -1))
    # Before that version a softmax is over the axis and all behind it.
    return x.flatten(settings.get("axis", 1) % x.ndim).softmax(-1).reshape(x.shape)


def _reduced(inputs: Sequence[Any], settings: Settings, name: str) -> Any:
    axes = list(settings["axes"]) if "axes" in settings else _ints(inputs[1]) if len(inputs) > 1 else None
    if not axes and settings.get("noop_with_empty_axes", 0):
        return inputs[0]
    axes = axes or list(range(inputs[0].ndim))
    return getattr(inputs[0], name)(axes, keepdim=bool(settings.get("keepdims", 1)))


def _split(inputs: Sequence[Any], settings: Settings) -> Any:
    x, axis = inputs[0], settings.get("axis", 0)
    given = _ints(inputs[1]) if len(inputs) > 1 else settings.get("split")
    if given:
        return tuple(x.split(list(given), axis))
    n, parts = x.shape[axis], settings["num_outputs"]
    size = -(-n // parts)
    return tuple(x.split([size] * (parts - 1) + [n - size * (parts - 1)], axis))


def _gather(inputs: Sequence[Any], settings: Settings) -> Any:
    x, index, axis = inputs[0], inputs[1], settings.get("axis", 0)
    axis %= x.ndim
    rows = x.index_select(axis, index.reshape(-1).long() % x.shape[axis])
    return rows.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


_REPEATS = (
    (b"nearest", b"half_pixel", b"round_prefer_floor"),
    (b"nearest", b"half_pixel", b"round_prefer_ceil"),
    (b"nearest", b"pytorch_half_pixel", b"round_prefer_floor"),
    (b"nearest", b"asymmetric", b"floor"),
)
"""Ways to resize that repeat each pixel where it becomes a whole number of them."""


def _resize(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    how = (
        settings.get("mode", b"nearest"),
        settings.get("coordinate_transformation_mode", b"half_pixel"),
        settings.get("nearest_mode", b"round_prefer_floor"),
    )
    scales = inputs[2].tolist() if len(inputs) > 2 and inputs[2] is not None and inputs[2].numel() else None
    whole = scales is not None and len(scales) == 4 and scales[:2] == [1, 1] and all(one == int(one) for one in scales)
    if how not in _REPEATS or not whole or scales is None:
        raise LilliputError("a resize that does not repeat pixels cannot be trained here")
    return functional.interpolate(inputs[0], scale_factor=[float(one) for one in scales[2:]], mode="nearest")


def _flatten(inputs: Sequence[Any], settings: Settings) -> Any:
    axis = settings.get("axis", 1)
    if axis != 1:
        raise LilliputError("a flattening of other axes cannot be trained here")
    return inputs[0].flatten(1)


def _squeezed(inputs: Sequence[Any], settings: Settings) -> Any:
    axes = _ints(inputs[1]) if len(inputs) > 1 else settings.get("axes")  # an attribute before opset 13
    return inputs[0].squeeze(list(axes or range(inputs[0].ndim)))


def _unsqueezed(inputs: Sequence[Any], settings: Settings) -> Any:
    x = inputs[0]
    axes = _ints(inputs[1]) if len(inputs) > 1 else list(settings["axes"])  # an attribute before opset 13
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _divided(inputs: Sequence[Any], _: Settings) -> Any:
    import torch

    whole = not inputs[0].is_floating_point() and not inputs[1].is_floating_point()
    return torch.div(*inputs, rounding_mode="trunc" if whole else None)


def _layer_norm(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    x, scale, *rest = inputs
    shape = x.shape[settings.get("axis", -1) % x.ndim :]
    if settings["num_outputs"] > 1:
        raise LilliputError("a layer norm that gives its statistics cannot be trained here")
    bias = rest[0] if rest else None
    return functional.layer_norm(x, shape, None, None, settings.get("epsilon", 1e-5)) * scale + (
        0 if bias is None else bias
    )


def _cast(inputs: Sequence[Any], settings: Settings) -> Any:
    import torch
    from onnx import helper

    kind = helper.tensor_dtype_to_np_dtype(settings["to"]).name
    if inputs[0].is_floating_point() and kind in ("float16", "bfloat16"):
        raise LilliputError("numbers that are rounded to 16 bits cannot be trained here")
    return inputs[0].to(getattr(torch, kind))


def _constant(_: Sequence[Any], settings: Settings) -> Any:
    import torch
    from onnx import numpy_helper

    if "value" in settings:
        return torch.from_numpy(numpy_helper.to_array(settings["value"]).copy())
    for name, kind in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                       ("value_ints", torch.int64)):  # fmt: skip
        if name in settings:
            return torch.tensor(settings[name], dtype=kind)
    raise LilliputError("a constant that is no number cannot be trained here")


def _filled(inputs: Sequence[Any], settings: Settings) -> Any:
    import torch
    from onnx import numpy_helper

    value = numpy_helper.to_array(settings["value"]) if "value" in settings else np.zeros(1, np.float32)
    return torch.from_numpy(value.copy()).reshape(()).expand(_ints(inputs[0])).clone()


def _shape(inputs: Sequence[Any], settings: Settings) -> Any:
    import torch

    return torch.tensor(inputs[0].shape, dtype=torch.int64)[settings.get("start", 0) : settings.get("end")]


def _expanded(inputs: Sequence[Any], _: Settings) -> Any:
    import torch

    return inputs[0].expand(torch.broadcast_shapes(inputs[0].shape, tuple(_ints(inputs[1]))))


def operators() -> dict[str, Callable[[Sequence[Any], Settings], Any]]:
    """What each operator computes, from its inputs and settings."""
    import torch
    from torch.nn import functional

    def each(function: Callable[..., Any]) -> Callable[[Sequence[Any], Settings], Any]:
        return lambda inputs, settings: function(*inputs)

    return {
        "Conv": _conv,
        "Gemm": _gemm,
        "MatMul": each(torch.matmul),
        "BatchNormalization": _norm,
        "Relu": each(torch.relu),
        "LeakyRelu": lambda inputs, settings: functional.leaky_relu(inputs[0], settings.get("alpha", 0.01)),
        "Sigmoid": each(torch.sigmoid),
        "Tanh": each(torch.tanh),
        "Softplus": each(functional.softplus),
        "HardSwish": each(functional.hardswish),
        "HardSigmoid": lambda inputs, settings: (
            settings.get("alpha", 0.2) * inputs[0] + settings.get("beta", 0.5)
        ).clamp(0, 1),
        "Exp": each(torch.exp),
        "Log": each(torch.log),
        "Sqrt": each(torch.sqrt),
        "Neg": each(torch.neg),
        "Sin": each(torch.sin),
        "Cos": each(torch.cos),
        "Erf": each(torch.erf),
        "Abs": each(torch.abs),
        "Pow": each(torch.pow),
        "Add": each(torch.add),
        "Sub": each(torch.sub),
        "Mul": each(torch.mul),
        "Div": _divided,
        "Max": lambda inputs, _: functools.reduce(torch.maximum, inputs),
        "Min": lambda inputs, _: functools.reduce(torch.minimum, inputs),
        "Reciprocal": each(torch.reciprocal),
        "Equal": each(torch.eq),
        "Where": each(torch.where),
        "Not": each(torch.logical_not),
        "And": each(torch.logical_and),
        "IsNaN": each(torch.isnan),
        "Cast": _cast,
        "Shape": _shape,
        "Expand": _expanded,
        "ConstantOfShape": _filled,
        "Constant": _constant,
        "LayerNormalization": _layer_norm,
        "PRelu": lambda inputs, _: torch.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0]),
        "Elu": lambda inputs, settings: functional.elu(inputs[0], settings.get("alpha", 1.0)),
        "Gelu": lambda inputs, settings: functional.gelu(
            inputs[0], approximate=settings.get("approximate", b"none").decode()
        ),
        "Mish": each(functional.mish),
        "Clip": _clip,
        "Softmax": _softmax,
        "MaxPool": lambda inputs, settings: _pool(inputs, settings, largest=True),
        "AveragePool": lambda inputs, settings: _pool(inputs, settings, largest=False),
        "GlobalAveragePool": lambda inputs, _: inputs[0].mean(tuple(range(2, inputs[0].ndim)), keepdim=True),
        "GlobalMaxPool": lambda inputs, _: inputs[0].amax(tuple(range(2, inputs[0].ndim)), keepdim=True),
        "ReduceMean": lambda inputs, settings: _reduced(inputs, settings, "mean"),
        "ReduceSum": lambda inputs, settings: _reduced(inputs, settings, "sum"),
        "ReduceMax": lambda inputs, settings: _reduced(inputs, settings, "amax"),
        "Flatten": _flatten,
        "Reshape": _reshape,
        "Transpose": lambda inputs, settings: inputs[0].permute(
            settings.get("perm", tuple(range(inputs[0].ndim))[::-1])
        ),
        "Squeeze": _squeezed,
        "Unsqueeze": _unsqueezed,
        "Concat": lambda inputs, settings: torch.cat(list(inputs), settings["axis"]),
        "Slice": _slice,
        "Split": _split,
        "Gather": _gather,
        "Pad": _pad,
        "Resize": _resize,
        "Identity": lambda inputs, _: inputs[0],
        "Dropout": lambda inputs, _: inputs[0],
    }
