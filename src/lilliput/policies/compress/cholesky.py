"""Linear systems of symmetric positive definite matrices, solved in one order on every processor.

LAPACK's order follows the processor, and with it the last digits of weights that are refitted, hence the digest of a
policy. Here the blocks' products are exact (`sums.exact_products`), and what is inside a block adds from its start.
"""

import numpy as np
from jaxtyping import Float64

from lilliput.sums import exact_products

_BLOCK = 64


def factor(matrix: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """The lower triangular L with L @ L.T the matrix.

    Raises:
        numpy.linalg.LinAlgError: it is not positive definite.
    """
    lower = np.tril(matrix)
    for start in range(0, len(lower), _BLOCK):
        stop = min(start + _BLOCK, len(lower))
        square = lower[start:stop, start:stop]
        for column in range(stop - start):
            rest = square[column:, column] - _dots(square[column:, :column], square[column, :column])
            if not rest[0] > 0:
                raise np.linalg.LinAlgError("the matrix is not positive definite")
            square[column:, column] = rest / np.sqrt(rest[0])
        lower[stop:, start:stop] = panel = _substituted(lower[stop:, start:stop], square)
        lower[stop:, stop:] -= exact_products(panel, panel)
    return np.tril(lower)


def solve(matrix: Float64[np.ndarray, "n n"], right: Float64[np.ndarray, "n m"]) -> Float64[np.ndarray, "n m"]:
    """The solution of matrix @ solution = right; raises as `factor` does."""
    lower = factor(matrix)
    forward = _forward(lower, right.T)
    # From the last to the first is from the first to the last of all turned around.
    return _forward(np.ascontiguousarray(lower.T[::-1, ::-1]), forward[:, ::-1])[:, ::-1].T


def inverse(matrix: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """The inverse, symmetric; raises as `factor` does."""
    half = _forward(factor(matrix), np.eye(len(matrix)))
    whole = exact_products(half, half)
    return (whole + whole.T) / 2


def _forward(lower: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows x with lower @ x the rows."""
    found = np.array(rows, order="C")
    for start in range(0, len(lower), _BLOCK):
        stop = min(start + _BLOCK, len(lower))
        left = found[:, start:stop] - exact_products(found[:, :start], lower[start:stop, :start])
        found[:, start:stop] = _substituted(left, lower[start:stop, start:stop])
    return found


def _substituted(rows: np.ndarray, lower: np.ndarray) -> np.ndarray:
    found = np.array(rows, order="C")
    for column in range(len(lower)):
        rest = found[:, column] - _dots(found[:, :column], lower[column, :column])
        found[:, column] = rest / lower[column, column]
    return found


def _dots(rows: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.einsum("kn,n->k", rows, row)
