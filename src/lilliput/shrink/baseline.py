"""What trials are held against, played: the baseline and the random policy on the first selection seeds."""

import numpy as np

from lilliput.policies.play import OutOfTime
from lilliput.shrink.bar import BLOCK, Bar
from lilliput.shrink.request import Place
from lilliput.shrink.trial import (
    FEW_EPISODES,
    MOST_EPISODES,
    Trial,
    attempt,
    known,
    play_random,
    seconds_an_episode,
)
from lilliput.shrink.workers import Workers, result

_BAR_PART = 0.06
_SLOW_BAR_PART = 0.25
"""Of the time, for what trials are held against where episodes take long."""


def bar_of(place: Place, workers: Workers, until: float) -> tuple[Bar, float]:
    """What trials are held against, and the seconds that an episode takes: fewer episodes where they are slow.

    Raises:
        OutOfTime: not even two episodes were over by then, in `time.time()` seconds.
    """
    trials, random = known(place)
    if "" in trials and min(len(random), len(trials[""].returns)) >= FEW_EPISODES:
        baseline = trials[""]
        return _bar(place, baseline, random, BLOCK), baseline.seconds / len(baseline.returns)
    try:
        one = result(workers.submit(seconds_an_episode, place, until))
    except OutOfTime:
        raise _too_slow(place) from None
    budget = _SLOW_BAR_PART * place.request.within_s * (1.0 if place.request.workers > 1 else 0.5)
    affordable = max(2, int(budget / max(one, 1e-9)))
    if affordable < FEW_EPISODES:
        baseline, random = _played(place, workers, affordable, until, 2)
        if min(len(baseline.returns), len(random)) < 2:
            raise _too_slow(place)
        return _bar(place, baseline, random, 2), one
    baseline, random = _played(place, workers, FEW_EPISODES, until, BLOCK)
    if baseline.seconds / FEW_EPISODES * MOST_EPISODES < _BAR_PART * place.request.within_s:
        baseline, random = _played(place, workers, MOST_EPISODES, until, BLOCK)
    if min(len(baseline.returns), len(random)) < 2:
        raise _too_slow(place)
    return _bar(place, baseline, random, BLOCK), baseline.seconds / len(baseline.returns)


def _bar(place: Place, baseline: Trial, random: np.ndarray, block: int) -> Bar:
    n = min(len(baseline.returns), len(random))
    return Bar(baseline.returns[:n], random[:n], place.request.keep, block=block)


def _too_slow(place: Place) -> OutOfTime:
    return OutOfTime(
        f"an episode of {place.request.task.id} takes too long for {place.request.within_s:g} s: not two of them were "
        "over; give more time (--within) or cut them (--max-steps)"
    )


def _played(place: Place, workers: Workers, episodes: int, until: float, block: int) -> tuple[Trial, np.ndarray]:
    playing = workers.submit(attempt, place, "", until, None, episodes, block)
    random = result(workers.submit(play_random, place, episodes, until))
    return result(playing), random
