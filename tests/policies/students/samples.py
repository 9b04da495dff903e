"""Observations of unequal scales, one of which never moves."""

import numpy as np

N_INPUTS = 7


def observations(rng: np.random.Generator, n: int = 3000) -> np.ndarray:
    x = rng.standard_normal((n, N_INPUTS)) * np.array([0.01, 0.3, 1, 3, 30, 1, 0]) + np.array([1, 0, -5, 0, 10, 0, 2])
    return x.astype(np.float32)
