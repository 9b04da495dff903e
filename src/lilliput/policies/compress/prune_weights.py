"""Unstructured pruning: single weights become zero; shapes stay."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer, check_ratio
from lilliput.policies import layers, reference
from lilliput.policies.compress import quantize_memory
from lilliput.policies.compress.brain_surgeon import sparse
from lilliput.policies.compress.chain import RealLinear, check_real, forward, layer_inputs
from lilliput.policies.compress.context import MAX_OBSERVATIONS, Context, Source
from lilliput.policies.compress.prune_units import DEFAULT_OBSERVATIONS
from lilliput.policies.compress.regression import moments, outputs, refitted, samples
from lilliput.policies.compress.step import Step
from lilliput.policies.policy import Policy, replace_layers
from lilliput.sums import products


@final
@dataclass(frozen=True)
class PruneWeights(Step):
    """Sets the least important weights to zero until `sparsity` of them are (rounded down).

    Attributes:
        sparsity: the part of the weights that is zero afterwards, in [0, 1).
        scope: where that part is counted: in each `layer`, or `global`: in all layers together, or in each `output`.
        importance: `magnitude`: the size of a weight. `wanda`: times the root mean square of its input on calibration
            observations (Sun et al. 2023, arXiv 2306.11695, equation 1; theirs is scope `output`). `sparsegpt`: how
            much the layer's outputs change on those observations once the other weights are refitted; and refitted
            they are, with the bias (scope `layer`).
        source: of calibration observations.
        observations: how many.
    """

    NAME: ClassVar[str] = "prune_weights"
    VERSION: ClassVar[int] = 1
    SHOWN: ClassVar[tuple[str, ...]] = ("importance",)
    MEMORY: ClassVar[bool] = True

    sparsity: float
    scope: Literal["layer", "global", "output"] = "layer"
    importance: Literal["magnitude", "wanda", "sparsegpt"] = "magnitude"
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "sparsity", self.sparsity)
        check_integer(self, "observations", self.observations, 1, MAX_OBSERVATIONS)
        if self.importance == "magnitude" and (self.source, self.observations) != ("on_policy", DEFAULT_OBSERVATIONS):
            raise LilliputError(
                "prune_weights: importance 'magnitude' uses no observations; drop source and observations"
            )
        if self.importance == "sparsegpt" and self.scope != "layer":
            raise LilliputError(f"prune_weights: importance 'sparsegpt' needs scope layer; the scope is {self.scope}")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with more weights that are zero."""
        check_real(policy, self.NAME, "prune")
        parts = {place: part for place, part in quantize_memory.parts(policy).items() if isinstance(part, RealLinear)}
        weights = [part.weight for part in parts.values()]
        n_zero = [math.floor(self.sparsity * weight.size + 1e-9) for weight in weights]
        if self.scope == "layer" and all(
            np.count_nonzero(weight == 0) >= n for weight, n in zip(weights, n_zero, strict=True)
        ):
            raise NotApplicable(self._nothing)
        if self.importance == "sparsegpt" and policy.has_memory:
            episodes = context.episodes(self.observations, self.source)
            return _by_second_order_over(episodes, policy, self.sparsity)
        if self.importance == "sparsegpt":
            return _by_second_order(policy, self.sparsity, context.observations(self.observations, self.source))
        inputs = self._inputs(policy, context) if self.importance == "wanda" else {}
        scores = [_scores(part, inputs.get(place)).reshape(len(part.weight), -1) for place, part in parts.items()]
        match self.scope:
            case "layer":
                kept = [_kept(score.reshape(1, -1), self.sparsity).reshape(score.shape) for score in scores]
            case "output":
                kept = [_kept(score, self.sparsity) for score in scores]
            case "global":
                everything = _kept(np.concatenate([score.reshape(1, -1) for score in scores], axis=1), self.sparsity)
                cuts = np.cumsum([score.size for score in scores])[:-1]
                kept = [
                    part.reshape(score.shape) for part, score in zip(np.split(everything[0], cuts), scores, strict=True)
                ]
        new: dict[quantize_memory.Place, RealLinear] = {}
        changed = False
        for (place, part), keep in zip(parts.items(), kept, strict=True):
            pruned = np.where(keep.reshape(part.weight.shape), part.weight, part.weight.dtype.type(0))
            changed |= not np.array_equal(pruned, part.weight)
            new[place] = dataclasses.replace(part, weight=pruned)
        if not changed:
            raise NotApplicable(self._nothing)
        return quantize_memory.with_parts(policy, new)

    def _inputs(self, policy: Policy, context: Context) -> dict[quantize_memory.Place, np.ndarray]:
        """What each linear layer or part gets."""
        if policy.has_memory:
            return quantize_memory.inputs(policy, context.episodes(self.observations, self.source))
        every = layer_inputs(policy, context.observations(self.observations, self.source))
        return {(index, ""): x for index, x in enumerate(every)}

    @property
    def _nothing(self) -> str:
        return f"prune_weights: a sparsity of {self.sparsity:g} is there already; nothing to set to zero"


def _scores(layer: RealLinear, x: np.ndarray | None) -> Float64[np.ndarray, "..."]:
    size = np.abs(layer.weight.astype(np.float64)).reshape(len(layer.weight), -1)
    if x is None:
        return size
    return size * np.sqrt(np.square(samples(layer, x).astype(np.float64)).mean(axis=0))


def _kept(scores: Float64[np.ndarray, "groups n"], sparsity: float) -> np.ndarray:
    """Which stay when the smallest of each row go."""
    n_zero = math.floor(sparsity * scores.shape[1] + 1e-9)
    kept = np.ones(scores.shape, bool)
    np.put_along_axis(kept, np.argsort(scores, axis=1, kind="stable")[:, :n_zero], False, axis=1)
    return kept


def _by_second_order(policy: Policy, sparsity: float, observations: np.ndarray) -> Policy:
    """From the front, each layer sparse and refitted to what it gave at first, for what it gets now."""
    wanted = layer_inputs(policy, observations)
    x = wanted[0]
    new = list(policy.layers)
    for index, layer in enumerate(policy.layers):
        if isinstance(layer, RealLinear):
            new[index] = _sparse(layer, x, wanted[index + 1], sparsity)
        x = forward((new[index],), x)
    return replace_layers(policy, tuple(new))


def _by_second_order_over(episodes: Sequence[np.ndarray], policy: Policy, sparsity: float) -> Policy:
    """The same of a policy with a memory, part by part, what each gets being that of whole episodes."""
    new: dict[quantize_memory.Place, RealLinear] = {}
    before = quantize_memory.inputs(policy, episodes)
    for place, part in quantize_memory.parts(policy).items():
        assert isinstance(part, layers.Dense)
        now = quantize_memory.inputs(quantize_memory.with_parts(policy, new), episodes)[place]
        new[place] = _sparse(part, now, reference.apply(part, before[place]), sparsity)
    return quantize_memory.with_parts(policy, new)


def _sparse(layer: RealLinear, x: np.ndarray, wanted: np.ndarray, sparsity: float) -> RealLinear:
    """The layer sparse, and refitted to what it should give for what it gets."""
    weight = layer.weight.astype(np.float64).reshape(len(layer.weight), -1)
    found = moments(samples(layer, x), outputs(wanted), weight)
    aimed, _ = refitted(found, weight)
    pruned = sparse(aimed, found.hessian, sparsity)
    bias = found.y_mean - products(pruned, found.x_mean[None])[:, 0]
    return dataclasses.replace(
        layer, weight=pruned.reshape(layer.weight.shape).astype(np.float32), bias=bias.astype(np.float32)
    )
