"""Quantiles: Student's t, order statistics with distribution-free intervals, and the mean of the worst episodes."""

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.sums import total


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided interval; an end that the data cannot bound is infinite."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class LatencyQuantiles:
    """Median, 95th and 99th percentile of the values, each with its distribution-free interval."""

    p50: Interval
    p95: Interval
    p99: Interval


def latency_quantiles(values: Float64[np.ndarray, " n"], *, confidence: float = 0.95) -> LatencyQuantiles:
    """The three percentiles that latencies are reported by."""
    return LatencyQuantiles(*(quantile_interval(values, q, confidence=confidence) for q in (0.5, 0.95, 0.99)))


def quantile_interval(values: Float64[np.ndarray, " n"], quantile: float, *, confidence: float = 0.95) -> Interval:
    """A quantile with the interval of two order statistics that covers it whatever the distribution.

    The number of values below the quantile is binomial, so the k-th smallest value exceeds it with P(Bin(n, q) < k).
    An end is infinite where there are too few values (a 95 % interval of the median needs 6, that of the p99 368).
    """
    require_finite("quantile_interval", values)
    tail = (1 - confidence) / 2
    ordered = np.sort(values)
    below = _binomial_cdf(len(values), quantile)
    # The largest k with P(Bin <= k - 1) <= tail starts the interval, the smallest k with P(Bin >= k) <= tail ends it.
    first = int(np.searchsorted(below, tail, side="right"))
    last = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return Interval(
        estimate=float(np.quantile(ordered, quantile)),
        low=float(ordered[first - 1]) if first > 0 else -math.inf,
        high=float(ordered[last - 1]) if last <= len(values) else math.inf,
    )


def worst_decile(returns: Float64[np.ndarray, " n"]) -> float:
    """Mean of the worst tenth of the episodes (the conditional value at risk at 10 %).

    Where n is no multiple of ten the boundary episode counts with the fraction that belongs to the tenth.

    >>> worst_decile(np.array([500.0, 500.0, 500.0, 9.0, 500.0]))
    9.0
    """
    require_finite("worst_decile", returns)
    ordered = np.sort(returns)
    weights = np.clip(0.1 * len(ordered) - np.arange(len(ordered)), 0.0, 1.0)
    return total(weights * ordered) / total(weights)


def normal_quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


@functools.cache
def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with an integer number of degrees of freedom, by bisection on the exact cdf."""
    if not 0 < probability < 1 or degrees < 1:
        raise LilliputError(
            f"student_t_quantile: probability {probability}, {degrees} degrees of freedom; "
            "the probability must be in (0, 1) and there must be at least one degree"
        )
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    # In the angle atan(t / sqrt(degrees)) the search interval is finite even for one degree of freedom.
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        if _t_cdf_at_angle(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _t_cdf_at_angle(angle: float, degrees: int) -> float:
    """The cdf at t = sqrt(degrees) tan(angle), angle >= 0 (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    if degrees % 2:
        steps = np.arange(2, degrees - 1, 2)
        terms = np.concatenate(([1.0], np.cumprod(cosine**2 * steps / (steps + 1))))
        inside = 2 / math.pi * (angle + (sine * cosine * total(terms) if degrees > 1 else 0.0))
    else:
        steps = np.arange(1, degrees - 2, 2)
        inside = sine * total(np.concatenate(([1.0], np.cumprod(cosine**2 * steps / (steps + 1)))))
    return 0.5 + inside / 2


def _binomial_cdf(n: int, probability: float) -> Float64[np.ndarray, " counts"]:
    """P(Bin(n, probability) <= k) for k = 0 .. n."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    log_mass = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return np.cumsum(np.exp(log_mass + k * math.log(probability) + (n - k) * math.log1p(-probability)))


def require_finite(caller: str, *arrays: Float64[np.ndarray, " _"]) -> None:
    """Raise unless every array holds numbers and all are of one length."""
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise LilliputError(
            f"{caller}: arrays of {', '.join(str(len(array)) for array in arrays)} values; "
            "they must be of one length, at least 1: play the same episode seeds"
        )
    for array in arrays:
        if not np.isfinite(array).all():
            raise LilliputError(
                f"{caller}: {np.count_nonzero(~np.isfinite(array))} values are not finite; drop that policy"
            )
