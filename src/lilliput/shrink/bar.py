"""What trials are held against, and what their episodes tell of what will be confirmed."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput import paired
from lilliput.shrink.move import chance
from lilliput.sums import deviation, mean

BLOCK = 16
RACE = (16, 32, 64)
"""Episodes from which the chance of a trial counts, from which it may be settled, and that it plays at first."""
_UNSEEN = 0.5
"""Falls that the episodes of a trial may have missed: each takes all that is above random."""
_LOG_WEALTH = 6.0
"""That an acceptance takes: the logarithm of 3 / ALPHA, and what mixing the bets and a misjudged one cost."""


@final
@dataclass(frozen=True, eq=False)
class Bar:
    """What a trial is held against.

    Attributes:
        baseline, random: returns of the baseline and of the random policy on the selection seeds.
        keep: the share of the return to keep.
        episodes: that the confirmation of one finalist can afford.
        block: how many episodes are played at a time.
    """

    baseline: Float64[np.ndarray, " n"]
    random: Float64[np.ndarray, " n"]
    keep: float
    episodes: int = 500
    block: int = BLOCK

    def differences(self, candidate: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
        """Episode by episode c - keep * b - (1 - keep) * r, as a part of the return above random.

        Of no more episodes than the baseline's: what was played before may be more than is compared now.
        """
        n = min(len(candidate), len(self.baseline))
        gap = paired.gap(self.baseline, self.random)
        return paired.differences(candidate[:n], self.baseline[:n], self.random[:n], self.keep) / gap

    def retention(self, candidate: Float64[np.ndarray, " n"]) -> tuple[float, float]:
        """The estimate on these episodes and its standard error."""
        d = self.differences(candidate)
        error = deviation(d) / math.sqrt(len(d)) if len(d) > 1 else 1.0
        return self.keep + mean(d), error

    def margin(self, candidate: Float64[np.ndarray, " n"]) -> float:
        """How far above `keep` the truth has to be to be confirmed within the episodes that can be afforded.

        The best bet on differences of mean m and deviation s grows the logarithm of the wealth by m^2 / 2 s^2 an
        episode (Kelly 1956), and by no more than m / L where one episode can lose L, which is all that is above random;
        it has to reach that of the inverse of alpha, of which a finalist has a part. What is as good as the baseline is
        always worth its confirmation.
        """
        d = self.differences(candidate)
        spread = deviation(d) if len(d) > 1 else 1.0
        needed = max(_LOG_WEALTH / self.episodes, spread * math.sqrt(2 * _LOG_WEALTH / self.episodes))
        return min(needed, 0.8 * (1 - self.keep))

    def sure(self, candidate: Float64[np.ndarray, " n"]) -> float:
        """The chance that it will be confirmed, if half an error is luck: of many that look alike the luckiest looks
        best.
        """
        if len(candidate) < RACE[0]:
            return 0.0
        estimate, error = self.retention(candidate)
        error = max(error, _UNSEEN / len(candidate))
        return chance(estimate - 0.5 * error, error, self.keep + self.margin(candidate))

    def hopeless(self, candidate: Float64[np.ndarray, " n"]) -> bool:
        """Whether more episodes are a waste."""
        estimate, error = self.retention(candidate)
        return estimate + 2 * error + 0.02 < self.keep

    def settled(self, candidate: Float64[np.ndarray, " n"]) -> bool:
        """Whether it is so clearly above or below what it has to reach that the search need not know more."""
        if len(candidate) < RACE[1]:
            return False
        estimate, error = self.retention(candidate)
        above = estimate - self.keep - self.margin(candidate)
        # Falls that were not seen make what looks good worse, and what looks bad no better.
        return above > 4 * max(error, _UNSEEN / len(candidate)) or above < -4 * error
