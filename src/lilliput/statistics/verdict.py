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
from lilliput.sums import mean, total

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
    require_finite("verdict", candidates.ravel(), baselines.ravel(), randoms.ravel())
    k, n = candidates.shape
    pairs = [baseline.tobytes() + random.tobytes() for baseline, random in zip(baselines, randoms, strict=True)]
    distinct = {pair: row for row, pair in enumerate(pairs)}
    baselines_above = baselines - randoms
    above = np.concatenate((candidates - randoms, baselines_above[list(distinct.values())]))
    sums, left = shared_dirichlet_means(above, rng, draws)
    references = {
        pair: _reference(sums[k + number], left, baselines[row], randoms[row], 1 - confidence)
        for number, (pair, row) in enumerate(distinct.items())
    }
    found = []
    for row, pair in enumerate(pairs):
        ours, theirs = sums[row], references[pair]
        seen = plausible_range(candidates[row], baselines[row], randoms[row], worst=worst)
        with_worst, with_best = _above_random(seen.worst_episode), _above_random(seen.best_episode)
        difference = ours - keep * theirs.sums
        low = order_statistic(difference + left * (with_worst[0] - keep * with_worst[1]), 1 - confidence, "lower")
        high = order_statistic(difference + left * (with_best[0] - keep * with_best[1]), confidence, "higher")
        ratios = ratio(ours + left * with_worst[0], theirs.with_worst, when_unbounded=-math.inf)
        retention_low = order_statistic(ratios, 1 - confidence, "lower")
        status: Status
        if n < MIN_EPISODES:
            status = "undecided"
        elif not theirs.is_above_random:
            status = "baseline not better than random"
        elif low > 0:
            status = "kept"
        else:
            status = "lost" if high < 0 else "undecided"
        d = above[row] - keep * baselines_above[row]
        bounds = (low, high, retention_low)
        mean_above = mean(baselines_above[row])
        found.append(_planned(status, d, bounds, mean_above, seen.difference(keep), keep, confidence, power))
    return tuple(found)


@dataclass(frozen=True)
class _Reference:
    """What the candidates of one baseline share.

    Attributes:
        sums: the baseline's weighted sum above random in each draw.
        with_worst: its mean in the draws with the episode that speaks most against the candidate.
    """

    sums: Float64[np.ndarray, " draws"]
    with_worst: Float64[np.ndarray, " draws"]
    is_above_random: bool


def _reference(
    sums: Float64[np.ndarray, " draws"],
    left: Float64[np.ndarray, " draws"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    tail: float,
) -> _Reference:
    lowest_above = min(baseline.min(), random.min()) - random.max()
    is_above_random = order_statistic(sums + left * lowest_above, tail, "lower") > 0
    return _Reference(sums, sums + left * float(baseline.max() - random.max()), is_above_random)


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
    estimate = mean(d)
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
    """A quantile as one of the values: np.quantile's, looked for in its tail, which takes a fifth of the time."""
    lower = side == "lower"
    beyond = math.floor((share if lower else 1 - share) * (len(values) - 1))
    sample = values[: len(values) // 20 + 1].copy()
    edge = min(beyond // 10 + 1, len(sample) - 1)
    edge = edge if lower else len(sample) - 1 - edge
    sample.partition(edge)
    # Whatever the sample, all that is beyond its edge is in the tail.
    tail = values.compress(values < sample[edge] if lower else values > sample[edge])
    if len(tail) <= beyond:
        tail = values.copy()
    at = beyond if lower else len(tail) - 1 - beyond
    tail.partition(at)
    return float(tail[at])


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
    centred = pilot - mean(pilot)
    variance = total(centred * centred) / max(1, len(pilot) - 1)
    third = mean(centred * centred * centred)
    lowest = min(lowest, 0.0)
    z_bound, z_power = normal_quantile(1 - confidence), normal_quantile(power)

    def decides(n: int) -> bool:
        middle = n * effect - z_power * math.sqrt(n * variance) + lowest
        spread = math.sqrt(n * (variance + effect**2) + lowest**2)
        skewness = 2 * (n * (effect**3 + 3 * effect * variance + third) + lowest**3) / spread**3
        return middle + spread * (z_bound + skewness * (z_bound**2 - 1) / 6) > 0

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
