"""The best of several restarts, by no more episodes than it takes to tell them apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.sums import deviation, mean, means, total

BLOCK = 4
MOST_EPISODES = 16
"""Episodes that each plays at a time, and at most."""

_MOST_ROWS = 96
"""Environments that are open at once, or one for each restart where these are more."""

_CLEAR = 1.0
"""Standard errors of the difference between the last that is chosen and the first that is not: what differs by less
than its error after all episodes is hardly worth telling apart.
"""

_LUCK = 1.5
"""Times the variance that the episodes alone would give the restarts' means: what is below is luck in most cases."""

Play = Callable[[Sequence[int], Sequence[int]], Float64[np.ndarray, "restarts n"]]
"""The returns of these restarts on these seeds."""


@final
@dataclass(frozen=True, eq=False)
class Chosen:
    """Those of the highest mean return, the best first, and what the best returned."""

    restarts: tuple[int, ...]
    returns: Float64[np.ndarray, " n"]


def rows_for(total: int) -> int:
    """How many episodes `best` has played at once, of so many restarts."""
    return min(BLOCK * total, max(_MOST_ROWS, total))


def best(
    n: int, total: int, play: Play, seeds: Sequence[int], told: Callable[[int, int], None] = lambda *_: None
) -> Chosen:
    """The n of the highest mean return, of so many: all that are still in play the same seeds, a block at a time.

    After each block the worse half is left (sequential halving: Karnin, Koren and Somekh 2013), and those that go on
    play as many episodes together as all did in the first; two between which it lies need play no more than it takes
    to tell them apart, and all end where they differ by no more than luck. Of equal ones the first is better. `told`
    is called with how many episodes were played, and how many that may become.

    >>> mean = np.array([1.0, 3.0, 2.0])
    >>> best(1, 3, lambda which, seeds: np.outer(mean[list(which)], np.ones(len(seeds))), range(8)).restarts
    (1,)
    """
    done, of, rows = 0, _most_played(n, total, len(seeds)), rows_for(total)

    def played_by(which: Sequence[int], some: Sequence[int]) -> Float64[np.ndarray, "restarts n"]:
        nonlocal done
        parts, at_once = [], max(1, rows // len(which))
        for first in range(0, len(some), at_once):
            parts.append(play(which, some[first : first + at_once]))
            done += parts[-1].size
            told(done, of)
        return np.concatenate(parts, axis=1)

    left, returns = np.arange(total), played_by(range(total), seeds[:BLOCK])
    while True:
        order = np.argsort(-means(returns), kind="stable")
        left, returns = left[order], returns[order]
        played = returns.shape[1]
        clear = n + 1 == len(left) and _clear(returns[n - 1] - returns[n])
        if played >= len(seeds) or n >= len(left) or clear or _alike(returns):
            return Chosen(tuple(int(index) for index in left[:n]), returns[0])
        half = max(n + 1, -(-len(left) // 2))
        left, returns = left[:half], returns[:half]
        more = seeds[played : played + BLOCK * total // half]
        returns = np.concatenate([returns, played_by(left.tolist(), more)], axis=1)


def _most_played(n: int, total: int, episodes: int) -> int:
    """How many episodes `best` plays where it stops for nothing: 108 for one of 12 by up to 16."""
    left, each, count = total, min(BLOCK, episodes), total * min(BLOCK, episodes)
    while each < episodes and n < left:
        left = max(n + 1, -(-left // 2))
        more = min(BLOCK * total // left, episodes - each)
        each, count = each + more, count + left * more
    return count


def _clear(differences: Float64[np.ndarray, " n"]) -> bool:
    return mean(differences) > _CLEAR * deviation(differences) / math.sqrt(len(differences))


def _alike(returns: Float64[np.ndarray, "restarts n"]) -> bool:
    """Whether restarts differ by no more than luck: an analysis of variance with a part for each seed of its own."""
    restarts, n = returns.shape
    if restarts < 3 or n < 2:
        return False
    every = means(returns)
    rest = returns - every[:, None] - (means(returns.T) - mean(every))[None]
    noise = total(rest.reshape(-1) ** 2) / ((restarts - 1) * (n - 1))
    return n * deviation(every) ** 2 <= _LUCK * noise
