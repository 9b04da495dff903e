"""Observations to calibrate on: the policy's own, or from one of the other sources that studies have used."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.play.acting import Beginning, RandomPolicy, SameAct, begun
from lilliput.policies.play.environment import EnvironmentSpec, observation_space_of
from lilliput.policies.play.episode import Progress, Stage, act_and_space, checked_seeds
from lilliput.policies.play.together import Act, ActOfSeed, Acts, EachItsOwn
from lilliput.policies.policy import Policy

Source = Literal["policy", "noisy_policy", "random_policy", "first_steps", "gaussian"]

SOURCES: tuple[Source, ...] = get_args(Source)
"""Whose observations: the policy's own; the policy's under action noise; the uniform-random policy's; the first ones of
one episode of the policy, and no more than it has; numbers from N(0, 1) that no environment gave."""

NOISE = 0.1
"""Of `noisy_policy`: the standard deviation as a part of half the action range; the chance of a random choice."""

MIN_EPISODES = 10
MAX_EPISODES = 100_000


def collect(
    act: Act | Policy,
    environment: str,
    n_observations: int,
    seeds: Iterable[int],
    rng: np.random.Generator,
    *,
    source: str = "policy",
    wrappers: tuple[str, ...] = (),
    environment_kwargs: Mapping[str, Any] | None = None,
    observation_space: spaces.ObservationSpace | None = None,
    max_steps: int | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Float32[np.ndarray, "n ..."] | UInt8[np.ndarray, "n ..."]:
    """Observations as the policy gets them, in the order in which they were seen.

    Whole episodes of those seeds are played, at least `MIN_EPISODES` and as many as it takes; from all of their
    observations `n_observations` are drawn, each at most once. Images stay uint8. `seeds` may be endless:
    `SeedPlan.stream` gives some that are played nowhere else.

    Raises:
        OutOfTime: `deadline`, in `time.monotonic()` seconds, has passed.
        LilliputError: as `episodes` does.
    """
    if n_observations < 1:
        raise LilliputError(f"n_observations is {n_observations}; it must be at least 1")
    spec = EnvironmentSpec(environment, tuple(wrappers), dict(environment_kwargs or {}), max_steps)
    plain, policy_space = act_and_space(act, spec, observation_space)
    match source:
        case "gaussian":
            return _gaussian(spec, policy_space, n_observations, rng)
        case "first_steps":
            return _first_steps(
                Stage(spec, policy_space, deadline),
                SameAct(plain),
                n_observations,
                checked_seeds(itertools.islice(seeds, 1))[0],
            )
    act_of_seed = _act_of_seed(source, plain)
    return _sample(Stage(spec, policy_space, deadline), act_of_seed, n_observations, seeds, rng, progress)


def collect_episodes(
    act: Act | Policy,
    environment: EnvironmentSpec,
    n_observations: int,
    seeds: Iterable[int],
    *,
    source: str = "policy",
    deadline: float | None = None,
) -> tuple[np.ndarray, ...]:
    """The observations of whole episodes in their order, at least `MIN_EPISODES` and so many observations in all.

    Raises:
        OutOfTime: `deadline`, in `time.monotonic()` seconds, has passed.
        LilliputError: as `episodes` does, or a source that has no episodes.
    """
    plain, policy_space = act_and_space(act, environment, None)
    act_of_seed, found = _act_of_seed(source, plain), list[np.ndarray]()
    with Stage(environment, policy_space, deadline) as stage:
        for seen in _watched(stage, act_of_seed, seeds):
            found.append(np.stack(seen))
            if len(found) >= MIN_EPISODES and sum(map(len, found)) >= n_observations:
                break
    return tuple(found)


def _act_of_seed(source: str, act: Act | Beginning) -> ActOfSeed:
    match source:
        case "policy":
            return SameAct(act)
        case "noisy_policy":
            return NoisyPolicy(act)
        case "random_policy":
            return RandomPolicy()
        case _:
            raise LilliputError(f"calibration source {source!r} is not known; allowed: {', '.join(SOURCES)}")


@final
@dataclass(frozen=True)
class NoisyPolicy:
    """For each episode's seed the act under noise: Gaussian on numbers, else now and then any choice."""

    act: Act | Beginning

    def __call__(self, seed: int, action_space: Any) -> Act:
        from gymnasium.spaces import Box

        act, space = begun(self.act, seed), copy.deepcopy(action_space)
        children = np.random.SeedSequence(seed, spawn_key=(2,)).generate_state(2)
        space.seed(int(children[0]))
        rng = np.random.default_rng(int(children[1]))
        if not isinstance(space, Box):
            return lambda observation: space.sample() if rng.random() < NOISE else act(observation)
        width = (
            np.where(np.isfinite(space.high) & np.isfinite(space.low), space.high.astype(np.float64) - space.low, 2.0)
            / 2
        )

        def noisy(observation: Any) -> np.ndarray:
            action = np.asarray(act(observation), np.float64)
            return np.clip(action + NOISE * width * rng.standard_normal(space.shape), space.low, space.high)

        return noisy

    def together(self) -> Acts | None:
        """See `Together`."""
        return EachItsOwn(self) if isinstance(self.act, Beginning) else None


def _sample(
    stage: Stage,
    act_of_seed: ActOfSeed,
    n: int,
    seeds: Iterable[int],
    rng: np.random.Generator,
    progress: Progress | None,
) -> np.ndarray:
    # The n smallest of one random key an observation are a uniform draw, and no more than n need be kept.
    kept: list[np.ndarray] = []
    keys = np.zeros(0)
    n_seen = 0
    with stage:
        for n_episodes, seen in enumerate(_watched(stage, act_of_seed, seeds), 1):
            n_seen += len(seen)
            kept, keys = kept + seen, np.concatenate([keys, rng.random(len(seen))])
            if len(kept) > n:
                smallest = np.sort(np.argpartition(keys, n - 1)[:n])
                kept, keys = [kept[i] for i in smallest], keys[smallest]
            if progress is not None:
                progress(min(n_seen, n), n)
            if n_episodes >= MIN_EPISODES and n_seen >= n:
                break
    if n_seen < n:
        raise LilliputError(f"the episodes gave only {n_seen} of {n} observations; give more seeds or ask for fewer")
    return np.stack(kept)


def _watched(stage: Stage, act_of_seed: ActOfSeed, seeds: Iterable[int]) -> Iterator[list[np.ndarray]]:
    """What is observed in one episode after another; the first ones side by side, since that many are wanted."""
    every = itertools.islice(seeds, MAX_EPISODES)
    while some := tuple(itertools.islice(every, MIN_EPISODES)):
        for _, seen in stage.play_all(some, act_of_seed, watch=True):
            yield seen


def _first_steps(stage: Stage, act_of_seed: ActOfSeed, n: int, seed: int) -> np.ndarray:
    seen: list[np.ndarray] = []
    spec = stage.environment
    short = dataclasses.replace(spec, max_steps=min(n, spec.max_steps or n))
    with Stage(short, stage.observation_space, stage.deadline) as first:
        first.play(seed, act_of_seed, seen)
    return np.stack(seen)


def _gaussian(
    spec: EnvironmentSpec, policy_space: spaces.ObservationSpace | None, n: int, rng: np.random.Generator
) -> Float32[np.ndarray, "n ..."]:
    made = spec.make()
    space = policy_space if policy_space is not None else observation_space_of(made)
    made.close()
    if isinstance(space, spaces.Box) and space.dtype == "uint8":
        raise LilliputError("calibration source gaussian: the observations are images; use policy or random_policy")
    return rng.standard_normal((n, *spaces.input_shape(space)), np.float32)
