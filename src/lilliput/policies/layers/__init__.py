"""The closed set of layers: everything between the raw observation and the environment's action, as frozen data.

What a layer computes is said in `reference.py`. Real arrays are float32, or float16 where a recipe halved them;
arithmetic always reads them as float32. Adding a layer: one class here, then wherever the type checker complains.
"""

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
from lilliput.policies.layers.linear import (
    Conv2d,
    Dense,
    DynamicRange,
    InputRange,
    Linear,
    QuantizedConv2d,
    QuantizedDense,
    StaticRange,
)
from lilliput.policies.layers.memory import (
    GATES,
    Gru,
    History,
    Lstm,
    Memory,
    PreviousAction,
    Recurrent,
    initial_state,
    n_units,
    state_shapes,
)
from lilliput.policies.layers.shape import MAX_OUTPUTS, output_shape, output_shapes
from lilliput.policies.layers.table import KINDS, Layer, linear_parts

__all__ = [
    "GATES",
    "KINDS",
    "MAX_OUTPUTS",
    "Activation",
    "ArgmaxAction",
    "BetaAction",
    "ClipAction",
    "Conv2d",
    "Dense",
    "DynamicRange",
    "Elu",
    "Flatten",
    "Gelu",
    "Gru",
    "HardTanh",
    "Head",
    "History",
    "InputRange",
    "Layer",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "Lstm",
    "Memory",
    "PreviousAction",
    "QuantizedConv2d",
    "QuantizedDense",
    "Recurrent",
    "Relu",
    "RescaleAction",
    "SelectInputs",
    "Sigmoid",
    "Silu",
    "SquashAction",
    "Standardize",
    "StaticRange",
    "Tanh",
    "initial_state",
    "linear_parts",
    "n_units",
    "output_shape",
    "output_shapes",
    "state_shapes",
]
