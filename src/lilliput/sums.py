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
_BITS, _PARTS = 20, 3
"""Of the parts of a number: 2 * _BITS for a product and 12 for the sum of _BLOCK of them are less than 53."""


def total(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """The sum of the numbers, correctly rounded: in any order the same.

    >>> total([1e16, 1.0, -1e16, 1.0])
    2.0
    """
    array = np.asarray(values, np.float64)
    try:
        return math.fsum(array.tolist())
    except (ValueError, OverflowError):
        if np.isfinite(array).all():
            raise
        return float(array.sum())  # of infinities and NaN, where no order shows either


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


def exact_products(left: Float64[np.ndarray, "k n"], right: Float64[np.ndarray, "m n"]) -> Float64[np.ndarray, "k m"]:
    """Left @ right.T of finite numbers by BLAS, whose order cannot show: it adds parts whose sums are all exact.

    Ozaki, Ogita, Oishi & Rump 2012 ("Error-free transformations of matrix multiplication by using fast routines of
    matrix multiplication"): each row is cut into whole numbers of so few bits that float64 holds every sum of their
    products. As exact as one product, at six times its work; for large matrices far faster than `products`.

    >>> exact_products(np.array([[1e16, 1.0, -1e16]]), np.array([[1.0, 3.0, 1.0]]))
    array([[3.]])
    """
    result = np.zeros((len(left), len(right)))
    for start in range(0, left.shape[1], _BLOCK):
        (these, row), (those, column) = (_whole_parts(one[:, start : start + _BLOCK]) for one in (left, right))
        part = np.zeros_like(result)
        with np.errstate(invalid="ignore"):  # OpenBLAS raises it for nothing
            for order in range(_PARTS - 1, -1, -1):  # the smallest first; smaller ones still are below the last digit
                for one in range(order + 1):
                    part += (these[one] @ those[order - one].T) * 2.0 ** (-_BITS * (order + 2))
        result += np.ldexp(part, row[:, None] + column)
    return result


def _whole_parts(rows: Float64[np.ndarray, "k n"]) -> tuple[list[Float64[np.ndarray, "k n"]], np.ndarray]:
    """Whole numbers of at most 2 ** _BITS, and exponents: a row is 2 ** exponent * sum(part_i * 2 ** (-_BITS * i))."""
    exponent = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    rest = np.ldexp(rows, -exponent[:, None])
    parts = []
    for _ in range(_PARTS):
        rest = rest * 2.0**_BITS
        parts.append(np.rint(rest))
        rest = rest - parts[-1]
    return parts, exponent


def means(rows: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows"]:
    """The mean of each row; it does not depend on the others."""
    n = rows.shape[-1]
    return (products(rows.reshape(-1, n), np.ones((1, n), rows.dtype)) / rows.dtype.type(n)).reshape(rows.shape[:-1])
