"""Episodes of one of Gymnasium's MuJoCo tasks side by side, every bit as Gymnasium plays them one by one."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Int32

from lilliput.errors import LilliputError
from lilliput.policies.play.boundary import BadExchange, action_checker, observer
from lilliput.policies.play.environment import MAX_STEPS
from lilliput.policies.play.failure import versions_of
from lilliput.policies.play.lanes import OutOfTime
from lilliput.policies.play.twin.scene import Scene
from lilliput.policies.play.twin.simulations import SimulationError, Simulations
from lilliput.policies.play.twin.tasks import TwinTask


@final
class Unlike(Exception):
    """An environment that has no twin."""


@final
class TwinLanes:
    """See `Lanes`.

    Attributes:
        rewards, seen: of the last call, a row each of those that were stepped: as the environment gives them.
    """

    def __init__(
        self,
        name: str,
        environment: Any,
        task: TwinTask,
        n: int,
        *,
        max_steps: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Begin with nothing played.

        Args:
            name: the environment's id.
            environment: a real one, with its wrappers: its settings, its model and its spaces are these lanes'.
            task: what its class stands for.
            n: how many lanes.
            max_steps: after which an episode is cut, on top of the environment's own limit.
            deadline: in `time.monotonic()` seconds.

        Raises:
            Unlike: it has a wrapper or a model that is not known here.
        """
        from lilliput.policies.play.twin.wrappers import worn

        self._name, self._environment, self._env, self._task = name, environment, environment.unwrapped, task
        self.action_space = environment.action_space
        known = worn(environment, n)
        if known is None:
            raise Unlike("a wrapper is not of the closed list")
        self._changes, self._worn, limit = known
        self.limit = min(max_steps or MAX_STEPS, limit or MAX_STEPS)
        self._deadline = math.inf if deadline is None else deadline
        env, forces = self._env, task.forces(self._env)
        fields = (*task.fields, "cfrc_ext") if forces else task.fields
        try:
            self._simulations = Simulations(env.model, env.data, n, fields, forces)
        except ValueError as error:
            raise Unlike(str(error)) from error
        self.observations = np.zeros((n, *environment.observation_space.shape), np.float32)
        self.rewards, self.seen = np.zeros(0), np.zeros(0)
        self.totals, self.lengths = np.zeros(n), np.zeros(n, np.int64)
        self.terminated, self.over = np.zeros(n, bool), np.ones(n, bool)
        self._seeds, self._marks = np.zeros(n, np.int64), np.zeros(0)
        self._check_action = action_checker(environment)
        self._observed = observer(environment, None)

    def __len__(self) -> int:
        return len(self.over)

    def begin(self, lanes: Sequence[int] | np.ndarray, seeds: Sequence[int], *, fresh: bool = True) -> None:
        """See `Lanes.begin`; a simulation remembers nothing."""
        from gymnasium.utils.seeding import np_random

        which = np.asarray(lanes, np.int32)
        self._seeds[which] = seeds
        self.totals[which], self.lengths[which], self.terminated[which], self.over[which] = 0, 0, False, False
        state = self._simulations.state
        try:
            self._simulations.reset(which)
            for lane, seed in zip(which.tolist(), seeds, strict=True):
                state["qpos"][lane], state["qvel"][lane] = self._task.start(self._env, np_random(int(seed))[0])
            self._simulations.forward(which)
        except SimulationError as error:
            raise self._failed("cannot be reset", error) from None
        scene = Scene(self._env, self._simulations, which)
        self._mark(scene, which)
        self._see(scene, which)

    def step(self, lanes: Sequence[int] | np.ndarray, actions: Sequence[Any] | np.ndarray) -> None:
        """See `Lanes.step`."""
        which = np.asarray(lanes, np.int32)
        if time.monotonic() > self._deadline:
            raise OutOfTime(f"{self._place(int(which[0]))}: the time was over")
        given = self._checked(which, actions)
        for change in self._changes:
            given = change(given)
        self._simulations.state["ctrl"][which] = given
        try:
            self._simulations.step(which, self._env.frame_skip)
        except SimulationError as error:
            raise self._failed("failed at a step", error) from None
        scene = Scene(self._env, self._simulations, which, given)
        self._mark(scene, which)
        rewards, terminated = self._task.pay(scene), scene.told(self._task.ends)
        self.rewards = rewards
        self.totals[which] += rewards
        self.lengths[which] += 1
        over = terminated | (self.lengths[which] >= self.limit)
        self.terminated[which], self.over[which] = terminated, over
        self._see(scene, which, ~over if over.any() else None)
        for lane in which[over].tolist():
            if not math.isfinite(self.totals[lane]):
                raise LilliputError(f"{self._place(lane)}: the return is {self.totals[lane]}")

    def close(self) -> None:
        """See `Lanes.close`."""
        self._simulations.close()
        self._environment.close()

    def _mark(self, scene: Scene, which: Int32[np.ndarray, " k"]) -> None:
        """Keeps what the task marks, and shows it to the scene with what was kept before."""
        if self._task.mark is None:
            return
        scene.after = self._task.mark(scene)
        if not self._marks.size:
            self._marks = np.zeros((len(self), *scene.after.shape[1:]))
        scene.before = self._marks[which]
        self._marks[which] = scene.after

    def _see(self, scene: Scene, which: Int32[np.ndarray, " k"], goes_on: Bool[np.ndarray, " k"] | None = None) -> None:
        """Keeps the observations, where not all go on those that do: nobody acts on the last one of an episode."""
        x = np.concatenate(self._task.see(scene), axis=1)
        for one in self._worn:
            x = one.seen(x, which, self.lengths[which])
        self.seen = x
        if goes_on is not None:
            x, which = x[goes_on], which[goes_on]
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is said
            narrow = x.astype(np.float32)
        if not np.isfinite(narrow).all():
            for lane, row in zip(which.tolist(), x, strict=True):
                self._exchange(lane, self._observed, row)
        self.observations[which] = narrow

    def _checked(self, which: Int32[np.ndarray, " k"], actions: Sequence[Any] | np.ndarray) -> np.ndarray:
        """The actions as the environment takes them."""
        space = self.action_space
        if isinstance(actions, np.ndarray) and actions.size == len(which) * space.low.size:
            given = actions.reshape(len(which), *space.shape).astype(space.dtype, copy=False)
            if np.isfinite(given).all():
                return given
        given = [
            self._exchange(lane, self._check_action, one) for lane, one in zip(which.tolist(), actions, strict=True)
        ]
        return np.stack(given)

    def _exchange(self, lane: int, convert: Callable[[Any], np.ndarray], given: Any) -> np.ndarray:
        try:
            return convert(given)
        except BadExchange as error:
            raise LilliputError(f"{self._place(lane)}: {error}") from None

    def _failed(self, doing: str, error: SimulationError) -> LilliputError:
        under = ", ".join(f"{name} {version}" for name, version in versions_of(self._environment).items())
        return LilliputError(f"{self._place(error.simulation)} {doing}: {error} ({under})")

    def _place(self, lane: int) -> str:
        return f"{self._name}, episode seed {self._seeds[lane]}, step {self.lengths[lane]}"
