"""Structured pruning: whole hidden units and channels are taken out, and the network is smaller."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np
from jaxtyping import Float64

from lilliput import reference
from lilliput.compress.chain import Hidden, check_real, hidden_layers, keep_units, real_linear
from lilliput.compress.context import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Context, Source
from lilliput.compress.step import Step, check_fields, check_integer, check_ratio
from lilliput.errors import LilliputError, NotApplicable
from lilliput.policy import Policy, replace_layers

Importance = Literal["l1", "l2", "random", "activation"]


@final
@dataclass(frozen=True)
class PruneUnits(Step):
    """Takes the least important `ratio` of the units out of every hidden layer (rounded down); inputs and outputs stay.

    Attributes:
        ratio: of each hidden layer's units, in [0, 1).
        importance: `l1`, `l2`: the norm of a unit's incoming weights (Torch-Pruning's MagnitudeImportance over the
            first layer of a group, layer after layer from the front). `random`. `activation`: the mean absolute
            output of the unit on calibration observations.
        source: of calibration observations.
        observations: how many.
    """

    NAME: ClassVar[str] = "prune_units"
    VERSION: ClassVar[int] = 1

    ratio: float
    importance: Importance = "l1"
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "ratio", self.ratio)
        check_integer(self, "observations", self.observations, 1, MAX_OBSERVATIONS)
        if self.importance != "activation" and (self.source, self.observations) != ("on_policy", DEFAULT_OBSERVATIONS):
            raise LilliputError(
                f"prune_units: importance {self.importance!r} uses no observations; drop source and observations"
            )

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with fewer hidden units."""
        check_real(policy, self.NAME, "prune")
        found = hidden_layers(policy, self.NAME)
        if not found:
            raise NotApplicable("prune_units: the policy has no hidden units")
        sizes = [hidden.size for hidden in found]
        if not any(n_removed(self.ratio, size) for size in sizes):
            raise NotApplicable(
                f"prune_units: a ratio of {self.ratio:g} removes none of {', '.join(map(str, sizes))} hidden units"
            )
        inputs = []
        if self.importance == "activation":
            inputs = reference.layer_inputs(policy, context.observations(self.observations, self.source))
        rng = context.rng(self.NAME)
        for hidden in found:
            scores = self._importance(policy, hidden, inputs, rng)
            removed = n_removed(self.ratio, hidden.size)
            kept = np.sort(np.argsort(scores, kind="stable")[removed:])
            policy = replace_layers(policy, keep_units(policy, hidden, kept))
        return policy

    def _importance(
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
            case _:
                assert_never(self.importance)


def n_removed(ratio: float, size: int) -> int:
    """How many of `size` units the ratio removes: rounded down, and never all.

    >>> n_removed(0.3, 10), n_removed(0.29, 100), n_removed(0.99, 1)
    (3, 29, 0)
    """
    return min(math.floor(ratio * size + 1e-9), size - 1)
