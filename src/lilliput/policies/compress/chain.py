"""The hidden units of a policy: which layer makes them, which reads them, and how some are taken out."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy
from lilliput.sums import products

RealLinear = layers.Dense | layers.Conv2d

_IMAGES_AT_ONCE = 64
"""A convolution's windows take far more memory than its inputs."""


@final
@dataclass(frozen=True)
class Hidden:
    """Hidden units, or channels: made by layer `producer`, read by `consumer`, each as `block` neighbouring inputs."""

    producer: int
    consumer: int
    size: int
    block: int


def linear_indices(policy: Policy) -> tuple[int, ...]:
    """Where the linear layers stand."""
    return tuple(index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))


def real_linear(policy: Policy, index: int) -> RealLinear:
    """The linear layer at that place, whose weights are real numbers."""
    layer = policy.layers[index]
    assert isinstance(layer, layers.Dense | layers.Conv2d)
    return layer


def forward(stack: tuple[Layer, ...], x: np.ndarray) -> np.ndarray:
    """The outputs of the layers, one after another, for many inputs in little memory."""
    for layer in stack:
        step = _IMAGES_AT_ONCE if x.ndim > 2 else len(x)
        x = np.concatenate([reference.apply(layer, x[i : i + step]) for i in range(0, len(x), step)])
    return x


def layer_inputs(policy: Policy, observations: np.ndarray) -> list[np.ndarray]:
    """The input of every layer for raw observations, in order, and last the action."""
    x = spaces.network_input(policy.observation_space, observations)
    inputs = [x]
    for layer in policy.layers:
        x = forward((layer,), x)
        inputs.append(x)
    return inputs


def check_real(policy: Policy, name: str, verb: str) -> None:
    """Check that no layer is quantized.

    Raises:
        LilliputError: one is.
    """
    for index, layer in enumerate(policy.layers):
        if any(isinstance(part, layers.QuantizedDense | layers.QuantizedConv2d) for part in layers.linear_parts(layer)):
            raise LilliputError(f"{name}: layer {index} is {type(layer).__name__}; {verb} before quantize")


def hidden_layers(policy: Policy, name: str) -> tuple[Hidden, ...]:
    """All hidden units of a policy without quantized layers, from the front.

    Raises:
        LilliputError: a layer stands between two linear ones that mixes units in a way that is not understood.
    """
    indices = linear_indices(policy)
    found = []
    for producer, consumer in itertools.pairwise(indices):
        between = policy.layers[producer + 1 : consumer]
        for offset, layer in enumerate(between):
            if not isinstance(layer, layers.Activation | layers.LayerNorm | layers.Flatten):
                raise LilliputError(
                    f"{name}: layer {producer + 1 + offset} ({type(layer).__name__}) stands between linear layers; "
                    "only activations, layer norms and Flatten can be passed"
                )
        size = real_linear(policy, producer).weight.shape[0]
        found.append(Hidden(producer, consumer, size, real_linear(policy, consumer).weight.shape[1] // size))
    return tuple(found)


def keep_units(policy: Policy, hidden: Hidden, kept: Int64[np.ndarray, " units"]) -> tuple[Layer, ...]:
    """The layers with only the `kept` of those units; a removed constant unit leaves its constant in the next bias.

    The means of a layer norm in between change with the units that it sees, as in every implementation of pruning.
    """
    new = list(policy.layers)
    producer, consumer = real_linear(policy, hidden.producer), real_linear(policy, hidden.consumer)
    constant = _constants_left(policy, hidden, kept)
    bias = None if producer.bias is None else producer.bias[kept]
    new[hidden.producer] = dataclasses.replace(producer, weight=producer.weight[kept], bias=bias)
    for index in range(hidden.producer + 1, hidden.consumer):
        layer = policy.layers[index]
        if isinstance(layer, layers.LayerNorm):
            new[index] = dataclasses.replace(layer, weight=layer.weight[kept], bias=layer.bias[kept])
    columns = (kept[:, None] * hidden.block + np.arange(hidden.block)).reshape(-1)
    bias = consumer.bias
    if constant.any():
        old = np.zeros(consumer.weight.shape[0]) if bias is None else bias.astype(np.float64)
        bias = (old + constant).astype(consumer.weight.dtype)
    new[hidden.consumer] = dataclasses.replace(consumer, weight=consumer.weight[:, columns], bias=bias)
    return tuple(new)


def _constants_left(policy: Policy, hidden: Hidden, kept: np.ndarray) -> np.ndarray:
    """What the removed units without any weight add to the next layer's outputs."""
    producer, consumer = real_linear(policy, hidden.producer), real_linear(policy, hidden.consumer)
    between = policy.layers[hidden.producer + 1 : hidden.consumer]
    padded = isinstance(consumer, layers.Conv2d) and max(consumer.padding) > 0
    outputs = consumer.weight.shape[0]
    if producer.bias is None or padded or any(isinstance(layer, layers.LayerNorm) for layer in between):
        return np.zeros(outputs)
    constant = np.asarray(~producer.weight.reshape(hidden.size, -1).any(axis=1))
    constant[kept] = False
    value = producer.bias.astype(np.float32)[None]
    for layer in between:
        value = value if isinstance(layer, layers.Flatten) else reference.apply(layer, value)
    weight = consumer.weight.astype(np.float64).reshape(outputs, hidden.size, -1).sum(axis=2)
    return products(weight[:, constant], value[:1, constant].astype(np.float64))[:, 0]
