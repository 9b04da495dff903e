"""The teacher, and the states that students learn from: what is seen while many episodes go on in lockstep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float32, UInt16

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import NOTHING, Learner
from lilliput.policies.play import BatchAct, Lockstep, OutOfTime
from lilliput.policies.policy import Policy

_BURST_STEPS = 8
_DEPENDENCE_STATES = 1_024
_ERROR = 0.4
"""Of an action, in half the width of its bounds: how far from the teacher's the critic is asked."""


def split_head(policy: Policy) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The network, and the layers behind it that only shape the action.

    Raises:
        LilliputError: the observation is no vector.
    """
    if len(spaces.input_shape(policy.observation_space)) != 1:
        raise LilliputError(
            "distill: the observation is an image; students are made for vectors: use prune_units and quantize"
        )
    end = len(policy.layers)
    while end and isinstance(policy.layers[end - 1], layers.Head):
        end -= 1
    return policy.layers[:end], policy.layers[end:]


def small_head(head: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same head in fewer bytes: one number for equal ones, float16 where that changes nothing."""
    found: list[Layer] = []
    for layer in head:
        match layer:
            case layers.RescaleAction(scale=scale, offset=offset):
                if not ((scale == 1).all() and (offset == 0).all()):
                    found.append(layers.RescaleAction(_short(scale), _short(offset)))
            case layers.ClipAction(low=low, high=high):
                found.append(layers.ClipAction(_short(low), _short(high)))
            case _:
                found.append(layer)
    return tuple(found)


def _short(array: np.ndarray) -> np.ndarray:
    if array.ndim and (array == array.reshape(-1)[0]).all():
        array = np.asarray(array.reshape(-1)[0])
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array.astype(np.float32)) else array


def outputs(stack: Sequence[Layer], x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n outputs"]:
    """What the layers give: `reference` up to the order of sums, several times as fast on a batch."""
    for layer in stack:
        if isinstance(layer, layers.Dense):
            x = x @ layer.weight.astype(np.float32).T
            x = x if layer.bias is None else x + layer.bias.astype(np.float32)
        else:
            x = reference.apply(layer, x)
    return x


@final
@dataclass(frozen=True, eq=False)
class Teacher:
    """What a student is to say: the action, or the values that a choice is made by."""

    policy: Policy
    learner: Learner = NOTHING

    @property
    def n_outputs(self) -> int:
        """How many numbers it says of an observation."""
        last = self.policy.layers[-1]
        if isinstance(last, layers.ArgmaxAction):
            return sum(last.sizes)
        assert isinstance(self.policy.action_space, spaces.Box)
        return self.policy.action_space.size

    def targets(self, x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n outputs"]:
        """For each observation."""
        stack = self.policy.layers[:-1] if self.policy.is_discrete else self.policy.layers
        parts = [outputs(stack, x[i : i + reference.BATCH]) for i in range(0, len(x), reference.BATCH)]
        return np.concatenate(parts).reshape(len(x), -1).astype(np.float32)

    def act(self, x: Float32[np.ndarray, "n inputs"]) -> np.ndarray:
        """The actions."""
        y = self.targets(x)
        return reference.apply(self.policy.layers[-1], y) if self.policy.is_discrete else y

    def needed_inputs(self, x: Float32[np.ndarray, "n inputs"], most: int) -> UInt16[np.ndarray, " k"]:
        """The inputs on which it depends most, in ascending order: another state's number in the place of one changes
        what it says (permutation importance, Breiman 2001). Fewer than `most` where the others change nothing.
        """
        some = x[:: max(1, len(x) // _DEPENDENCE_STATES)]
        said, unit = self._preferences(some), np.array(self.learner.action_std or 1)
        other, changes = np.roll(some, len(some) // 2, axis=0), np.zeros(x.shape[1])
        for index in np.flatnonzero(some.std(axis=0)):
            changed = some.copy()
            changed[:, index] = other[:, index]
            changes[index] = np.mean(((self._preferences(changed) - said) / unit) ** 2, dtype=np.float64)
        first = np.argsort(-changes, kind="stable")[: min(most, max(1, np.count_nonzero(changes)))]
        return np.sort(first).astype(np.uint16)

    def _preferences(self, x: np.ndarray) -> np.ndarray:
        """What it says; of choices without what all options of one have in common."""
        last, said = self.policy.layers[-1], self.targets(x)
        if not isinstance(last, layers.ArgmaxAction):
            return said
        groups = np.split(said, np.cumsum(last.sizes)[:-1], axis=1)
        return np.concatenate([group - group.mean(axis=1, keepdims=True) for group in groups], axis=1)

    def costs(
        self, x: Float32[np.ndarray, "n inputs"], actions: Float32[np.ndarray, "n outputs"]
    ) -> Float32[np.ndarray, "n outputs"]:
        """What an error of each action costs there, by its square: how much less the critic expects to either side."""
        space = self.policy.action_space
        assert isinstance(space, spaces.Box)
        low, high = (bound.reshape(-1).astype(np.float32) for bound in (space.low, space.high))
        found = np.empty_like(actions)
        for i in range(0, len(x), reference.BATCH):
            part = slice(i, i + reference.BATCH)
            best = self._worth(x[part], actions[part])
            for k in range(actions.shape[1]):
                lost, squares = np.zeros_like(best), np.full_like(best, 1e-12)
                for sign in (-1, 1):
                    other = actions[part].copy()
                    other[:, k] = np.clip(other[:, k] + sign * _ERROR * (high - low)[k] / 2, low[k], high[k])
                    lost += best - self._worth(x[part], other)
                    squares += (other[:, k] - actions[part, k]) ** 2
                found[part, k] = lost / squares
        return found

    def _worth(self, x: np.ndarray, actions: np.ndarray) -> Float32[np.ndarray, " n"]:
        return outputs(self.learner.critic, np.concatenate([x, actions], axis=1))[:, 0]


@final
class Disturbance:
    """Unrest while states are collected, in half of the environments: noise, and now and then random actions."""

    def __init__(self, strength: float, lockstep: Lockstep, rng: np.random.Generator) -> None:
        self._strength, self._rng = strength, rng
        self._n = len(lockstep)
        self._space = lockstep.action_space
        self._burst = np.zeros(self._n, np.int64)
        self._restless = np.arange(self._n) // 2 % 2 == 1
        self._bounds = _bounds(self._space)

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """The actions that are played instead."""
        if self._strength == 0:
            return actions
        rng = self._rng
        starts = self._restless & (self._burst == 0) & (rng.random(self._n) < 0.02 * self._strength)
        self._burst = np.where(starts, rng.integers(1, _BURST_STEPS + 1, self._n), np.maximum(self._burst - 1, 0))
        if self._bounds is None:
            random = self._restless & ((self._burst > 0) | (rng.random(self._n) < 0.3 * self._strength))
            # The groups of a MultiDiscrete are redrawn together.
            sizes = getattr(self._space, "nvec", getattr(self._space, "n", 1))
            drawn = rng.integers(0, sizes, actions.shape)
            return np.where(random.reshape(-1, *(1,) * (actions.ndim - 1)), drawn, actions)
        low, high = self._bounds
        half = (high - low) / 2
        flat = actions.reshape(self._n, -1)
        noise = rng.standard_normal(flat.shape) * (0.4 * self._strength * half) * rng.random((self._n, 1))
        noisy = np.where(self._burst[:, None] > 0, rng.uniform(low, high, flat.shape), flat + noise)
        return np.where(self._restless[:, None], np.clip(noisy, low, high), flat).reshape(actions.shape)


def _bounds(space: Any) -> tuple[np.ndarray, np.ndarray] | None:
    from gymnasium.spaces import Box

    if not isinstance(space, Box):
        return None
    finite = np.isfinite(space.low) & np.isfinite(space.high)
    return np.where(finite, space.low, -1.0).reshape(-1), np.where(finite, space.high, 1.0).reshape(-1)


def collect(
    lockstep: Lockstep, act: BatchAct, disturbance: Disturbance, n_states: int
) -> Float32[np.ndarray, "n inputs"]:
    """At least so many observations of the episodes as they go on under `act`; fewer where the time is over."""
    seen = []
    for _ in range(-(-n_states // len(lockstep))):
        seen.append(lockstep.observations.copy())
        try:
            lockstep.step(disturbance(act(lockstep.observations)))
        except OutOfTime:
            break
    return np.concatenate(seen)
