"""Whether a candidate keeps a given share of the baseline's return, from a number of episodes fixed beforehand.

Looking, playing on and looking again is not covered by these bounds: for that there is `confirmation`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.statistics.quantile import normal_quantile, require_finite
from lilliput.statistics.retention import ratio_low
from lilliput.statistics.worst_case import dirichlet_means, is_above_random, plausible_range

Status = Literal["kept", "lost", "undecided", "baseline not better than random"]

# The plausible range is read off the sample; from fewer episodes it is not to be trusted, whatever they show.
MIN_EPISODES = 10

_MOST_EPISODES = 10_000_000


@dataclass(frozen=True)
class Verdict:
    """The decision at `keep`: mean of d = c - keep * b - (1 - keep) * r, its one-sided bounds, and the plan.

    kept: `low` > 0; lost: `high` < 0, each one-sided at `confidence`. `retention_low` is that bound as a share, what is
    surely kept (-inf: nothing). `lowest` is the difference that one unseen bad episode was assumed able to make.
    `episodes_needed` is the number that decides with 80 % power (by default) if the candidate is as good as the
    baseline; where as many were played in vain, if the mean is what was seen. None: no number does.
    """

    status: Status
    keep: float
    n: int
    estimate: float
    low: float
    high: float
    retention_low: float
    confidence: float
    lowest: float
    episodes_needed: int | None


def verdict(
    candidate: Float64[np.ndarray, " n"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    keep: float,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    power: float = 0.8,
    worst: float | None = None,
    draws: int = 10_000,
) -> Verdict:
    """The verdict over the same episode seeds; `worst` is the lowest return that an episode could have, if known.

    Equal, noiseless returns are no exception: some 60 perfect episodes are what excludes one fall in 20 with 95 %
    confidence, and at keep = 0.95 one fall in 20 is what may be lost.
    """
    require_finite("verdict", candidate, baseline, random)
    require_share("verdict", keep)
    n = len(candidate)
    d = candidate - keep * baseline - (1 - keep) * random
    seen = plausible_range(candidate, baseline, random, worst=worst)
    lowest, highest = seen.difference(keep)
    episodes, weights = np.column_stack((candidate, baseline, random)), np.array([1.0, -keep, keep - 1.0])
    with_worst = dirichlet_means(episodes, seen.worst_episode, rng, draws)
    with_best = dirichlet_means(episodes, seen.best_episode, rng, draws)
    low = float(np.quantile(with_worst @ weights, 1 - confidence, method="lower"))
    high = float(np.quantile(with_best @ weights, confidence, method="higher"))
    status: Status
    if n < MIN_EPISODES:
        status = "undecided"
    elif not is_above_random(baseline, random, confidence=confidence, rng=rng, draws=draws):
        status = "baseline not better than random"
    elif low > 0:
        status = "kept"
    else:
        status = "lost" if high < 0 else "undecided"
    estimate = float(d.mean())
    at_equal_return = (1 - keep) * float(baseline.mean() - random.mean())
    needed = episodes_needed(d, at_equal_return, lowest=lowest, confidence=confidence, power=power)
    if status == "undecided" and needed is not None and needed <= n:
        signed, extreme = (d, lowest) if estimate > 0 else (-d, -highest)
        needed = episodes_needed(signed, abs(estimate), lowest=extreme, confidence=confidence, power=power)
    if status == "baseline not better than random":
        needed = None
    retention_low = ratio_low(with_worst, 1 - confidence)
    return Verdict(status, keep, n, estimate, low, high, retention_low, confidence, lowest, needed)


def episodes_needed(
    pilot: Float64[np.ndarray, " n"],
    effect: float,
    *,
    lowest: float,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """How many paired episodes put the lower bound above 0 with the given power, if the mean difference is `effect`.

    The pilot gives the spread of the differences only: falls that it did not show are not planned for. The bound is a
    weighted sum of n + 1 exponential variables, taken by its first three moments (Cornish and Fisher 1938). None where
    the effect is not positive or ten million do not do.
    """
    require_finite("episodes_needed", pilot)
    if not effect > 0 or not math.isfinite(lowest):
        return None
    centred = pilot - pilot.mean()
    variance = float(centred @ centred) / max(1, len(pilot) - 1)
    third = float((centred**3).mean())
    lowest = min(lowest, 0.0)
    z_bound, z_power = normal_quantile(1 - confidence), normal_quantile(power)

    def decides(n: int) -> bool:
        mean = n * effect - z_power * math.sqrt(n * variance) + lowest
        spread = math.sqrt(n * (variance + effect**2) + lowest**2)
        skewness = 2 * (n * (effect**3 + 3 * effect * variance + third) + lowest**3) / spread**3
        return mean + spread * (z_bound + skewness * (z_bound**2 - 1) / 6) > 0

    high = MIN_EPISODES
    while not decides(high):
        high *= 2
        if high > _MOST_EPISODES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return max(high, MIN_EPISODES)


def require_share(caller: str, keep: float) -> None:
    if not 0 < keep <= 1:
        raise LilliputError(f"{caller}: keep is {keep}; it must be in (0, 1]")
