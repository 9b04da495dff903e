"""Episodes side by side: one inference answers for all of them, and where one ends the next seed begins."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from lilliput.policies.play.lanes import Episode, Lanes

AT_ONCE = 64
"""Episodes side by side: more gain next to nothing."""

_STEPS_A_WORD = 16
"""So many steps apart it is told how far it is."""

Act = Callable[[Any], Any]
"""One observation to one action: a number for Discrete, an array of the space's shape otherwise."""

ActOfSeed = Callable[[int, Any], Act]
"""From an episode's seed and the environment's action space to the act that plays it."""


@runtime_checkable
class Acts(Protocol):
    """What acts in many episodes at once."""

    def begin(self, lane: int, seed: int, action_space: Any) -> None:
        """In that lane another episode begins."""
        ...

    def __call__(self, observations: np.ndarray, lanes: np.ndarray) -> Sequence[Any] | np.ndarray:
        """The actions for the next observation of each of those lanes."""
        ...


@runtime_checkable
class Together(Protocol):
    """An `ActOfSeed` whose episodes may be played side by side: in none of them it knows of the others."""

    def together(self) -> Acts | None:
        """What acts; None where it is anybody's function, which may count its calls."""
        ...


@final
class OneForAll:
    """What remembers nothing, asked about all observations at once."""

    def __init__(self, batch: Callable[[np.ndarray], np.ndarray]) -> None:
        self._batch = batch

    def begin(self, lane: int, seed: int, action_space: Any) -> None:
        """Does nothing: what acts keeps no memory of an episode."""

    def __call__(self, observations: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        """See `Acts`."""
        return self._batch(observations)


@final
class EachItsOwn:
    """An act for every episode."""

    def __init__(self, act_of_seed: ActOfSeed) -> None:
        self._act_of_seed = act_of_seed
        self._acts: dict[int, Act] = {}

    def begin(self, lane: int, seed: int, action_space: Any) -> None:
        """The act of that seed is the lane's."""
        self._acts[lane] = self._act_of_seed(seed, action_space)

    def __call__(self, observations: np.ndarray, lanes: np.ndarray) -> list[Any]:
        """See `Acts`."""
        return [self._acts[lane](x) for lane, x in zip(lanes.tolist(), observations, strict=True)]


def play_together(
    lanes: Lanes,
    acts: Acts,
    seeds: Sequence[int],
    watch: bool = False,
    told: Callable[[int], None] = lambda episodes: None,
) -> Iterator[tuple[Episode, list[np.ndarray]]]:
    """The episode of each seed in their order, each as soon as those before it are over; with what it observed.

    Args:
        lanes: where they are played.
        acts: what plays.
        seeds: of the episodes.
        watch: whether observations are kept at all.
        told: now and then how many episodes are played, those that go on counted by their steps.

    Raises:
        OutOfTime: the deadline passed.
        LilliputError: as `Lanes.step` does.
    """
    place = np.arange(len(lanes))  # the place of its seed, by lane
    done: dict[int, tuple[Episode, list[np.ndarray]]] = {}
    seen: list[list[np.ndarray]] = [[] for _ in range(len(lanes))]
    n_begun = n_given = n_steps = 0

    def begin(which: Sequence[int]) -> None:
        nonlocal n_begun
        chosen = seeds[n_begun : n_begun + len(which)]
        for lane, seed in zip(which, chosen, strict=False):
            place[lane], seen[lane] = n_begun, []
            acts.begin(lane, seed, lanes.action_space)
            n_begun += 1
        if chosen:
            lanes.begin(which[: len(chosen)], chosen)

    begin(range(len(lanes)))
    going = np.arange(n_begun, dtype=np.int32)
    while len(going):
        observations = lanes.observations[going] if watch or len(going) < len(lanes) else lanes.observations
        if watch:
            for lane, x in zip(going.tolist(), observations, strict=True):
                seen[lane].append(x)
        lanes.step(going, acts(observations, going))
        n_steps += 1
        if n_steps % _STEPS_A_WORD == 0:
            told(n_given + len(done) + int(lanes.lengths[going].sum() / lanes.limit))
        ended = going[lanes.over[going]].tolist()
        for lane in ended:
            terminated = bool(lanes.terminated[lane])
            at, total, length = int(place[lane]), float(lanes.totals[lane]), int(lanes.lengths[lane])
            done[at] = Episode(seeds[at], total, length, terminated, not terminated, None), seen[lane]
        if ended:
            n_before = n_begun
            begin(ended)
            going = np.setdiff1d(going, ended[n_begun - n_before :])
        while n_given in done:
            yield done.pop(n_given)
            n_given += 1
