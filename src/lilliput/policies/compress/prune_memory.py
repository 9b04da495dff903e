"""Units of policies with a memory taken out: of a hidden state, the rows and columns of all its gates together."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.policy import Policy, replace_layers

Link = tuple[int, int]
"""A layer that makes hidden units, and the next one that reads them."""


def links(policy: Policy, name: str) -> tuple[Link, ...]:
    """All hidden units, from the front.

    Raises:
        LilliputError: a layer stands between that mixes units, or one of a kind that is not understood here.
    """
    holders = [index for index, layer in enumerate(policy.layers) if layers.linear_parts(layer)]
    for index in holders:
        if not isinstance(policy.layers[index], layers.Dense | layers.Recurrent):
            raise LilliputError(f"{name}: a policy with a memory and convolutions cannot be pruned yet; use quantize")
    for start, end in itertools.pairwise(holders):
        for layer in policy.layers[start + 1 : end]:
            if not isinstance(layer, layers.Activation | layers.LayerNorm):
                raise LilliputError(
                    f"{name}: {type(layer).__name__} stands between layers of weights; only activations and layer "
                    "norms can be passed"
                )
    return tuple(itertools.pairwise(holders))


def n_units(policy: Policy, link: Link) -> int:
    """How many units the first layer of the link has."""
    layer = policy.layers[link[0]]
    if isinstance(layer, layers.Recurrent):
        return layers.n_units(layer)
    return layers.linear_parts(layer)[0].weight.shape[0]


def incoming(policy: Policy, link: Link) -> Float64[np.ndarray, "units weights"]:
    """The weights that a unit is made by: of a hidden state, those of all its gates, of the input and of the state."""
    layer = policy.layers[link[0]]
    n = n_units(policy, link)
    rows = [np.asarray(_real(part).weight, np.float64) for part in layers.linear_parts(layer)]
    gates = [block for row in rows for block in np.split(row, len(row) // n)]
    return np.concatenate(gates, axis=1)


def keep(policy: Policy, link: Link, kept: Int64[np.ndarray, " units"]) -> Policy:
    """The policy with only those units; a removed constant unit leaves its constant in the next bias."""
    new, (start, end) = list(policy.layers), link
    constant = _constant_left(policy, link, kept)
    n = n_units(policy, link)
    producer = policy.layers[start]
    if isinstance(producer, layers.Recurrent):
        rows = (np.arange(layers.GATES[type(producer)])[:, None] * n + kept).reshape(-1)
        recurrent = _rows(_real(producer.recurrent), rows)
        new[start] = dataclasses.replace(
            producer,
            input=_rows(_real(producer.input), rows),
            recurrent=dataclasses.replace(recurrent, weight=recurrent.weight[:, kept]),
            initial=None if producer.initial is None else producer.initial[:, kept],
        )
    else:
        new[start] = _rows(_real(layers.linear_parts(producer)[0]), kept)
    for index in range(start + 1, end):
        between = new[index]
        if isinstance(between, layers.LayerNorm):
            new[index] = dataclasses.replace(between, weight=between.weight[kept], bias=between.bias[kept])

    def narrowed(part: layers.Dense) -> layers.Dense:
        bias = part.bias
        if constant.any():
            bias = ((0.0 if bias is None else bias.astype(np.float64)) + constant).astype(part.weight.dtype)
        return layers.Dense(part.weight[:, kept], bias)

    consumer = policy.layers[end]
    if isinstance(consumer, layers.Recurrent):
        new[end] = dataclasses.replace(consumer, input=narrowed(_real(consumer.input)))
    else:
        new[end] = narrowed(_real(layers.linear_parts(consumer)[0]))
    return replace_layers(policy, tuple(new))


def pruned(
    policy: Policy, name: str, n_removed: Callable[[int], int], scores: Callable[[Policy, Link], np.ndarray]
) -> Policy:
    """The policy without the units of the smallest scores, so many of each layer, from the front."""
    for link in links(policy, name):
        size = n_units(policy, link)
        kept = np.sort(np.argsort(scores(policy, link), kind="stable")[n_removed(size) :])
        policy = keep(policy, link, kept)
    return policy


def _real(part: layers.Linear) -> layers.Dense:
    assert isinstance(part, layers.Dense)
    return part


def _rows(part: layers.Dense, rows: np.ndarray) -> layers.Dense:
    return layers.Dense(part.weight[rows], None if part.bias is None else part.bias[rows])


def _constant_left(policy: Policy, link: Link, kept: np.ndarray) -> np.ndarray:
    """What the removed units of a Dense layer without any weight add to the outputs of the layer that reads them."""
    start, end = link
    producer, consumer = policy.layers[start], _real(layers.linear_parts(policy.layers[end])[0])
    between = policy.layers[start + 1 : end]
    none = np.zeros(len(consumer.weight))
    if not isinstance(producer, layers.Dense) or producer.bias is None:
        return none
    if any(isinstance(layer, layers.LayerNorm) for layer in between):
        return none
    constant = np.asarray(~producer.weight.any(axis=1))
    constant[kept] = False
    value = producer.bias.astype(np.float32)[None]
    for layer in between:
        value = reference.apply(layer, value)
    return consumer.weight.astype(np.float64)[:, constant] @ value[0, constant].astype(np.float64)
