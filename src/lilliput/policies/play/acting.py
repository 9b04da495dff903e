"""What acts in an episode, from its beginning: a policy by its meaning, the random one, or anybody's function."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from lilliput.policies import reference
from lilliput.policies.play.together import Act, Acts, EachItsOwn, OneForAll
from lilliput.policies.policy import Policy

RANDOM_POLICY = 0x5EED
"""Spawn key of the random policy's actions, so that they share nothing with the environment's own numbers."""

_DRAWN = 256


@runtime_checkable
class Beginning(Protocol):
    """What acts in one episode at a time: a policy with a memory, or one without, whose beginning is itself."""

    def begin(self, seed: int = 0) -> Act:
        """The act of an episode of its own; the seed is the episode's."""
        ...


@runtime_checkable
class Batching(Beginning, Protocol):
    """One that also answers many observations at once, where it remembers nothing."""

    def batch(self, observations: Any) -> np.ndarray:
        """The actions, each as it is for that observation alone."""
        ...


def begun(act: Act | Beginning, seed: int) -> Act:
    """The act of the episode of that seed: where it has no beginning, it is the same for all."""
    return act.begin(seed) if isinstance(act, Beginning) else act


@final
@dataclass(frozen=True, eq=False)
class PolicyAct:
    """A policy's meaning by `reference`, one observation at a time."""

    policy: Policy

    def __call__(self, observation: Any) -> Any:
        return reference.act(self.policy, np.asarray(observation)[None])[0]

    def batch(self, observations: Any) -> np.ndarray:
        """The actions for a batch of observations, each as it is for that one alone."""
        return reference.act(self.policy, np.asarray(observations))

    def begin(self, seed: int = 0) -> Act:
        """Itself, or what remembers one episode."""
        return EpisodeAct(self.policy) if self.policy.has_memory else self


@final
class EpisodeAct:
    """A policy's meaning by `reference`, one observation of an episode after another."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._state = policy, reference.start(policy)

    def __call__(self, observation: Any) -> Any:
        """The action at the next step."""
        self._state, actions = reference.step(self._policy, self._state, np.asarray(observation)[None])
        return actions[0]


@final
@dataclass(frozen=True)
class RandomPolicy:
    """For each episode's seed an act that draws actions uniformly (Gymnasium's `sample`), whatever it observes."""

    def __call__(self, seed: int, action_space: Any) -> Act:
        space = copy.deepcopy(action_space)
        space.seed(int(np.random.SeedSequence(seed, spawn_key=(RANDOM_POLICY,)).generate_state(1)[0]))
        drawn = _draws(space)
        return lambda _: next(drawn)

    def together(self) -> Acts:
        """See `Together`."""
        return EachItsOwn(self)


def _draws(space: Any) -> Iterator[Any]:
    """What `space.sample()` gives again and again; many at a time where that gives the same, at a tenth of the cost."""
    from gymnasium.spaces import Box

    if type(space) is Box and space.dtype.kind == "f" and space.is_bounded("both"):
        while True:
            yield from space.np_random.uniform(space.low, space.high, (_DRAWN, *space.shape)).astype(space.dtype)
    while True:
        yield space.sample()


@final
@dataclass(frozen=True)
class SameAct:
    """The same act for every episode, from its beginning."""

    act: Act | Beginning

    def __call__(self, seed: int, action_space: Any) -> Act:
        return begun(self.act, seed)

    def together(self) -> Acts | None:
        """See `Together`."""
        if not isinstance(self.act, Beginning):
            return None
        if isinstance(self.act, Batching) and self.act.begin() is self.act:
            return OneForAll(self.act.batch)
        return EachItsOwn(self)
