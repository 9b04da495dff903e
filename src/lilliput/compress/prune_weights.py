"""Unstructured pruning: single weights become zero; shapes stay."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from lilliput.compress.chain import check_real, linear_indices, real_linear
from lilliput.compress.context import Context
from lilliput.compress.step import Step, check_fields, check_ratio
from lilliput.errors import NotApplicable
from lilliput.policy import Policy, replace_layers


@final
@dataclass(frozen=True)
class PruneWeights(Step):
    """Sets the smallest weights to zero until `sparsity` of them are (rounded down); biases stay.

    Attributes:
        sparsity: the part of the weights that is zero afterwards, in [0, 1).
        scope: `layer`: that part of each layer's weights; `global`: of all weights together.
    """

    NAME: ClassVar[str] = "prune_weights"
    VERSION: ClassVar[int] = 1

    sparsity: float
    scope: Literal["layer", "global"] = "layer"

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "sparsity", self.sparsity)

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with more weights that are zero."""
        check_real(policy, self.NAME, "prune")
        indices = linear_indices(policy)
        weights = [real_linear(policy, index).weight for index in indices]
        if self.scope == "global":
            everything = np.concatenate([weight.reshape(-1) for weight in weights])
            cuts = np.cumsum([weight.size for weight in weights])[:-1]
            flat = np.split(_pruned(everything, self.sparsity), cuts)
        else:
            flat = [_pruned(weight.reshape(-1), self.sparsity) for weight in weights]
        new = list(policy.layers)
        changed = False
        for index, weight, pruned in zip(indices, weights, flat, strict=True):
            changed |= not np.array_equal(pruned, weight.reshape(-1))
            new[index] = dataclasses.replace(real_linear(policy, index), weight=pruned.reshape(weight.shape))
        if not changed:
            raise NotApplicable(
                f"prune_weights: a sparsity of {self.sparsity:g} is there already; nothing to set to zero"
            )
        return replace_layers(policy, tuple(new))


def _pruned(weights: np.ndarray, sparsity: float) -> np.ndarray:
    n_zero = math.floor(sparsity * weights.size + 1e-9)
    pruned = weights.copy()
    pruned[np.argsort(np.abs(weights), kind="stable")[:n_zero]] = 0
    return pruned
