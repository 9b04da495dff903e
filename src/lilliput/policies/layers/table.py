"""The closed set of layers, and each by its name."""

from lilliput.policies.layers.action import ArgmaxAction, BetaAction, ClipAction, Head, RescaleAction, SquashAction
from lilliput.policies.layers.activation import (
    Activation,
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
from lilliput.policies.layers.linear import Conv2d, Dense, Linear, QuantizedConv2d, QuantizedDense
from lilliput.policies.layers.memory import Gru, History, Lstm, Memory, PreviousAction

Layer = SelectInputs | Standardize | Linear | LayerNorm | Flatten | Activation | Memory | Head

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        SelectInputs, Standardize, Dense, QuantizedDense, Conv2d, QuantizedConv2d, LayerNorm, Flatten, Relu, Tanh,
        Sigmoid, Elu, LeakyRelu, Silu, Gelu, HardTanh, Lstm, Gru, History, PreviousAction, SquashAction, BetaAction,
        RescaleAction, ClipAction, ArgmaxAction,
    )
}  # fmt: skip
"""The closed set by name, as files spell it."""


def linear_parts(layer: Layer) -> tuple[Linear, ...]:
    """The layers of weights that the layer is or holds."""
    if isinstance(layer, Lstm | Gru):
        return layer.input, layer.recurrent
    return (layer,) if isinstance(layer, Linear) else ()
