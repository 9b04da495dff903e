"""Student's t and the normal quantile, the mean of the worst episodes, and what an interval is."""

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
