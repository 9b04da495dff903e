"""The best of several restarts, by no more episodes than it takes to tell them apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.sums import deviation, mean, means

BLOCK = 4
MOST_EPISODES = 16
"""Episodes that each plays at a time, and at most."""

_CLEAR = 1.0
"""Standard errors of the difference between the last that is chosen and the first that is not: what differs by less
than its error after all episodes is hardly worth telling apart.
"""

Play = Callable[[Sequence[int]], Float64[np.ndarray, "restarts n"]]
"""The returns of all restarts on these seeds."""


@final
@dataclass(frozen=True, eq=False)
class Chosen:
    """Those of the highest mean return, the best first, and what the best returned."""

    restarts: tuple[int, ...]
    returns: Float64[np.ndarray, " n"]


def best(n: int, play: Play, seeds: Sequence[int]) -> Chosen:
    """The n of the highest mean return; all play the same seeds, a block at a time.

    >>> best(1, lambda seeds: np.outer([1.0, 3.0, 2.0], np.ones(len(seeds))), range(8)).restarts
    (1,)
    """
    returns = play(seeds[:BLOCK])
    while True:
        order = np.argsort(-means(returns), kind="stable")
        played = returns.shape[1]
        if played >= len(seeds) or n >= len(order) or _clear(returns[order[n - 1]] - returns[order[n]]):
            return Chosen(tuple(int(index) for index in order[:n]), returns[order[0]])
        returns = np.concatenate([returns, play(seeds[played : played + BLOCK])], axis=1)


def _clear(differences: Float64[np.ndarray, " n"]) -> bool:
    return mean(differences) > _CLEAR * deviation(differences) / math.sqrt(len(differences))
