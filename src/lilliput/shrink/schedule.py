"""How the time of a shrink is divided between the search and the confirmation of what it found."""

from dataclasses import dataclass, replace
from typing import final

from lilliput.shrink import confirm
from lilliput.shrink.bar import RACE, Bar
from lilliput.shrink.request import Place, Request
from lilliput.shrink.searched import Searched
from lilliput.statistics import plan_confirmation

_STARTING_S = 15.0
_LEAST_PART = 0.15
"""Of the time, for the confirmation."""
_CONFIRMING = 1.2 * 3
"""Seconds of a confirmed episode over those of a selection episode: baseline and random policy play each as well."""


@final
@dataclass(frozen=True)
class Schedule:
    """When the search ends, in `time.time()` seconds.

    Attributes:
        request: what is asked.
        bar: what trials are held against, and how many episodes the first finalist can play.
        episode_s: seconds of an episode.
        started, until: of the whole command, less what its end takes.
        confirming: seconds kept for the confirmation as long as no finalist is known.
        closed: the search has nothing to do: the order of confirmation is fixed, or there is too little time for one.
    """

    request: Request
    bar: Bar
    episode_s: float
    started: float
    until: float
    confirming: float
    closed: bool

    def end(self, searched: Searched) -> float:
        """The end after what the search found so far."""
        if self.closed:
            return self.started
        return self.until - _reserve(searched, self.request, self.confirming, self.episode_s)


def schedule(place: Place, bar: Bar, episode_s: float, started: float, until: float) -> Schedule:
    """The division of the time from `started` until `until`."""
    request, few = place.request, too_few(bar)
    confirming = 0.0 if few else _at_first(request, bar, episode_s)
    bar = replace(bar, episodes=_affordable(confirming, request, episode_s))
    closed = few or place.here.confirmation.exists()
    return Schedule(request, bar, episode_s, started, until, confirming, closed)


def too_few(bar: Bar) -> bool:
    """Whether the baseline played too few episodes to hold trials against."""
    return len(bar.baseline) < RACE[0]


def least(episode_s: float, request: Request) -> float:
    """Seconds within which something may be found where episodes are slow: baseline, trials and a confirmation."""
    return (RACE[0] * 4 + 3 * confirm.SHOWN_EPISODES) * episode_s / request.workers


def _at_first(request: Request, bar: Bar, episode_s: float) -> float:
    """Seconds kept for the confirmation of two finalists as long as none is known."""
    plan = plan_confirmation(
        bar.baseline,
        bar.baseline,
        bar.random,
        request.keep,
        max_episodes=confirm.MOST_EPISODES,
        alpha=confirm.ALPHA / 3,
    )
    # Twice what a candidate as good as the baseline takes, for each of three: one that keeps a little less is smaller.
    episodes = 6 * (plan.episodes_needed or confirm.MOST_EPISODES) + 60
    confirming = _STARTING_S + _CONFIRMING * episodes * episode_s / request.workers
    return min(max(confirming, _LEAST_PART * request.within_s), 0.4 * request.within_s)


def _reserve(searched: Searched, request: Request, confirming: float, episode_s: float) -> float:
    """Seconds kept for the confirmation of what would be the first two finalists now, if they go on as they did."""
    episodes = confirm.foreseen(searched)
    if not episodes:
        return confirming
    seconds = _STARTING_S + 1.2 * _CONFIRMING * episodes * episode_s / request.workers
    return min(max(seconds, _LEAST_PART * request.within_s), 0.4 * request.within_s)


def _affordable(confirming: float, request: Request, episode_s: float) -> int:
    """Episodes that the first finalist can play: half of the time is its own."""
    episodes = (confirming - _STARTING_S) / 2 * request.workers / (_CONFIRMING * episode_s)
    return int(min(max(episodes, 4 * confirm.BLOCK), confirm.MOST_EPISODES))
