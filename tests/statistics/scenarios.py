"""Pairs of policies with a known retention: the baseline's mean return is 100, the random policy's 0."""

from collections.abc import Callable

import numpy as np

Episodes = tuple[np.ndarray, np.ndarray, np.ndarray]
Scenario = Callable[[float, int, np.random.Generator], Episodes]


def normal(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    seed_luck = rng.normal(0, 10, n)
    return (
        100 * retention + seed_luck + rng.normal(0, 8, n),
        100 + seed_luck + rng.normal(0, 4, n),
        rng.normal(0, 3, n),
    )


def skewed(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    return 100 * retention + 12 - rng.exponential(12, n), 104 - rng.exponential(4, n), rng.normal(0, 3, n)


def falls_once_in_50(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    """A fall leaves nothing, and there is no other noise: the hardest case, as most samples of 50 look perfect."""
    return np.where(rng.random(n) < 0.02, 0.0, 100 * retention / 0.98), np.full(n, 100.0), np.zeros(n)


def falls_once_in_20(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    return np.where(rng.random(n) < 0.05, 0.0, 100 * retention / 0.95), np.full(n, 100.0), np.zeros(n)


def falls_somewhere_once_in_50(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    """A fall costs most of the return, the rest is noisy, and the random policy spreads too."""
    good = (100 * retention - 0.2) / 0.98 + rng.normal(0, 1, n)
    fallen = rng.random(n) < 0.02
    return np.where(fallen, rng.uniform(0, 20, n), good), 100 + rng.normal(0, 1, n), rng.uniform(-2, 2, n)


def baseline_falls_once_in_50(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    """Falls of the baseline that a sample does not show make the candidate look worse than it is."""
    return np.full(n, 100 * retention), np.where(rng.random(n) < 0.02, 0.0, 100 / 0.98), np.zeros(n)


def both_fall(retention: float, n: int, rng: np.random.Generator) -> Episodes:
    """Candidate and baseline each fall once in 10 episodes, independently."""
    returns = []
    for mean in (100 * retention, 100.0):
        good = (mean - 1) / 0.9 + rng.normal(0, 3, n)
        returns.append(np.where(rng.random(n) < 0.1, rng.uniform(0, 20, n), good))
    return returns[0], returns[1], rng.uniform(-2, 2, n)
