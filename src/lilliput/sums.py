"""Sums that do not depend on the batch, the order or the processor: what is reported, decided on or digested.

BLAS adds in an order that follows the processor, the other rows and where an array lies in memory, and numpy's `sum`
in one that follows the version. A sum of one set of numbers is rounded once here (`math.fsum`), so that no order can
show. Many sums at once run through numpy's own loop behind `einsum`, which adds along a row from its start, whatever
stands beside it: bitwise the same from numpy 2.0 on, on every x86-64.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

_BLOCK = 4_096
"""Numbers of a row added in one go: from 8,192 on, what the loop does depends on how many rows there are."""


def total(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """The sum of the numbers, correctly rounded: in any order the same.

    >>> total([1e16, 1.0, -1e16, 1.0])
    2.0
    """
    array = np.asarray(values, np.float64)
    # Where there are infinities or NaN the order shows in no sum either.
    return math.fsum(array.tolist()) if np.isfinite(array).all() else float(array.sum())


def mean(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """The mean of one number or more; in any order the same."""
    return total(values) / len(values)


def deviation(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """The standard deviation of two numbers or more, of a sample (n - 1); in any order the same.

    >>> deviation([1.0, 3.0])
    1.4142135623730951
    """
    return math.sqrt(total(np.square(np.asarray(values, np.float64) - mean(values))) / (len(values) - 1))


def products(left: Float[np.ndarray, "k n"], right: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "k m"]:
    """Left @ right.T, where a number depends on nothing but the two rows that it is the product of."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    parts = [slice(start, start + _BLOCK) for start in range(0, left.shape[1], _BLOCK)] or [slice(0)]
    result = np.einsum("kn,mn->km", left[:, parts[0]], right[:, parts[0]])
    for part in parts[1:]:
        result += np.einsum("kn,mn->km", left[:, part], right[:, part])
    return result


def means(rows: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows"]:
    """The mean of each row; it does not depend on the others."""
    n = rows.shape[-1]
    return (products(rows.reshape(-1, n), np.ones((1, n), rows.dtype)) / rows.dtype.type(n)).reshape(rows.shape[:-1])
