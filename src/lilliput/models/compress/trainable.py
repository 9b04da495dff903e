"""An ONNX graph as a torch function whose weights can be trained: the operators of convolutional networks alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from lilliput.errors import LilliputError

if TYPE_CHECKING:
    import onnx
    import torch

Settings = Mapping[str, Any]


@final
class Trainable:
    """A graph whose real constants of more than one number are tensors with a gradient.

    Attributes:
        proto: the graph.
        weights: those tensors by name.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        """Reads the graph.

        Raises:
            LilliputError: it has an operator that is not known here.
        """
        import torch
        from onnx import helper, numpy_helper

        self.proto, table = proto, operators()
        for node in proto.graph.node:
            if node.op_type not in table and node.op_type != "Constant":
                way = ": export it with fixed axes, without dynamic ones" if node.op_type == "Shape" else ""
                raise LilliputError(f"the graph has {node.op_type}, which cannot be trained here{way}")
        self._nodes: list[tuple[str, Any, list[str], list[str], dict[str, Any]]] = [
            (node.op_type, table.get(node.op_type), list(node.input), list(node.output),
             {"num_outputs": len(node.output)}
             | {part.name: helper.get_attribute_value(part) for part in node.attribute})
            for node in proto.graph.node
        ]  # fmt: skip
        self._outputs = [value.name for value in proto.graph.output]
        constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
        self.weights = {
            name: tensor.requires_grad_()
            for name, tensor in constants.items()
            if tensor.is_floating_point() and tensor.numel() > 1
        }
        self._constants = constants | self.weights

    def __call__(self, feeds: Mapping[str, "torch.Tensor"]) -> "list[torch.Tensor]":
        """The outputs in their order.

        Raises:
            LilliputError: an operator is told what is not known here.
        """
        import torch
        from onnx import numpy_helper

        known: dict[str, Any] = {**self._constants, **feeds, "": None}
        for kind, function, inputs, outputs, settings in self._nodes:
            try:
                if function is None:
                    found = torch.from_numpy(numpy_helper.to_array(settings["value"]).copy())
                else:
                    found = function([known[name] for name in inputs], settings)
            except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
                said = f"as it stands in the graph ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
                raise LilliputError(f"{kind} cannot be trained here {said}") from error
            for name, one in zip(outputs, found if isinstance(found, tuple) else (found,), strict=False):
                known[name] = one
        return [known[name] for name in self._outputs]


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


def _conv(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    x, weight, *rest = inputs
    if settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or weight.ndim != 4:
        raise LilliputError("a convolution that is not of pictures, or pads by itself, cannot be trained here")
    x = _padded(x, settings.get("pads", [0, 0, 0, 0]))
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

    pads = settings.get("pads", [0, 0, 0, 0])
    if settings.get("ceil_mode", 0) or settings.get("auto_pad", b"NOTSET") != b"NOTSET" or len(pads) != 4:
        raise LilliputError("a pooling that rounds up or pads by itself cannot be trained here")
    kernel, strides = settings["kernel_shape"], settings.get("strides", [1] * len(settings["kernel_shape"]))
    if largest:
        return functional.max_pool2d(_padded(inputs[0], pads, float("-inf")), kernel, strides)
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


def _reshape(inputs: Sequence[Any], _: Settings) -> Any:
    x, shape = inputs[0], _ints(inputs[1])
    return x.reshape([x.shape[at] if n == 0 else n for at, n in enumerate(shape)])


def _reduced(inputs: Sequence[Any], settings: Settings, name: str) -> Any:
    axes = list(settings["axes"]) if "axes" in settings else _ints(inputs[1]) if len(inputs) > 1 else None
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
    if index.ndim > 1:
        raise LilliputError("a gather by a matrix cannot be trained here")
    return x.select(axis, int(index)) if index.ndim == 0 else x.index_select(axis, index)


def _resize(inputs: Sequence[Any], settings: Settings) -> Any:
    from torch.nn import functional

    mode = settings.get("mode", b"nearest")
    scales = inputs[2].tolist() if len(inputs) > 2 and inputs[2] is not None and inputs[2].numel() else None
    whole = scales is not None and len(scales) == 4 and scales[:2] == [1, 1] and all(one == int(one) for one in scales)
    if mode != b"nearest" or not whole or scales is None:
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


def _unsqueezed(inputs: Sequence[Any], _: Settings) -> Any:
    x = inputs[0]
    for axis in sorted(_ints(inputs[1])):
        x = x.unsqueeze(axis)
    return x


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
        "Div": each(torch.div),
        "Clip": _clip,
        "Softmax": lambda inputs, settings: torch.softmax(inputs[0], settings.get("axis", -1)),
        "MaxPool": lambda inputs, settings: _pool(inputs, settings, largest=True),
        "AveragePool": lambda inputs, settings: _pool(inputs, settings, largest=False),
        "GlobalAveragePool": lambda inputs, _: inputs[0].mean((2, 3), keepdim=True),
        "ReduceMean": lambda inputs, settings: _reduced(inputs, settings, "mean"),
        "ReduceSum": lambda inputs, settings: _reduced(inputs, settings, "sum"),
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
