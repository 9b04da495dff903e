"""The numbers that a layer holds: what must be finite, what counts as a parameter, and what it multiplies."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.layers import (
    ArgmaxAction,
    BetaAction,
    ClipAction,
    Conv2d,
    Dense,
    Elu,
    Flatten,
    Gelu,
    Gru,
    HardTanh,
    History,
    Layer,
    LayerNorm,
    LeakyRelu,
    Lstm,
    PreviousAction,
    QuantizedConv2d,
    QuantizedDense,
    Relu,
    RescaleAction,
    SelectInputs,
    Sigmoid,
    Silu,
    SquashAction,
    Standardize,
    StaticRange,
    Tanh,
)


def real_numbers(layer: Layer) -> tuple[np.ndarray | float, ...]:
    """Every real array and number of the layer: what must be finite, but for `bounds`."""
    match layer:
        case Dense() | Conv2d():
            return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)
        case QuantizedDense() | QuantizedConv2d():
            ranges = (layer.input.inverse_scale,) if isinstance(layer.input, StaticRange) else ()
            return (layer.weight.scale, *ranges, *(() if layer.bias is None else (layer.bias,)))
        case Lstm() | Gru():
            initial = () if layer.initial is None else (layer.initial,)
            return (*real_numbers(layer.input), *real_numbers(layer.recurrent), *initial)
        case LayerNorm():
            return layer.weight, layer.bias, layer.epsilon
        case Standardize():
            return layer.mean, layer.scale
        case RescaleAction():
            return layer.scale, layer.offset
        case Elu():
            return (layer.alpha,)
        case LeakyRelu():
            return (layer.slope,)
        case HardTanh():
            return layer.low, layer.high
        case SelectInputs() | Flatten() | Relu() | Tanh() | Sigmoid() | Silu() | Gelu() | SquashAction():
            return ()
        case History() | PreviousAction() | BetaAction() | ClipAction() | ArgmaxAction():
            return ()
        case _:
            assert_never(layer)


def bounds(layer: Layer) -> tuple[np.ndarray, ...]:
    """What may be infinite, where nothing is cut off, but is a number."""
    match layer:
        case Standardize():
            return (layer.clip,)
        case ClipAction():
            return layer.low, layer.high
        case (
            SelectInputs() | Flatten() | LayerNorm() | Relu() | Tanh() | Sigmoid() | Elu() | LeakyRelu() | Silu()
            | Gelu() | HardTanh() | SquashAction() | BetaAction() | RescaleAction() | ArgmaxAction()
        ):  # fmt: skip
            return ()
        case Dense() | QuantizedDense() | Conv2d() | QuantizedConv2d() | Lstm() | Gru() | History() | PreviousAction():
            return ()
        case _:
            assert_never(layer)


def check_finite(stack: Sequence[Layer]) -> None:
    """Check that every number of the layers is one, and finite where it has to be.

    Raises:
        LilliputError: one is not.
    """
    for index, layer in enumerate(stack):
        finite = all(bool(np.isfinite(one).all()) for one in real_numbers(layer))
        if not finite or any(bool(np.isnan(bound).any()) for bound in bounds(layer)):
            raise LilliputError(f"layer {index} ({type(layer).__name__}) holds a number that is not finite")


def parameters(layer: Layer) -> tuple[np.ndarray, ...]:
    """The weights and biases of the network that the layer holds; of quantized ones the codes."""
    match layer:
        case Dense() | Conv2d():
            return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)
        case QuantizedDense() | QuantizedConv2d():
            return (layer.weight.values,) if layer.bias is None else (layer.weight.values, layer.bias)
        case Lstm() | Gru():
            return (*parameters(layer.input), *parameters(layer.recurrent))
        case LayerNorm():
            return layer.weight, layer.bias
        case (
            SelectInputs() | Standardize() | Flatten() | Relu() | Tanh() | Sigmoid() | Elu() | LeakyRelu() | Silu()
            | Gelu() | HardTanh() | History() | PreviousAction() | SquashAction() | BetaAction() | RescaleAction()
            | ClipAction() | ArgmaxAction()
        ):  # fmt: skip
            return ()
        case _:
            assert_never(layer)


def n_macs(layer: Layer, output: tuple[int, ...]) -> int:
    """Multiply-accumulates of one decision in the layer's weights, zeros included, for an output of that shape."""
    match layer:
        case Dense() | QuantizedDense():
            return int(np.prod(layer.weight.shape))
        case Conv2d() | QuantizedConv2d():
            return int(np.prod(layer.weight.shape)) * output[1] * output[2]
        case Lstm() | Gru():
            again = n_macs(layer.recurrent, output) if isinstance(layer, Gru) and layer.reset_first else 0
            return n_macs(layer.input, output) + n_macs(layer.recurrent, output) + again
        case (
            SelectInputs() | Standardize() | LayerNorm() | Flatten() | Relu() | Tanh() | Sigmoid() | Elu() | LeakyRelu()
            | Silu() | Gelu() | HardTanh() | History() | PreviousAction() | SquashAction() | BetaAction()
            | RescaleAction() | ClipAction() | ArgmaxAction()
        ):  # fmt: skip
            return 0
        case _:
            assert_never(layer)
