"""The shape of what a layer gives, or why it does not take an input."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.layers.action import ArgmaxAction, BetaAction, ClipAction, RescaleAction, SquashAction
from lilliput.policies.layers.activation import (
    Elu,
    Gelu,
    HardTanh,
    LayerNorm,
    LeakyRelu,
    Relu,
    Sigmoid,
    Silu,
    Tanh,
)
from lilliput.policies.layers.input import Flatten, SelectInputs, Standardize
from lilliput.policies.layers.linear import (
    Conv2d,
    Dense,
    InputRange,
    QuantizedConv2d,
    QuantizedDense,
    StaticRange,
)
from lilliput.policies.layers.memory import (
    GATES,
    Gru,
    History,
    Lstm,
    PreviousAction,
    Recurrent,
    n_units,
    state_shapes,
)
from lilliput.policies.layers.table import Layer

MAX_OUTPUTS = 1 << 24
"""Numbers that a layer may give: a file that asks for more is damaged."""


def output_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one output of `layer` for one input of `shape`.

    Raises:
        LilliputError: the layer does not take that input.
    """
    match layer:
        case Dense(weight=weight) | QuantizedDense(weight=weight):
            if len(weight.shape) != 2 or shape != weight.shape[1:]:
                raise LilliputError(f"a weight of shape {list(weight.shape)} gets an input of shape {list(shape)}")
            _check_bias(layer.bias, weight.shape[0])
            if isinstance(layer, QuantizedDense):
                _check_range(layer.input, shape)
            return (weight.shape[0],)
        case Conv2d(weight=weight) | QuantizedConv2d(weight=weight):
            if len(weight.shape) != 4 or len(shape) != 3 or shape[0] != weight.shape[1]:
                raise LilliputError(f"a convolution of shape {list(weight.shape)} gets an input of shape {list(shape)}")
            _check_bias(layer.bias, weight.shape[0])
            if min(layer.stride) < 1 or min(layer.padding) < 0:
                raise LilliputError(f"a convolution has the stride {layer.stride} and the padding {layer.padding}")
            if isinstance(layer, QuantizedConv2d):
                _check_range(layer.input, ())
            size = [
                (n + 2 * pad - kernel) // stride + 1
                for n, kernel, stride, pad in zip(shape[1:], weight.shape[2:], layer.stride, layer.padding, strict=True)
            ]
            if min(size) < 1:
                raise LilliputError(
                    f"a convolution of shape {list(weight.shape)} is larger than its input {list(shape)}"
                )
            if weight.shape[0] * size[0] * size[1] > MAX_OUTPUTS:
                raise LilliputError(
                    f"a convolution gives {[weight.shape[0], *size]}; at most {MAX_OUTPUTS} numbers are allowed"
                )
            return (weight.shape[0], *size)
        case Lstm() | Gru():
            return _recurrent_shape(layer, shape)
        case History(length=length):
            if len(shape) != 1 or length * shape[0] > MAX_OUTPUTS:
                raise LilliputError(f"a history of {length} steps gets an input of shape {list(shape)}")
            return (length * shape[0],)
        case PreviousAction(start=start, size=size):
            if len(shape) != 1 or start > shape[0] or size > MAX_OUTPUTS:
                raise LilliputError(
                    f"{size} numbers of previous actions at {start} get an input of shape {list(shape)}"
                )
            return (shape[0] + size,)
        case SelectInputs(indices=indices):
            if len(shape) != 1 or int(indices[-1]) >= shape[0]:
                raise LilliputError(f"input {int(indices[-1])} is selected from an input of shape {list(shape)}")
            return indices.shape
        case Flatten():
            return (int(np.prod(shape)),)
        case BetaAction():
            if len(shape) != 1 or shape[0] % 2:
                raise LilliputError(f"a Beta distribution's two numbers an action get an input of shape {list(shape)}")
            return (shape[0] // 2,)
        case ArgmaxAction(sizes=sizes):
            if not sizes or min(sizes) < 1 or shape != (sum(sizes),):
                raise LilliputError(f"an argmax over groups of {list(sizes)} gets an input of shape {list(shape)}")
            return () if len(sizes) == 1 else (len(sizes),)
        case Standardize():
            arrays = (layer.mean, layer.scale, layer.clip)
        case LayerNorm():
            if layer.weight.shape != shape or layer.bias.shape != shape or len(shape) != 1:
                raise LilliputError(
                    f"a layer norm of shape {list(layer.weight.shape)} gets an input of shape {list(shape)}"
                )
            return shape
        case RescaleAction():
            arrays = (layer.scale, layer.offset)
        case ClipAction():
            arrays = (layer.low, layer.high)
        case Relu() | Tanh() | Sigmoid() | Elu() | LeakyRelu() | Silu() | Gelu() | HardTanh() | SquashAction():
            return shape
        case _:
            assert_never(layer)
    for array in arrays:
        if array.shape not in ((), shape):
            raise LilliputError(
                f"{type(layer).__name__} has {list(array.shape)} numbers for an input of shape {list(shape)}"
            )
    return shape


def output_shapes(stack: Sequence[Layer], shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shape of every layer's input, in order, and of the last one's output, where the first takes `shape`.

    Raises:
        LilliputError: a layer does not take what the one before it gives.
    """
    shapes = [shape]
    for index, layer in enumerate(stack):
        try:
            shape = output_shape(layer, shape)
        except LilliputError as error:
            raise LilliputError(f"layer {index} ({type(layer).__name__}): {error}") from None
        shapes.append(shape)
    return tuple(shapes)


def _check_bias(bias: np.ndarray | None, rows: int) -> None:
    if bias is not None and bias.shape != (rows,):
        raise LilliputError(f"a layer of {rows} outputs has a bias of shape {list(bias.shape)}")


def _check_range(range_: InputRange, shape: tuple[int, ...]) -> None:
    if isinstance(range_, StaticRange) and range_.inverse_scale.shape not in ((), shape):
        raise LilliputError(
            f"an input range of shape {list(range_.inverse_scale.shape)} for an input of shape {list(shape)}"
        )


def _recurrent_shape(layer: Recurrent, shape: tuple[int, ...]) -> tuple[int, ...]:
    n, gates = n_units(layer), GATES[type(layer)]
    for part, inner in ((layer.input, shape), (layer.recurrent, (n,))):
        if output_shape(part, inner) != (gates * n,):
            raise LilliputError(f"{n} units need {gates * n} outputs of each part; one has {part.weight.shape[0]}")
    if layer.initial is not None and layer.initial.shape != (len(state_shapes(layer, shape)), n):
        raise LilliputError(f"{n} units have an initial state of shape {list(layer.initial.shape)}")
    return (n,)
