"""Quantization of layers with a memory: their linear parts, by the ranges of what those get over whole episodes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.policy import Policy, replace_layers

Place = tuple[int, Literal["", "input", "recurrent"]]
"""A linear layer of a policy, or a linear part of a layer: which layer, which part."""

Part = layers.Dense | layers.QuantizedDense

EPISODES_AT_ONCE = 64


def parts(policy: Policy) -> dict[Place, layers.Linear]:
    """Every linear layer and linear part, in the order of the layers."""
    found: dict[Place, layers.Linear] = {}
    for index, layer in enumerate(policy.layers):
        if isinstance(layer, layers.Recurrent):
            found |= {(index, "input"): layer.input, (index, "recurrent"): layer.recurrent}
        elif isinstance(layer, layers.Linear):
            found[index, ""] = layer
    return found


def inputs(policy: Policy, episodes: Sequence[np.ndarray]) -> dict[Place, np.ndarray]:
    """What each of them gets over the episodes (raw observations in order), one behind the other.

    Raises:
        LilliputError: observations of another shape, or none.
    """
    places = {id(part): place for place, part in parts(policy).items()}
    seen: dict[Place, list[np.ndarray]] = {place: [] for place in places.values()}

    def linear(layer: Part, x: np.ndarray) -> np.ndarray:
        seen[places[id(layer)]].append(x)
        return reference.apply(layer, x)

    if not episodes or not all(len(episode) for episode in episodes):
        raise LilliputError("a policy with a memory is calibrated on episodes; there are none")
    for start in range(0, len(episodes), EPISODES_AT_ONCE):
        _play(policy, episodes[start : start + EPISODES_AT_ONCE], linear)
    return {place: np.concatenate(found) for place, found in seen.items()}


def _play(policy: Policy, episodes: Sequence[np.ndarray], linear: Callable[[Part, np.ndarray], np.ndarray]) -> None:
    """All episodes side by side, the longest first, so that those that are over are the last rows."""
    order = sorted(episodes, key=len, reverse=True)
    state = reference.start(policy, len(order))

    def other(layer: layers.Layer, x: np.ndarray) -> np.ndarray:
        return linear(layer, x) if isinstance(layer, Part) else reference.apply(layer, x)

    for step in range(len(order[0])):
        going = [episode[step] for episode in order if len(episode) > step]
        x = spaces.network_input(policy.observation_space, np.stack(going))
        _, state = reference.advance(policy.layers, x, tuple(one[: len(going)] for one in state), other, linear)


def with_parts(policy: Policy, new: Mapping[Place, layers.Linear]) -> Policy:
    """The policy with those linear layers and parts; of an LSTM both biases as one, which is all that it needs."""
    stack = list(policy.layers)
    for index, layer in enumerate(policy.layers):
        if isinstance(layer, layers.Recurrent):
            parts: dict[str, Any] = {
                part: new.get((index, part), getattr(layer, part)) for part in ("input", "recurrent")
            }
            made = dataclasses.replace(layer, **parts)
            stack[index] = _one_bias(made) if isinstance(made, layers.Lstm) else made
        elif (index, "") in new:
            stack[index] = new[index, ""]
    return replace_layers(policy, tuple(stack))


def _one_bias(layer: layers.Lstm) -> layers.Lstm:
    biases = [part.bias.astype(np.float64) for part in (layer.input, layer.recurrent) if part.bias is not None]
    if not biases:
        return layer
    whole = np.sum(biases, axis=0).astype(np.float32)
    return dataclasses.replace(
        layer,
        input=dataclasses.replace(layer.input, bias=whole),
        recurrent=dataclasses.replace(layer.recurrent, bias=None),
    )
