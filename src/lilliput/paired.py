"""Candidate, baseline and floor on the same items: what retention, verdicts and the search begin with.

The floor is who answers without knowing anything: the uniform-random policy, or chance.
"""

import math

import numpy as np
from jaxtyping import Float64

from lilliput.sums import mean

Scores = Float64[np.ndarray, " n"]


def gap(baseline: Scores, floor: Scores) -> float:
    """How far the baseline's mean is above the floor's."""
    return mean(baseline) - mean(floor)


def share(candidate: float, baseline: float, floor: float) -> float:
    """The share of the baseline's mean above the floor's that the candidate's mean keeps; NaN where there is none.

    >>> share(-160.0, -150.0, -1250.0), share(1.0, 1.0, 1.0)
    (0.990909090909091, nan)
    """
    return float(shares(*(np.array([value], np.float64) for value in (candidate, baseline, floor)))[0])


def shares(candidate: Scores, baseline: Scores, floor: Scores) -> Scores:
    """The same of each mean of several, such as draws of the items."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(baseline > floor, (candidate - floor) / (baseline - floor), math.nan)


def differences(
    candidate: Scores, baseline: Scores, floor: Scores, keep: float | Float64[np.ndarray, "shares 1"]
) -> Float64[np.ndarray, "*shares n"]:
    """Item by item c - keep * b - (1 - keep) * f: its mean is above 0 where more than `keep` is kept; a row a share.

    >>> differences(np.array([9.0, 8.0]), np.array([10.0, 10.0]), np.array([0.0, 0.0]), 0.5).tolist()
    [4.0, 3.0]
    """
    return candidate - keep * baseline - (1 - keep) * floor
