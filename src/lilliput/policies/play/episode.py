"""Seeded episodes under an `act` function. An episode depends on its seed alone: not on others, nor on the process."""

import operator
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput import child_process
from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.artifact import Running
from lilliput.policies.play import worker
from lilliput.policies.play.acting import PolicyAct, RandomPolicy, SameAct
from lilliput.policies.play.environment import EnvironmentSpec
from lilliput.policies.play.fit import check_fit
from lilliput.policies.play.lanes import Episode, Lanes
from lilliput.policies.play.mujoco_library import clock_stopped
from lilliput.policies.play.player import EpisodeUnderWay
from lilliput.policies.play.together import (
    AT_ONCE,
    Act,
    ActOfSeed,
    Acts,
    Together,
    play_together,
)
from lilliput.policies.play.twin import has_twin, twin_of
from lilliput.policies.policy import Policy

Progress = Callable[[int, int], None]
"""Called after each episode with how many are done, and of how many."""


def episode_returns(
    act: Act | Policy,
    environment: str,
    seeds: Iterable[int],
    *,
    wrappers: tuple[str, ...] | None = None,
    environment_kwargs: Mapping[str, Any] | None = None,
    observation_space: spaces.ObservationSpace | None = None,
    max_steps: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Float64[np.ndarray, " seeds"]:
    """The undiscounted return of one episode a seed; see `episodes`."""
    played = episodes(
        act,
        environment,
        seeds,
        wrappers=wrappers,
        environment_kwargs=environment_kwargs,
        observation_space=observation_space,
        max_steps=max_steps,
        workers=workers,
        progress=progress,
    )
    return np.array([episode.episode_return for episode in played], np.float64)


def episodes(
    act: Act | Policy,
    environment: str,
    seeds: Iterable[int],
    *,
    wrappers: tuple[str, ...] | None = None,
    environment_kwargs: Mapping[str, Any] | None = None,
    observation_space: spaces.ObservationSpace | None = None,
    max_steps: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Episode, ...]:
    """One episode a seed, in the order of the seeds.

    Args:
        act: from one observation to one action, or a Policy, which plays by `reference`. It gets float32 (uint8 where
            the environment gives that); a Dict observation arrives as one vector.
        environment: a Gymnasium id.
        seeds: the environment's reset gets them.
        wrappers: texts from the closed list `WRAPPERS`, the innermost first; where not given, those that the policy or
            the running artifact names.
        environment_kwargs: arguments of the environment.
        observation_space: the policy's; its order of keys is that of a Dict's vector (else the environment's).
        max_steps: cuts episodes short, on top of the environment's own limit; where not given, after 100,000 steps.
        workers: processes; above 1, `act` has to be picklable, and the returns are the same.
        progress: called after each episode.

    Raises:
        LilliputError: the environment cannot be made or does not fit, or an action is not one of its actions.
    """
    worn = _wrappers_of(act) if wrappers is None else tuple(wrappers)
    spec = EnvironmentSpec(environment, worn, dict(environment_kwargs or {}), max_steps)
    plain, space = act_and_space(act, spec, observation_space)
    return play(Stage(spec, space), SameAct(plain), seeds, workers, progress)


def _wrappers_of(act: Act | Policy) -> tuple[str, ...]:
    match act:
        case Policy():
            return act.provenance.wrappers
        case Running():
            return act.artifact.manifest.wrappers
        case _:
            return ()


def act_and_space(
    act: Act | Policy, environment: EnvironmentSpec, observation_space: spaces.ObservationSpace | None
) -> tuple[Act, spaces.ObservationSpace | None]:
    """A plain act and the space that it observes; a policy or an artifact is first held against the environment."""
    match act:
        case Policy():
            known, plain = act, PolicyAct(act)
        case Running():
            known, plain = act.artifact.manifest, act
        case _:
            return act, observation_space
    made = environment.make()
    try:
        check_fit(known.observation_space, known.action_space, made)
    finally:
        made.close()
    return plain, known.observation_space


def random_returns(
    environment: str,
    seeds: Iterable[int],
    *,
    wrappers: tuple[str, ...] = (),
    environment_kwargs: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Float64[np.ndarray, " seeds"]:
    """The returns of the uniform-random policy; see `random_episodes`."""
    spec = EnvironmentSpec(environment, tuple(wrappers), dict(environment_kwargs or {}), max_steps)
    played = random_episodes(spec, seeds, workers=workers, progress=progress)
    return np.array([episode.episode_return for episode in played], np.float64)


def random_episodes(
    environment: EnvironmentSpec, seeds: Iterable[int], *, workers: int = 1, progress: Progress | None = None
) -> tuple[Episode, ...]:
    """The episodes of the uniform-random policy, whose actions follow from each episode's seed; see `episodes`."""
    return play(Stage(environment), RandomPolicy(), seeds, workers, progress)


@final
class Stage:
    """Where episodes are played: keeps the environment from one to the next where that changes nothing."""

    def __init__(
        self,
        environment: EnvironmentSpec,
        observation_space: spaces.ObservationSpace | None = None,
        deadline: float | None = None,
    ) -> None:
        self.environment, self.observation_space, self.deadline = environment, observation_space, deadline
        self._row: EpisodeUnderWay | None = None
        self._lanes: Lanes | None = None

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Stage, (self.environment, self.observation_space, self.deadline))

    def close(self) -> None:
        """Closes the environments."""
        if self._row is not None:
            self._row.close()
            self._row = None
        if self._lanes is not None:
            self._lanes.close()
            self._lanes = None

    def plays_together(self, act_of_seed: ActOfSeed) -> bool:
        """Whether `play_all` plays many episodes at once."""
        return _together(act_of_seed) is not None and has_twin(self.environment)

    def play_all(
        self,
        seeds: Sequence[int],
        act_of_seed: ActOfSeed,
        watch: bool = False,
        told: Callable[[int], None] = lambda episodes: None,
    ) -> Iterator[tuple[Episode, list[np.ndarray]]]:
        """The episode of each seed, in their order, and what the policy observed in it if that is watched.

        Many at once where the environment has a batched twin: the episodes are the same; `told` is how far they are.
        """
        acts = _together(act_of_seed) if len(seeds) > 1 else None
        lanes = self._lanes_for(len(seeds)) if acts is not None else None
        if acts is not None and lanes is not None:
            yield from play_together(lanes, acts, seeds, watch, told)
            return
        for seed in seeds:
            seen: list[np.ndarray] = []
            yield self.play(seed, act_of_seed, seen if watch else None), seen

    def _lanes_for(self, n: int) -> Lanes | None:
        """Those of the twin, if there is one; as many as there are seeds, or as many as help."""
        n = min(AT_ONCE, n)
        if self._lanes is None or len(self._lanes) != n:
            if self._lanes is not None:
                self._lanes.close()
            self._lanes = twin_of(self.environment, n, self.deadline)
        return self._lanes

    def play(self, seed: int, act_of_seed: ActOfSeed, seen: list[np.ndarray] | None = None) -> Episode:
        """The episode of that seed; what the policy observed is appended to `seen`."""
        if self._row is None:
            self._row = EpisodeUnderWay(self.environment, self.observation_space, self.deadline)
        row = self._row
        act = act_of_seed(seed, row.environment.action_space)
        start = time.perf_counter()
        row.begin(seed)
        with clock_stopped():
            while not row.over:
                observation = row.observation
                if seen is not None:
                    # A copy: some environments write the next observation into the same array.
                    seen.append(observation.copy())
                row.step(act(observation))
        wall_time = time.perf_counter() - start
        if not self.environment.resets_cleanly:
            self.close()
        return Episode(seed, row.total, row.length, row.terminated, not row.terminated, wall_time)


def _together(act_of_seed: object) -> Acts | None:
    """What acts in many of its episodes at once, if anything may."""
    return act_of_seed.together() if isinstance(act_of_seed, Together) else None


def play(
    stage: Stage, act_of_seed: ActOfSeed, seeds: Iterable[int], workers: int = 1, progress: Progress | None = None
) -> tuple[Episode, ...]:
    """One episode a seed, in the order of the seeds, over so many processes."""
    order = checked_seeds(seeds)
    if workers < 1:
        raise LilliputError(f"workers is {workers}; it must be at least 1")
    n_told = 0

    def told(n: int) -> None:
        nonlocal n_told
        if progress is not None and n > n_told:
            n_told = n
            progress(n, len(order))

    results = _local(stage, act_of_seed, order, told) if workers == 1 else _spread(stage, act_of_seed, order, workers)
    played: list[Episode] = []
    for episode in results:
        played.append(episode)
        told(len(played))
    return tuple(played)


def checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds, where there are any and all of them are numbers from 0."""
    try:
        order = tuple(operator.index(seed) for seed in seeds)
    except TypeError:
        raise LilliputError(f"seeds are {str(seeds)[:60]}; they must be integers from 0, such as range(100)") from None
    if not order or min(order) < 0:
        raise LilliputError(f"seeds are {str(list(order))[:60]}; give at least one, all of them from 0")
    return order


def _local(
    stage: Stage, act_of_seed: ActOfSeed, seeds: tuple[int, ...], told: Callable[[int], None]
) -> Iterator[Episode]:
    with stage:
        for episode, _ in stage.play_all(seeds, act_of_seed, told=told):
            yield episode


def _spread(stage: Stage, act_of_seed: ActOfSeed, seeds: tuple[int, ...], workers: int) -> Iterator[Episode]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        job = pickle.dumps((stage, act_of_seed))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise LilliputError(
            f"workers is {workers}, but the act function cannot be sent to another process ({error}); use workers=1"
        ) from None
    # Not fork: a forked onnxruntime or BLAS waits for threads that it left behind.
    pool = ProcessPoolExecutor(min(workers, len(seeds)), child_process.Spawn(), worker.start, (job,))
    try:
        # Those that are played side by side are not torn apart further than the processes are many.
        size = min(AT_ONCE, -(-len(seeds) // workers)) if stage.plays_together(act_of_seed) else 1
        for played in pool.map(worker.play, (seeds[i : i + size] for i in range(0, len(seeds), size))):
            yield from played
    except BrokenProcessPool:
        raise LilliputError(
            f"one of {workers} worker processes ended at once; use workers=1, and {child_process.GUARD}"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
