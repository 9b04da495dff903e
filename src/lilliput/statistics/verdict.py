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
from lilliput.statistics.retention import ratio
from lilliput.statistics.worst_case import plausible_range, shared_dirichlet_means

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
    settings = {"confidence": confidence, "power": power, "worst": worst, "draws": draws}
    return verdicts(candidate[None], baseline[None], random[None], keep, rng=rng, **settings)[0]


def verdicts(
    candidates: Float64[np.ndarray, "k n"],
    baselines: Float64[np.ndarray, "k n"],
    randoms: Float64[np.ndarray, "k n"],
    keep: float,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    power: float = 0.8,
    worst: float | None = None,
    draws: int = 10_000,
) -> tuple[Verdict, ...]:
    """The verdict of each row, which does not depend on the others: all bounds are taken under the same random weights.

    Each bound is one-sided and holds alone, so they may share their weights.
    """
    require_share("verdict", keep)
    for episodes in zip(candidates, baselines, randoms, strict=True):
        require_finite("verdict", *episodes)
    k, n = candidates.shape
    above = np.concatenate((candidates - randoms, baselines - randoms))
    sums, left = shared_dirichlet_means(above, rng, draws)
    ranges = [plausible_range(*rows, worst=worst) for rows in zip(candidates, baselines, randoms, strict=True)]
    found = []
    above_random: dict[bytes, bool] = {}
    for row, seen in enumerate(ranges):
        ours, theirs = sums[row], sums[k + row]
        with_worst = _above_random(seen.worst_episode)
        with_best = _above_random(seen.best_episode)
        difference = ours - keep * theirs
        low = order_statistic(difference + left * (with_worst[0] - keep * with_worst[1]), 1 - confidence, "lower")
        high = order_statistic(difference + left * (with_best[0] - keep * with_best[1]), confidence, "higher")
        pair = baselines[row].tobytes() + randoms[row].tobytes()
        if pair not in above_random:  # candidates of one baseline share it
            lowest_above = min(baselines[row].min(), randoms[row].min()) - randoms[row].max()
            above_random[pair] = order_statistic(theirs + left * lowest_above, 1 - confidence, "lower") > 0
        ratios = ratio(ours + left * with_worst[0], theirs + left * with_worst[1], when_unbounded=-math.inf)
        retention_low = order_statistic(ratios, 1 - confidence, "lower")
        status: Status
        if n < MIN_EPISODES:
            status = "undecided"
        elif not above_random[pair]:
            status = "baseline not better than random"
        elif low > 0:
            status = "kept"
        else:
            status = "lost" if high < 0 else "undecided"
        d = above[row] - keep * above[k + row]
        bounds = (low, high, retention_low)
        baseline_above = float(above[k + row].mean())
        found.append(_planned(status, d, bounds, baseline_above, seen.difference(keep), keep, confidence, power))
    return tuple(found)


def _planned(
    status: Status,
    d: Float64[np.ndarray, " n"],
    bounds: tuple[float, float, float],
    baseline_above: float,
    extremes: tuple[float, float],
    keep: float,
    confidence: float,
    power: float,
) -> Verdict:
    """The verdict with the number of episodes that would decide."""
    (low, high, retention_low), (lowest, highest), n = bounds, extremes, len(d)
    estimate = float(d.mean())
    needed = episodes_needed(d, (1 - keep) * baseline_above, lowest=lowest, confidence=confidence, power=power)
    if status == "undecided" and needed is not None and needed <= n:
        signed, extreme = (d, lowest) if estimate > 0 else (-d, -highest)
        needed = episodes_needed(signed, abs(estimate), lowest=extreme, confidence=confidence, power=power)
    if status == "baseline not better than random":
        needed = None
    return Verdict(status, keep, n, estimate, low, high, retention_low, confidence, lowest, needed)


def _above_random(episode: Float64[np.ndarray, " 3"]) -> tuple[float, float]:
    """Candidate and baseline of an episode, each less the random policy."""
    candidate, baseline, random = episode
    return float(candidate - random), float(baseline - random)


def order_statistic(values: Float64[np.ndarray, " draws"], share: float, side: Literal["lower", "higher"]) -> float:
    """A quantile as one of the values: np.quantile's, looked for in its tail, which takes a quarter of the time."""
    if side == "higher":
        return -order_statistic(-values, 1 - share, "lower")
    at = math.floor(share * (len(values) - 1))
    sample = values[::20]
    edge = min(2 * at // 20 + 1, len(sample) - 1)
    tail = values[values < np.partition(sample, edge)[edge]]  # whatever the sample, all that is below is there
    return float(np.partition(tail if at < len(tail) else values, at)[at])


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
