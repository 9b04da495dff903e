"""Bounds on a mean that allow for an outcome that the sample did not show.

A policy that falls once in 50 episodes shows no fall in 36 % of all samples of 50. No interval made of the sample alone
(t, bootstrap) can know of it: a t-test at the margin then accepts in a third of the cases instead of 5 %. Here each
bound gets one more observation, at the worst outcome that is plausible, with a random weight: the weighted means of
n + 1 values under Dirichlet(1, ..., 1) weights, whose quantile is Gaffke's bound (Gaffke 2005; Learned-Miller and
Thomas, arXiv:1905.06208). For two-valued data it is the exact Clopper-Pearson bound; for n equal values the extra
weight is 1 - (1 - confidence)^(1/n), the rule of three; for large samples it becomes the normal interval. That it
covers for every distribution within the plausible range is a conjecture without a known exception; the tests simulate
it. The sequential decision (`confirmation`) rests on a proven bound instead.

The assumption: no episode ends below the lowest return seen from candidate, baseline or random policy on these seeds
(or a `worst` that the caller knows), and otherwise baseline and random policy stay within what they showed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lilliput.statistics.quantile import require_finite
from lilliput.sums import products

# About 64 MB of exponential variates or indices at a time.
_CHUNK = 8_000_000


@dataclass(frozen=True)
class PlausibleRange:
    """The extremes that one more paired episode could have."""

    candidate_low: float
    candidate_high: float
    baseline_low: float
    baseline_high: float
    random_low: float
    random_high: float

    def difference(self, keep: float) -> tuple[float, float]:
        """Lowest and highest c - keep * b - (1 - keep) * r within the range, for keep >= 0; 0 lies strictly between."""
        lowest, highest = self.differences(np.array([keep], np.float64))
        return float(lowest[0]), float(highest[0])

    def differences(
        self, keeps: Float64[np.ndarray, " shares"]
    ) -> tuple[Float64[np.ndarray, " shares"], Float64[np.ndarray, " shares"]]:
        """The same for each of several shares."""
        random = (1 - keeps) * self.random_low, (1 - keeps) * self.random_high
        slack = 1e-6 * (self.candidate_high - self.candidate_low)
        return (
            np.minimum(-slack, self.candidate_low - keeps * self.baseline_high - np.maximum(*random)),
            np.maximum(slack, self.candidate_high - keeps * self.baseline_low - np.minimum(*random)),
        )

    @property
    def worst_episode(self) -> Float64[np.ndarray, " 3"]:
        """The returns (c, b, r) that speak most against the candidate."""
        return np.array([self.candidate_low, self.baseline_high, self.random_high])

    @property
    def best_episode(self) -> Float64[np.ndarray, " 3"]:
        """The returns (c, b, r) that speak most for the candidate."""
        return np.array([self.candidate_high, self.baseline_low, self.random_low])


def plausible_range(
    candidate: Float64[np.ndarray, " n"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    *,
    worst: float | None = None,
) -> PlausibleRange:
    """The range that the three samples span; the baseline, too, may once fall as low as anything seen.

    `worst` replaces the lowest return seen, unless candidate or baseline went below it and so showed it to be wrong.
    """
    require_finite("plausible_range", candidate, baseline, random)
    everything = np.concatenate((candidate, baseline, random))
    lowest = float(everything.min())
    if worst is not None:
        lowest = min(worst, float(candidate.min()), float(baseline.min()))
    return PlausibleRange(
        candidate_low=lowest,
        candidate_high=float(everything.max()),
        baseline_low=lowest,
        baseline_high=float(baseline.max()),
        random_low=float(random.min()),
        random_high=float(random.max()),
    )


def dirichlet_means(
    values: Float64[np.ndarray, "n columns"],
    extreme: Float64[np.ndarray, " columns"],
    rng: np.random.Generator,
    draws: int,
) -> Float64[np.ndarray, "draws columns"]:
    """Weighted means of the rows and one extreme row, under random Dirichlet(1, ..., 1) weights."""
    n, columns = len(values) + 1, values.shape[1]
    # The last of the rows adds up the weights themselves.
    rows = np.vstack((np.vstack((values, extreme)).T, np.ones(n)))
    means = np.empty((draws, columns))
    step = max(1, _CHUNK // n)
    for start in range(0, draws, step):
        found = products(rng.standard_exponential((min(step, draws - start), n)), rows)
        means[start : start + step] = found[:, :-1] / found[:, -1:]
    return means


def shared_dirichlet_means(
    columns: Float64[np.ndarray, "columns n"], rng: np.random.Generator, draws: int
) -> tuple[Float64[np.ndarray, "columns draws"], Float64[np.ndarray, " draws"]]:
    """Weighted sums of many columns under one set of Dirichlet weights, and the weight that is left for an extreme.

    A column's means with one more observation at `extreme` are `sums + left * extreme`.
    """
    n = columns.shape[1]
    sums, left = np.empty((len(columns), draws)), np.empty(draws)
    step = max(1, _CHUNK // (n + 1))
    for start in range(0, draws, step):
        weights = rng.standard_exponential((min(step, draws - start), n + 1))
        weights /= products(weights, np.ones((1, n + 1)))
        sums[:, start : start + step] = products(columns, weights[:, :-1])
        left[start : start + step] = weights[:, -1]
    return sums, left


def mean_lower_bound(
    values: Float64[np.ndarray, " n"],
    lowest: float,
    *,
    confidence: float,
    rng: np.random.Generator,
    draws: int = 10_000,
) -> float:
    """One-sided lower confidence bound of the mean of values that are never below `lowest`."""
    means = dirichlet_means(values[:, None], np.array([lowest]), rng, draws)[:, 0]
    return float(np.quantile(means, 1 - confidence))


def is_above_random(
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    *,
    confidence: float,
    rng: np.random.Generator,
    draws: int = 10_000,
) -> bool:
    """Whether the baseline's mean is above the random policy's by its one-sided interval."""
    require_finite("is_above_random", baseline, random)
    lowest = float(min(baseline.min(), random.min()) - random.max())
    return mean_lower_bound(baseline - random, lowest, confidence=confidence, rng=rng, draws=draws) > 0
