"""The observation normalizer folded into the first linear layer."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer
from lilliput.policies import layers, spaces
from lilliput.policies.affine import unsigned_max
from lilliput.policies.compress.chain import forward
from lilliput.policies.compress.context import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Context, Source
from lilliput.policies.compress.step import Step
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, replace_layers
from lilliput.sums import products


@final
@dataclass(frozen=True)
class FoldInputs(Step):
    """Takes the normalizer into the first layer: into its weights and bias, or into its static input range.

    The range of a quantized layer saturates, so that nothing is lost where it lies inside the normalizer's clip. In
    real weights the clip is lost: how many calibration observations it touches is checked, told, and an error above
    `max_clipped`.

    Attributes:
        max_clipped: the part of the calibration observations that may have an input at the clip, in [0, 1].
        source: of calibration observations; without an environment or observations, the clip is lost unchecked, which
            is told.
        observations: how many.
    """

    NAME: ClassVar[str] = "fold_inputs"
    VERSION: ClassVar[int] = 1
    MEMORY: ClassVar[bool] = True

    max_clipped: float = 0.01
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.max_clipped <= 1:
            raise LilliputError(f"fold_inputs: max_clipped is {self.max_clipped:g}; it must be in [0, 1]")
        check_integer(self, "observations", self.observations, 1, MAX_OBSERVATIONS)

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy without a normalizer."""
        at = next((i for i, layer in enumerate(policy.layers) if isinstance(layer, layers.Standardize)), None)
        if at is None:
            raise NotApplicable("fold_inputs: the policy has no normalizer")
        normalizer, behind = policy.layers[at], policy.layers[at + 1]
        assert isinstance(normalizer, layers.Standardize)
        first = behind.input if isinstance(behind, layers.Recurrent) else behind
        match first:
            case layers.Dense():
                self._check_clip(policy, at, normalizer, context)
                folded: Layer = _in_weights(normalizer, first)
            case layers.QuantizedDense(input=layers.StaticRange() as range_):
                if not _inside_clip(normalizer, first, range_):
                    self._check_clip(policy, at, normalizer, context)
                folded = _in_range(normalizer, first, range_)
            case layers.Conv2d() if not normalizer.mean.any() and normalizer.scale.shape == ():
                self._check_clip(policy, at, normalizer, context)
                weight = first.weight.astype(np.float32) * normalizer.scale.astype(np.float32)
                folded = dataclasses.replace(first, weight=weight)
            case _:
                raise NotApplicable(
                    f"fold_inputs: the normalizer is followed by {type(behind).__name__}; Dense, QuantizedDense with a "
                    "static range (an LSTM's or GRU's too), and Conv2d behind a plain scale can take it up"
                )
        if isinstance(behind, layers.Recurrent):
            assert isinstance(folded, layers.Dense | layers.QuantizedDense)
            folded = dataclasses.replace(behind, input=folded)
        return replace_layers(policy, (*policy.layers[:at], folded, *policy.layers[at + 2 :]))

    def _check_clip(self, policy: Policy, at: int, normalizer: layers.Standardize, context: Context) -> None:
        if np.isinf(normalizer.clip).all():
            return
        if not context.has_observations:
            context.tell(
                "fold_inputs: the normalizer's clip is lost, unchecked; name the environment to have it checked"
            )
            return
        if any(isinstance(layer, layers.Memory) for layer in policy.layers[:at]):
            raise LilliputError("fold_inputs: the normalizer clips what stands behind a memory; leave fold_inputs out")
        observations = context.observations(self.observations, self.source)
        seen = forward(policy.layers[: at + 1], spaces.network_input(policy.observation_space, observations))
        touched = np.abs(seen) >= normalizer.clip.astype(np.float32)
        part = float(touched.any(axis=tuple(range(1, seen.ndim))).mean())
        if part > self.max_clipped:
            raise LilliputError(
                f"fold_inputs: the normalizer clips an input in {100 * part:.3g} % of the observations; folding "
                f"would lose that: fold after static quantization, or raise max_clipped from {self.max_clipped:g}"
            )
        if part > 0:
            inputs = np.nonzero(touched.any(axis=0).reshape(-1))[0]
            context.tell(
                f"fold_inputs: the clip of {len(inputs)} inputs is lost (the first is input {inputs[0]}); "
                f"it touched {100 * part:.3g} % of the observations"
            )


def _in_weights(normalizer: layers.Standardize, first: layers.Dense) -> layers.Dense:
    weight = first.weight.astype(np.float64) * normalizer.scale.astype(np.float64)
    bias = np.zeros(len(weight)) if first.bias is None else first.bias.astype(np.float64)
    mean = np.broadcast_to(normalizer.mean.astype(np.float64), weight.shape[1:])
    return layers.Dense(weight.astype(np.float32), (bias - products(weight, mean[None])[:, 0]).astype(np.float32))


def _inside_clip(normalizer: layers.Standardize, first: layers.QuantizedDense, range_: layers.StaticRange) -> bool:
    """Whether every number beyond the clip saturates anyway."""
    inverse = range_.inverse_scale.astype(np.float64)
    clip = normalizer.clip.astype(np.float64)
    read = first.weight.values.any(axis=0)
    beyond = (-clip * inverse + range_.zero_point <= 0) & (
        clip * inverse + range_.zero_point >= unsigned_max(range_.bits)
    )
    return bool(np.all(beyond | ~read))


def _in_range(
    normalizer: layers.Standardize, first: layers.QuantizedDense, range_: layers.StaticRange
) -> layers.QuantizedDense:
    """The layer on raw observations: the same codes, but for what rounding of the zero points moves into the bias."""
    n = first.weight.shape[1]

    def each(array: np.ndarray) -> Float64[np.ndarray, " n"]:
        return np.broadcast_to(array.astype(np.float64), (n,))

    read = first.weight.values.any(axis=0)
    inverse = np.where(read, each(range_.inverse_scale) * each(normalizer.scale), 1.0).astype(np.float32)
    exact = np.where(read, each(range_.zero_point) - each(normalizer.mean) * inverse.astype(np.float64), 0.0)
    if np.abs(exact).max() > 2**23:
        worst = int(np.argmax(np.abs(exact)))
        raise LilliputError(
            f"fold_inputs: input {worst} has a mean of {each(normalizer.mean)[worst]:g} too far from zero for its "
            "range; leave fold_inputs out"
        )
    zero_point = np.rint(exact)
    moved = zero_point - exact
    codes = first.weight.values.astype(np.float64)
    bias = np.zeros(len(codes)) if first.bias is None else first.bias.astype(np.float64)
    bias = bias - first.weight.scale.astype(np.float64) * products(codes, moved[None])[:, 0]
    return layers.QuantizedDense(
        first.weight, bias.astype(np.float32), layers.StaticRange(inverse, zero_point.astype(np.int32), range_.bits)
    )
