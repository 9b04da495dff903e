"""Structured pruning: whole hidden units and channels are taken out, and the network is smaller."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np
from jaxtyping import Float, Float64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer, check_ratio
from lilliput.policies.compress import prune_memory
from lilliput.policies.compress.brain_surgeon import eliminated
from lilliput.policies.compress.chain import (
    Hidden,
    check_real,
    forward,
    hidden_layers,
    keep_units,
    layer_inputs,
    real_linear,
)
from lilliput.policies.compress.context import MAX_OBSERVATIONS, Context, Source
from lilliput.policies.compress.regression import Moments, moments, outputs, refitted, samples
from lilliput.policies.compress.step import Step
from lilliput.policies.policy import Policy, replace_layers

Importance = Literal["l1", "l2", "random", "activation", "optimal_brain_surgeon"]

DEFAULT_OBSERVATIONS = 8192
"""More than for ranges: the next layer is refitted on them."""


@final
@dataclass(frozen=True)
class PruneUnits(Step):
    """Takes the least important `ratio` of the units out of every hidden layer (rounded down); inputs and outputs stay.

    Attributes:
        ratio: of each hidden layer's units, in [0, 1).
        importance: `l1`, `l2`: the norm of a unit's incoming weights (Torch-Pruning's MagnitudeImportance over the
            first layer of a group, layer after layer from the front). `random`. `activation`: the mean absolute
            output of the unit on calibration observations. `optimal_brain_surgeon`: how much the next layer's outputs
            change on those observations once its weights are refitted, one unit after another; and refitted they are.
        source: of calibration observations.
        observations: how many.
    """

    NAME: ClassVar[str] = "prune_units"
    VERSION: ClassVar[int] = 1
    SHOWN: ClassVar[tuple[str, ...]] = ("importance",)
    MEMORY: ClassVar[bool] = True

    ratio: float
    importance: Importance = "l1"
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "ratio", self.ratio)
        check_integer(self, "observations", self.observations, 1, MAX_OBSERVATIONS)
        if self.importance not in ("activation", "optimal_brain_surgeon") and (self.source, self.observations) != (
            "on_policy",
            DEFAULT_OBSERVATIONS,
        ):
            raise LilliputError(
                f"prune_units: importance {self.importance!r} uses no observations; drop source and observations"
            )

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with fewer hidden units."""
        check_real(policy, self.NAME, "prune")
        if policy.has_memory:
            return self._with_memory(policy, context)
        found = hidden_layers(policy, self.NAME)
        if not found:
            raise NotApplicable("prune_units: the policy has no hidden units")
        sizes = [hidden.size for hidden in found]
        if not any(n_removed(self.ratio, size) for size in sizes):
            raise NotApplicable(
                f"prune_units: a ratio of {self.ratio:g} removes none of {', '.join(map(str, sizes))} hidden units"
            )
        if self.importance == "optimal_brain_surgeon":
            return _by_second_order(policy, found, self.ratio, context.observations(self.observations, self.source))
        inputs = []
        if self.importance == "activation":
            inputs = layer_inputs(policy, context.observations(self.observations, self.source))
        rng = context.rng(self.NAME)
        for hidden in found:
            scores = self._scores(policy, hidden, inputs, rng)
            kept = np.sort(np.argsort(scores, kind="stable")[n_removed(self.ratio, hidden.size) :])
            policy = replace_layers(policy, keep_units(policy, hidden, kept))
        return policy

    def _with_memory(self, policy: Policy, context: Context) -> Policy:
        """The policy with fewer units of hidden states and layers, by their incoming weights."""
        sizes = [prune_memory.n_units(policy, link) for link in prune_memory.links(policy, self.NAME)]
        if self.importance in ("activation", "optimal_brain_surgeon"):
            raise LilliputError(f"prune_units: of a policy with a memory not by {self.importance} yet; use l1 or l2")
        if not any(n_removed(self.ratio, size) for size in sizes):
            raise NotApplicable(
                f"prune_units: a ratio of {self.ratio:g} removes none of {', '.join(map(str, sizes)) or 'no'} units"
            )
        rng = context.rng(self.NAME)

        def scores(now: Policy, link: prune_memory.Link) -> np.ndarray:
            rows = prune_memory.incoming(now, link)
            if self.importance == "random":
                return rng.random(len(rows))
            return (np.abs(rows) if self.importance == "l1" else np.square(rows)).sum(axis=1)

        return prune_memory.pruned(policy, self.NAME, lambda size: n_removed(self.ratio, size), scores)

    def _scores(
        self, policy: Policy, hidden: Hidden, inputs: list[np.ndarray], rng: np.random.Generator
    ) -> Float64[np.ndarray, " units"]:
        rows = real_linear(policy, hidden.producer).weight.astype(np.float64).reshape(hidden.size, -1)
        match self.importance:
            case "l1":
                return np.abs(rows).sum(axis=1)
            case "l2":
                return np.square(rows).sum(axis=1)
            case "random":
                return rng.random(hidden.size)
            case "activation":
                outputs = inputs[hidden.consumer].astype(np.float64)
                return np.abs(outputs).reshape(len(outputs), hidden.size, -1).mean(axis=(0, 2))
            case "optimal_brain_surgeon":
                raise AssertionError("units are chosen one after another, not by a score")
            case _:
                assert_never(self.importance)


def _by_second_order(
    policy: Policy, hidden_layers: tuple[Hidden, ...], ratio: float, observations: np.ndarray
) -> Policy:
    """From the front, units out of each hidden layer; the layer that reads them refitted to what it gave at first."""
    wanted = layer_inputs(policy, observations)
    x = wanted[0]
    done = 0
    for hidden in hidden_layers:
        x = forward(policy.layers[done : hidden.producer], x)
        done = hidden.producer
        y = outputs(wanted[hidden.consumer + 1])
        removed = n_removed(ratio, hidden.size)
        if removed:
            weight, _, found_moments = _fitted(policy, hidden, x, y)
            gone = eliminated(weight, found_moments.hessian, weight.shape[1] // hidden.size, removed)
            policy = replace_layers(policy, keep_units(policy, hidden, np.setdiff1d(np.arange(hidden.size), gone)))
        # Fitted anew: a layer norm's means, and the float32 of what is left, are those of the narrower policy.
        weight, bias, _ = _fitted(policy, hidden, x, y)
        layer = real_linear(policy, hidden.consumer)
        layer = dataclasses.replace(
            layer, weight=weight.reshape(layer.weight.shape).astype(np.float32), bias=bias.astype(np.float32)
        )
        policy = replace_layers(
            policy, (*policy.layers[: hidden.consumer], layer, *policy.layers[hidden.consumer + 1 :])
        )
    return policy


def _fitted(
    policy: Policy, hidden: Hidden, x: np.ndarray, y: Float[np.ndarray, "samples rows"]
) -> tuple[Float64[np.ndarray, "rows columns"], Float64[np.ndarray, " rows"], Moments]:
    """Weights and bias with which the reading layer comes nearest to `y`, where the making layer gets `x`."""
    consumer = real_linear(policy, hidden.consumer)
    seen = samples(consumer, forward(policy.layers[hidden.producer : hidden.consumer], x))
    weight = consumer.weight.astype(np.float64).reshape(len(consumer.weight), -1)
    found = moments(seen, y, weight)
    return *refitted(found, weight), found


def n_removed(ratio: float, size: int) -> int:
    """How many of `size` units the ratio removes: rounded down, and never all.

    >>> n_removed(0.3, 10), n_removed(0.29, 100), n_removed(0.99, 1)
    (3, 29, 0)
    """
    return min(math.floor(ratio * size + 1e-9), size - 1)
