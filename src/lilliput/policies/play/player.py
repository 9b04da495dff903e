"""The one player: whatever plays an environment, one episode or many in lockstep, plays it through a `Row`."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.play.boundary import BadExchange, action_checker, observer
from lilliput.policies.play.environment import MAX_STEPS, EnvironmentSpec
from lilliput.policies.play.failure import RAISED, failure

BatchAct = Callable[[np.ndarray], np.ndarray]
"""The actions for the observations of all rows, in their order."""


@final
class OutOfTime(LilliputError):
    """The deadline passed in the middle of an episode."""


@final
class Row:
    """One environment and the episode under way in it: every observation and every action is checked here.

    Attributes:
        environment: with its wrappers.
        observation: what the policy is to answer next: finite float32, or bytes of an image.
        total: the rewards so far; length: the steps.
        terminated: whether the task ended; over: whether anything did.
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
        self._limit = spec.max_steps or MAX_STEPS
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
        try:
            observation, reward, terminated, truncated, _ = self._step(given)
            self.total += float(reward)
            self.length += 1
            self.terminated = bool(terminated)
            self.over = self.terminated or bool(truncated) or self.length >= self._limit
            # Nobody acts on the last observation.
            if not self.over:
                self.observation = self._observed(observation)
        except BadExchange as error:
            raise self._bad(error) from None
        except LilliputError:
            raise
        except RAISED as error:
            raise failure(self._place, "failed at a step", error, self.environment) from error
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
class Lockstep:
    """Rows that step together, so that one batch of inferences serves all; an episode that ends is followed by another.

    Attributes:
        observations: of all rows, each as one vector.
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
        from gymnasium.spaces import Box

        self._seeds = seeds
        self._rows = [Row(environment, space, deadline) for _ in range(n)]
        self.action_space: Any = self._rows[0].environment.action_space
        self._action_shape = self.action_space.shape if isinstance(self.action_space, Box) else None
        self.observations = np.zeros((n, *spaces.input_shape(space)), np.float32)
        for i, row in enumerate(self._rows):
            row.go_on(next(seeds))
            self._keep(i)
        self.begins = np.ones(n, bool)

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """Closes the environments."""
        for row in self._rows:
            row.close()

    def step(self, actions: np.ndarray) -> None:
        """One step everywhere; where an episode ends the next one begins in the same environment."""
        for i, row in enumerate(self._rows):
            row.step(self._shaped(actions[i]))
            self.begins[i] = row.over
            if row.over:
                row.go_on(next(self._seeds))
            self._keep(i)

    def returns(self, act: BatchAct, seeds: Sequence[int]) -> Float64[np.ndarray, " n"]:
        """The return of the episode of each seed, of which there are at most as many as rows.

        Raises:
            OutOfTime: the deadline has passed before all of them ended.
        """
        rows = self._rows[: len(seeds)]
        for i, row in enumerate(rows):
            row.begin(seeds[i])
            self._keep(i)
        self.begins[:] = True
        while any(not row.over for row in rows):
            actions = act(self.observations)
            self.begins[:] = False
            for i, row in enumerate(rows):
                if not row.over:
                    row.step(self._shaped(actions[i]))
                    self._keep(i)
        return np.array([row.total for row in rows])

    def _shaped(self, action: Any) -> Any:
        return action if self._action_shape is None else np.reshape(action, self._action_shape)

    def _keep(self, i: int) -> None:
        self.observations[i] = self._rows[i].observation.reshape(self.observations.shape[1:])
