"""Aggregates over tasks and training runs, as Agarwal et al. 2021 (arXiv:2108.13264) define them.

`strata` holds one array a task (an environment, a policy), with one normalized score a run; tasks may have different
numbers of runs. The bootstrap draws runs within each task, never tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.statistics.quantile import Interval, require_finite
from lilliput.sums import mean, means, products

Strata = Sequence[Float64[np.ndarray, " _"]]


@dataclass(frozen=True)
class PerformanceProfile:
    """The share of runs that score above each threshold, tasks counting equally, with its pointwise interval."""

    thresholds: Float64[np.ndarray, " thresholds"]
    estimate: Float64[np.ndarray, " thresholds"]
    low: Float64[np.ndarray, " thresholds"]
    high: Float64[np.ndarray, " thresholds"]


def interquartile_mean(scores: Float64[np.ndarray, "*draws n"]) -> Float64[np.ndarray, "*draws"]:
    """Mean of the middle half along the last axis; floor(n / 4) scores are dropped at each end.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])))
    1.5
    """
    n = scores.shape[-1]
    cut = n // 4
    return np.asarray(means(np.sort(scores, axis=-1)[..., cut : n - cut]))


def performance_profile(
    strata: Strata,
    thresholds: Float64[np.ndarray, " thresholds"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    draws: int = 2_000,
) -> PerformanceProfile:
    """The run-score distribution: how large a share of the runs does better than each threshold."""
    shares = [_share_above(_checked("performance_profile", stratum), thresholds) for stratum in strata]
    replicates = sum(_share_above(_resampled(stratum, rng, draws), thresholds) for stratum in strata) / len(strata)
    ends = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return PerformanceProfile(thresholds, means(np.stack(shares, axis=-1)), ends[0], ends[1])


def probability_of_improvement(
    ours: Strata,
    theirs: Strata,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    draws: int = 2_000,
) -> Interval:
    """How likely a run of ours beats an independent run of theirs on a random task; a tie counts one half."""
    _require_same_tasks("probability_of_improvement", ours, theirs)
    estimates, replicates = [], np.zeros(draws)
    for x, y in zip(ours, theirs, strict=True):
        for stratum in (x, y):
            require_finite("probability_of_improvement", stratum)
        wins = _wins(x[:, None], y[None])
        estimates.append(mean(wins.ravel()))
        # Counting how often each run was drawn makes a replicate a bilinear form in the table of wins.
        left, right = _draw_shares(len(x), rng, draws), _draw_shares(len(y), rng, draws)
        replicates += len(y) * means(products(left, wins.T) * right) / len(ours)
    return _percentiles(mean(estimates), replicates, confidence)


def _require_same_tasks(caller: str, ours: Strata, theirs: Strata) -> None:
    if len(ours) != len(theirs) or not ours:
        raise LilliputError(
            f"{caller}: {len(ours)} tasks against {len(theirs)}; give the same tasks, at least one, to both"
        )


def _checked(caller: str, scores: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    require_finite(caller, scores)
    return scores


def _resampled(scores: Float64[np.ndarray, " n"], rng: np.random.Generator, draws: int) -> Float64[np.ndarray, "d n"]:
    return scores[rng.integers(0, len(scores), (draws, len(scores)))]


def _draw_shares(n: int, rng: np.random.Generator, draws: int) -> Float64[np.ndarray, "d n"]:
    return rng.multinomial(n, np.full(n, 1 / n), draws) / n


def _wins(x: Float64[np.ndarray, "*x"], y: Float64[np.ndarray, "*y"]) -> Float64[np.ndarray, "*wins"]:
    return (x > y) + 0.5 * (x == y)


def _share_above(
    scores: Float64[np.ndarray, "*draws n"], thresholds: Float64[np.ndarray, " thresholds"]
) -> Float64[np.ndarray, "*draws thresholds"]:
    """Share of the scores above each threshold, one threshold at a time to keep the arrays small."""
    return np.stack(
        [np.count_nonzero(scores > threshold, axis=-1) / scores.shape[-1] for threshold in thresholds], axis=-1
    )


def _percentiles(estimate: float, replicates: Float64[np.ndarray, " draws"], confidence: float) -> Interval:
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))
