"""The teacher, and the states that students learn from: what is seen while many episodes go on in lockstep."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32, UInt16

from lilliput.errors import NotApplicable
from lilliput.policies import layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import NOTHING, Learner
from lilliput.policies.play import Lockstep, OutOfTime
from lilliput.policies.policy import Policy

RowsAct = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The actions for the observations of all rows, told which of them begin an episode."""

BATCH = reference.BATCH
MOST_SQUARES = 1 << 12
"""Numbers of a board: of images of so many, 100,000 states would take gigabytes."""
_BURST_STEPS = 8
_DEPENDENCE_STATES, _DEPENDENCE_STEPS = 1_024, 64
_ERROR = 0.4
"""Of an action, in half the width of its bounds: how far from the teacher's the critic is asked."""


_HALF = np.array(0.5, np.float16)


def split_head(policy: Policy) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The network, and the layers behind it that only shape the action."""
    end = len(policy.layers)
    while end and isinstance(policy.layers[end - 1], layers.Head):
        end -= 1
    return policy.layers[:end], policy.layers[end:]


def vector_view(policy: Policy, name: str) -> tuple[Layer, ...]:
    """The layers that make a vector of the observation: none where it is one; the numbers of a board stand in a row.

    Raises:
        NotApplicable: it is an image that has students of its own, or of too many numbers.
    """
    shape = spaces.input_shape(policy.observation_space)
    if len(shape) == 1:
        return ()
    if can_be_taught(policy):
        raise NotApplicable(f"{name}: the observation is an image, and its students see vectors; use distill_images")
    if math.prod(shape) > MOST_SQUARES:
        raise NotApplicable(
            f"{name}: the observation is {'x'.join(map(str, shape))} numbers, and its students see vectors and boards "
            f"of up to {MOST_SQUARES:,}; quantize or prune the policy itself"
        )
    return (layers.Flatten(),)


def sees_a_vector(policy: Policy) -> bool:
    """Whether its students of `distill` see what it sees."""
    try:
        vector_view(policy, "")
    except NotApplicable:
        return False
    return True


def can_be_taught(teacher: Policy) -> bool:
    """Whether there are students of distill_images that see what it sees."""
    try:
        windows_of(teacher, 1)
    except NotApplicable:
        return False
    return True


def windows_of(teacher: Policy, n: int) -> tuple[tuple[tuple[int, int], tuple[int, int], tuple[int, int]], ...]:
    """(kernel, stride, padding) of the teacher's first n convolutions.

    Raises:
        NotApplicable: the teacher does not choose, or sees no image of bytes through so many convolutions.
    """
    space = teacher.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 3 or space.dtype != "uint8":
        few = math.prod(spaces.input_shape(space)) <= MOST_SQUARES
        instead = "use distill" if few else "quantize or prune the policy itself"
        raise NotApplicable(f"distill_images: the observation is no image of bytes; {instead}")
    if not isinstance(teacher.layers[-1], layers.ArgmaxAction):
        raise NotApplicable("distill_images: the policy makes no choice; supported: choices, as an Atari game's")
    convolutions = [layer for layer in teacher.layers if isinstance(layer, layers.Conv2d | layers.QuantizedConv2d)]
    if n > len(convolutions):
        raise NotApplicable(
            f"distill_images: channels has {n} numbers; the policy has {len(convolutions)} convolutions"
        )
    return tuple(
        ((layer.weight.shape[2], layer.weight.shape[3]), layer.stride, layer.padding) for layer in convolutions[:n]
    )


def small_head(head: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same head in fewer bytes: one number for equal ones, float16 where that changes nothing."""
    found: list[Layer] = []
    for layer in head:
        match layer:
            case layers.RescaleAction(scale=scale, offset=offset):
                if not ((scale == 1).all() and (offset == 0).all()):
                    found.append(layers.RescaleAction(_short(scale), _short(offset)))
            case layers.BetaAction():  # any number between 0 and 1, by one number an action instead of two
                found += [layers.SquashAction(), layers.RescaleAction(_HALF, _HALF)]
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


def outputs(stack: Sequence[Layer], x: Float32[np.ndarray, "n ..."]) -> np.ndarray:
    """What layers without memory give: `reference` up to the order of sums, several times as fast on a batch."""
    for layer in stack:
        x = _fast(layer, x)
    return x


def _fast(layer: Layer, x: Float32[np.ndarray, "n ..."]) -> np.ndarray:
    if not isinstance(layer, layers.Dense):
        return reference.apply(layer, x)
    x = x @ layer.weight.astype(np.float32).T
    return x if layer.bias is None else x + layer.bias.astype(np.float32)


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed, step by step, in rows that go on: (steps, rows, *observation).

    Attributes:
        begins: (steps, rows), where an episode begins.
    """

    observations: np.ndarray
    begins: np.ndarray

    @property
    def flat(self) -> Float32[np.ndarray, "n ..."]:
        """All observations, one step's behind the other's."""
        return self.observations.reshape(-1, *self.observations.shape[2:])


@final
class Watch:
    """What layers give in rows that go on; those with a memory remember each row until its episode ends."""

    def __init__(self, stack: Sequence[Layer]) -> None:
        self._stack = tuple(stack)
        self._remembers = any(isinstance(layer, layers.Memory) for layer in stack)
        self._state: reference.State = ()

    def __call__(self, x: Float32[np.ndarray, "rows ..."], begins: Bool[np.ndarray, " rows"]) -> np.ndarray:
        """Of the next observation of every row."""
        if not self._remembers:
            return outputs(self._stack, x)
        first = reference.begun(self._stack, x.shape[1:], len(x))
        before = zip(first, self._state or first, strict=True)
        state = tuple(np.where(begins.reshape(-1, *[1] * (one.ndim - 1)), one, kept) for one, kept in before)
        x, self._state = reference.advance(self._stack, x, state, _fast)
        return x

    def change(self, stack: Sequence[Layer]) -> None:
        """Go on with other weights, and with what is remembered."""
        self._stack = tuple(stack)

    def over(self, seen: Seen) -> Float32[np.ndarray, "n outputs"]:
        """Of all that was seen since what it was last asked for, one step's behind the other's."""
        if self._remembers:
            every = [self(x, begins) for x, begins in zip(seen.observations, seen.begins, strict=True)]
            return np.concatenate(every)
        x = seen.flat
        return np.concatenate([outputs(self._stack, x[i : i + BATCH]) for i in range(0, len(x), BATCH)])


@final
@dataclass(frozen=True, eq=False)
class Teacher:
    """What a student is to say: the action, or the values that a choice is made by."""

    policy: Policy
    learner: Learner = NOTHING

    @property
    def stack(self) -> tuple[Layer, ...]:
        """The layers that say it."""
        return self.policy.layers[:-1] if self.policy.is_discrete else self.policy.layers

    @property
    def n_outputs(self) -> int:
        """How many numbers it says of an observation."""
        last = self.policy.layers[-1]
        if isinstance(last, layers.ArgmaxAction):
            return sum(last.sizes)
        assert isinstance(self.policy.action_space, spaces.Box)
        return self.policy.action_space.size

    def chosen(self, said: Float32[np.ndarray, "n outputs"]) -> np.ndarray:
        """The actions after what it said."""
        return reference.apply(self.policy.layers[-1], said) if self.policy.is_discrete else said

    def selected_inputs(self, seen: Seen, most: int | None) -> layers.SelectInputs | None:
        """What its students see: at most so many inputs, those that are needed; without a limit all of them (None), but
        of a board those that were not always the same.
        """
        if most is not None:
            return layers.SelectInputs(self.needed_inputs(seen, most))
        x = seen.flat.reshape(len(seen.flat), -1)
        moved = np.flatnonzero((x != x[0]).any(axis=0))
        is_board = seen.observations.ndim > 3
        return layers.SelectInputs(moved.astype(np.uint16)) if is_board and 0 < len(moved) < x.shape[1] else None

    def needed_inputs(self, seen: Seen, most: int) -> UInt16[np.ndarray, " k"]:
        """The inputs on which it depends most, in ascending order: another state's number in the place of one changes
        what it says (permutation importance, Breiman 2001). Fewer than `most` where the others change nothing.
        """
        some = self._some(seen)
        said, unit = self._preferences(some), np.array(self.learner.action_std or 1)
        x = some.flat.reshape(len(some.flat), -1)
        other, changes = np.roll(x, len(x) // 2, axis=0), np.zeros(x.shape[1])
        for index in np.flatnonzero(x.std(axis=0)):
            changed = x.copy()
            changed[:, index] = other[:, index]
            mixed = Seen(changed.reshape(some.observations.shape), some.begins)
            changes[index] = np.mean(((self._preferences(mixed) - said) / unit) ** 2, dtype=np.float64)
        first = np.argsort(-changes, kind="stable")[: min(most, max(1, np.count_nonzero(changes)))]
        return np.sort(first).astype(np.uint16)

    def _some(self, seen: Seen) -> Seen:
        """States enough to tell: of a policy with a memory the first steps of all rows, else some of all."""
        if self.policy.has_memory:
            steps = max(_DEPENDENCE_STEPS, _DEPENDENCE_STATES // seen.begins.shape[1])
            return Seen(seen.observations[:steps], seen.begins[:steps])
        x = seen.flat[:: max(1, len(seen.flat) // _DEPENDENCE_STATES)]
        return Seen(x[None], np.ones((1, len(x)), bool))

    def _preferences(self, seen: Seen) -> np.ndarray:
        """What it says; of choices without what all options of one have in common."""
        last, said = self.policy.layers[-1], Watch(self.stack).over(seen)
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


def collect(lockstep: Lockstep, act: RowsAct, disturbance: Disturbance, n_states: int) -> Seen:
    """At least so many observations of the episodes as they go on under `act`; fewer where the time is over."""
    seen, begins = [], []
    for _ in range(-(-n_states // len(lockstep))):
        seen.append(lockstep.observations.copy())
        begins.append(lockstep.begins.copy())
        try:
            lockstep.step(disturbance(act(lockstep.observations, lockstep.begins)))
        except OutOfTime:
            break
    return Seen(np.stack(seen), np.stack(begins))
