"""Inputs that never matter are left out of the observation."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Bool, Float32

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress.chain import check_real
from lilliput.policies.compress.context import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Context, Source
from lilliput.policies.compress.step import Step
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, replace_layers
from lilliput.sums import products

DEAD_SCALE = 1 / np.sqrt(2e-8)
"""1 / sqrt(variance + epsilon) of an input whose variance in training was at most VecNormalize's epsilon of 1e-8."""


@final
@dataclass(frozen=True)
class RemoveDeadInputs(Step):
    """Leaves out the inputs that never matter and adds what they always added to the first layer's bias.

    Dead is an input without any weight; one that is the same number in all calibration observations; and one whose
    normalizer says that it never moved in training (a variance of at most 1e-8), which is then held at its mean. Only
    the first is exact everywhere; the second where the input stays what it was; the third changes actions where the
    input moves now although it did not in training, which is checked and told: such inputs break policies (contact
    forces that an old simulator never computed), so that taking them out may well raise the return.

    Attributes:
        source: of calibration observations; without an environment or observations, weights and normalizer alone
            decide.
        observations: how many.
    """

    NAME: ClassVar[str] = "remove_dead_inputs"
    VERSION: ClassVar[int] = 1

    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "observations", self.observations, 2, MAX_OBSERVATIONS)

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with fewer inputs behind a SelectInputs."""
        check_real(policy, self.NAME, "remove dead inputs")
        row, selected, normalizer, first, rest = _front(policy)
        n_inputs = first.weight.shape[1]
        unused = ~first.weight.any(axis=0)
        frozen = _frozen_in_training(normalizer, n_inputs)
        constant = np.zeros(n_inputs, bool)
        value = (
            np.zeros(n_inputs, np.float32)
            if normalizer is None
            else np.broadcast_to(_f32(normalizer.mean), (n_inputs,)).copy()
        )
        if context.has_observations:
            seen = spaces.network_input(policy.observation_space, context.observations(self.observations, self.source))
            seen = seen.reshape(len(seen), -1)[:, selected]
            constant = (seen == seen[0]).all(axis=0) & (len(seen) > 1)
            value = np.where(constant, seen[0], value)
            moving = frozen & ~constant & ~unused
            if moving.any():
                which = int(selected[np.argmax(moving)])
                context.tell(
                    f"remove_dead_inputs: {int(moving.sum())} inputs that did not move in training move now "
                    f"(the first is input {which}); they are held at their training mean, which changes actions"
                )
        else:
            context.tell("remove_dead_inputs: no observations to check on; weights and normalizer alone decide")
        dead = unused | frozen | constant
        if not dead.any():
            raise NotApplicable(f"remove_dead_inputs: none of the {n_inputs} inputs is dead")
        if dead.all():
            raise LilliputError(f"remove_dead_inputs: all {n_inputs} inputs are dead; the policy always does the same")
        return replace_layers(policy, (*row, *_without(dead, value, selected, normalizer, first), *rest))


_Front = tuple[tuple[Layer, ...], np.ndarray, layers.Standardize | None, layers.Dense, tuple[Layer, ...]]


def _front(policy: Policy) -> _Front:
    """What puts a board's numbers in a row, which of them are read, the normalizer, the first Dense layer, the rest."""
    row = policy.layers[:1] if isinstance(policy.layers[0], layers.Flatten) else ()
    match policy.layers[len(row) :]:
        case (layers.SelectInputs(indices=indices), layers.Standardize() as normalizer, layers.Dense() as first, *rest):
            return row, indices, normalizer, first, tuple(rest)
        case (layers.SelectInputs(indices=indices), layers.Dense() as first, *rest):
            return row, indices, None, first, tuple(rest)
        case (layers.Standardize() as normalizer, layers.Dense() as first, *rest):
            return row, np.arange(first.weight.shape[1]), normalizer, first, tuple(rest)
        case (layers.Dense() as first, *rest):
            return row, np.arange(first.weight.shape[1]), None, first, tuple(rest)
        case _:
            names = ", ".join(type(layer).__name__ for layer in policy.layers[:3])
            raise NotApplicable(
                f"remove_dead_inputs: the policy begins with {names}; a board put in a row, a normalizer and a Dense "
                "layer are understood"
            )


def _frozen_in_training(normalizer: layers.Standardize | None, n: int) -> Bool[np.ndarray, " n"]:
    if normalizer is None:
        return np.zeros(n, bool)
    return np.broadcast_to(np.abs(_f32(normalizer.scale)) >= DEAD_SCALE, (n,))


def _without(
    dead: Bool[np.ndarray, " n"],
    value: Float32[np.ndarray, " n"],
    selected: np.ndarray,
    normalizer: layers.Standardize | None,
    first: layers.Dense,
) -> tuple[Layer, ...]:
    if selected.size > 1 << 16:
        raise LilliputError(f"remove_dead_inputs: {selected.size} inputs; at most {1 << 16} can be selected from")
    kept = np.nonzero(~dead)[0]
    standardized = value[None] if normalizer is None else reference.apply(normalizer, value[None])
    added = products(first.weight[:, dead].astype(np.float64), standardized[:1, dead].astype(np.float64))[:, 0]
    bias = np.zeros(len(first.weight)) if first.bias is None else first.bias.astype(np.float64)
    new: list[Layer] = [layers.SelectInputs(selected[kept].astype(np.uint16))]
    if normalizer is not None:
        arrays = (normalizer.mean, normalizer.scale, normalizer.clip)
        new.append(layers.Standardize(*(array if array.shape == () else array[kept] for array in arrays)))
    new_bias = first.bias if not added.any() else (bias + added).astype(first.weight.dtype)
    new.append(dataclasses.replace(first, weight=first.weight[:, kept], bias=new_bias))
    return tuple(new)


def _f32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)
