"""The one player: whatever plays an environment, one episode or many in lockstep, plays it here."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.play.boundary import BadExchange, action_checker, observer, wrong_answer
from lilliput.policies.play.environment import MAX_STEPS, EnvironmentSpec, observation_space_of
from lilliput.policies.play.failure import RAISED, failure
from lilliput.policies.play.lanes import Lanes, OutOfTime
from lilliput.policies.play.mujoco_library import clock_stopped
from lilliput.policies.play.twin import twin_of

BatchAct = Callable[[np.ndarray], np.ndarray]
"""The actions for the observations of all rows, in their order."""


@final
class EpisodeUnderWay:
    """One environment and the episode under way in it: every observation and every action is checked here.

    Attributes:
        environment: with its wrappers.
        observation: what the policy is to answer next: finite float32, or bytes of an image.
        total: the rewards so far; length: the steps.
        terminated: whether the task ended; over: whether anything did.
        limit: the steps after which an episode is cut, whatever the environment's own limit.
    """

    def __init__(
        self, spec: EnvironmentSpec, space: spaces.ObservationSpace | None, deadline: float | None = None
    ) -> None:
        """Begin with nothing played.

        Args:
            spec: of the environment.
            space: the policy's; its order of keys is that of a Dict's vector (else the environment's).
            deadline: in `time.monotonic()` seconds.

        Raises:
            LilliputError: the environment cannot be made.
        """
        self._spec, self._space = spec, space
        self.limit = spec.max_steps or MAX_STEPS
        self._deadline = math.inf if deadline is None else deadline
        self._used = False
        self._make()

    def begin(self, seed: int) -> None:
        """The episode of that seed; an environment whose reset does not forget is made anew for it.

        Raises:
            LilliputError: the environment raises, or its first observation is not finite.
        """
        if self._used and not self._spec.resets_cleanly:
            self.close()
            self._make()
        self.go_on(seed)

    def go_on(self, seed: int) -> None:
        """The same in the same environment, whatever it remembers: for states that nobody is judged by."""
        self._used = True
        self._seed, self.total, self.length, self.terminated, self.over = seed, 0.0, 0, False, False
        try:
            observation, _ = self.environment.reset(seed=seed)
            self.observation = self._observed(observation)
        except BadExchange as error:
            raise self._bad(error) from None
        except LilliputError:
            raise
        except RAISED as error:
            raise failure(self._place, "cannot be reset", error, self.environment) from error

    def step(self, action: Any) -> None:
        """Plays one action.

        Raises:
            OutOfTime: the deadline has passed.
            LilliputError: the action is not one of the environment's, the environment raises, or what it gives is not
                finite.
        """
        if time.monotonic() > self._deadline:
            raise OutOfTime(f"{self._place}: the time was over")
        try:
            given = self._checked(action)
        except BadExchange as error:
            raise self._bad(error) from None
        answer: Any = ...  # none yet
        try:
            answer = self._step(given)
            observation, reward, terminated, truncated, _ = answer
            self.total += float(reward)
            self.length += 1
            self.terminated = bool(terminated)
            self.over = self.terminated or bool(truncated) or self.length >= self.limit
            # Nobody acts on the last observation.
            if not self.over:
                self.observation = self._observed(observation)
        except BadExchange as error:
            raise self._bad(error) from None
        except LilliputError:
            raise
        except RAISED as error:
            told = (answer is not ... and wrong_answer(answer)) or error
            raise failure(self._place, "failed at a step", told, self.environment) from error
        if self.over and not math.isfinite(self.total):
            raise LilliputError(f"{self._place}: the return is {self.total}")

    def close(self) -> None:
        """Closes the environment."""
        self.environment.close()

    def _make(self) -> None:
        self.environment: Any = self._spec.make()
        self._observed = observer(self.environment, self._space)
        self._checked = action_checker(self.environment)
        self._step = self.environment.step

    @property
    def _place(self) -> str:
        return f"{self._spec.id}, episode seed {self._seed}, step {self.length}"

    def _bad(self, error: BadExchange) -> LilliputError:
        return LilliputError(f"{self._place}: {error}")


@final
class SeparateLanes:
    """See `Lanes`: an environment for each."""

    def __init__(
        self, spec: EnvironmentSpec, space: spaces.ObservationSpace | None, n: int, deadline: float | None = None
    ) -> None:
        from gymnasium.spaces import Box

        self._rows = [EpisodeUnderWay(spec, space, deadline) for _ in range(n)]
        self.action_space: Any = self._rows[0].environment.action_space
        self.limit = self._rows[0].limit
        self._action_shape = self.action_space.shape if isinstance(self.action_space, Box) else None
        made = observation_space_of(self._rows[0].environment) if space is None else space
        self.observations = np.zeros((n, *spaces.input_shape(made)), np.float32)
        self.totals, self.lengths = np.zeros(n), np.zeros(n, np.int64)
        self.terminated, self.over = np.zeros(n, bool), np.ones(n, bool)

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self, lanes: Sequence[int] | np.ndarray, seeds: Sequence[int], *, fresh: bool = True) -> None:
        """See `Lanes.begin`."""
        for lane, seed in zip(np.asarray(lanes).tolist(), seeds, strict=True):
            row = self._rows[lane]
            row.begin(seed) if fresh else row.go_on(seed)
            self._keep(lane)

    def step(self, lanes: Sequence[int] | np.ndarray, actions: Sequence[Any] | np.ndarray) -> None:
        """See `Lanes.step`."""
        with clock_stopped():
            for lane, action in zip(np.asarray(lanes).tolist(), actions, strict=True):
                shaped = action if self._action_shape is None else np.reshape(action, self._action_shape)
                self._rows[lane].step(shaped)
                self._keep(lane)

    def close(self) -> None:
        """See `Lanes.close`."""
        for row in self._rows:
            row.close()

    def _keep(self, lane: int) -> None:
        row = self._rows[lane]
        self.observations[lane] = row.observation.reshape(self.observations.shape[1:])
        self.totals[lane], self.lengths[lane] = row.total, row.length
        self.terminated[lane], self.over[lane] = row.terminated, row.over


def lanes_of(
    environment: EnvironmentSpec, space: spaces.ObservationSpace | None, n: int, deadline: float | None = None
) -> Lanes:
    """So many episodes side by side: in the environment's batched twin where it has one.

    Raises:
        LilliputError: the environment cannot be made.
    """
    return twin_of(environment, n, deadline) or SeparateLanes(environment, space, n, deadline)


@final
class Lockstep:
    """Episodes that step together, so that one batch of inferences serves all; one that ends is followed by another.

    Attributes:
        observations: of all rows, as a policy of that observation takes them: vectors, boards or images.
        begins: the rows whose observation is the first of an episode: what acts forgets what it remembers of them.
        action_space: the environment's.
    """

    def __init__(
        self,
        environment: EnvironmentSpec,
        space: spaces.ObservationSpace,
        n: int,
        seeds: Iterator[int],
        *,
        deadline: float | None = None,
    ) -> None:
        self._seeds = seeds
        self._lanes = lanes_of(environment, space, n, deadline)
        self._every = np.arange(n)
        self.action_space: Any = self._lanes.action_space
        self.observations = self._lanes.observations
        self._lanes.begin(self._every, [next(seeds) for _ in range(n)], fresh=False)
        self.begins = np.ones(n, bool)

    def __len__(self) -> int:
        return len(self._lanes)

    def close(self) -> None:
        """Closes the environments."""
        self._lanes.close()

    def step(self, actions: np.ndarray) -> None:
        """One step everywhere; where an episode ends the next one begins in the same environment."""
        self._lanes.step(self._every, actions)
        self.begins[:] = self._lanes.over
        ended = np.flatnonzero(self.begins)
        if len(ended):
            self._lanes.begin(ended, [next(self._seeds) for _ in ended], fresh=False)

    def returns(self, act: BatchAct, seeds: Sequence[int]) -> Float64[np.ndarray, " n"]:
        """The return of the episode of each seed, of which there are at most as many as rows.

        Raises:
            OutOfTime: the deadline has passed before all of them ended.
        """
        lanes, n = self._lanes, len(seeds)
        lanes.begin(self._every[:n], seeds)
        self.begins[:] = True
        while len(going := np.flatnonzero(~lanes.over[:n])):
            actions = act(self.observations)
            self.begins[:] = False
            lanes.step(going, actions[going])
        return lanes.totals[:n].copy()
