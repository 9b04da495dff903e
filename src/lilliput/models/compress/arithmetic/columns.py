"""One column after another, each error made good by the columns behind it: what GPTQ, SpQR and SparseGPT share.

Frantar et al. 2022, arXiv 2210.17323, algorithm 1 (with lazy blocks); Frantar & Alistarh 2023, arXiv 2301.00774.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

from lilliput.errors import LilliputError

BLOCK = 128
"""Columns whose changes reach the others together, as one matrix product."""


def factor(hessian: Float[np.ndarray, "columns columns"], damping: float) -> Float32[np.ndarray, "columns columns"]:
    """The upper Cholesky factor of the inverse of the damped Hessian: its row j tells how column j is made good.

    Args:
        hessian: the mean of x xᵀ; inputs that were always zero are taken for inputs of their own.
        damping: as a part of the mean of the diagonal, added to it.

    Raises:
        LilliputError: it is not finite, or singular even so.
    """
    diagonal = np.diag(hessian)
    if not np.isfinite(hessian).all():
        raise LilliputError("calibration gave inputs that are not finite; the model overflows on this text")
    if not diagonal.any():
        raise LilliputError("calibration gave a layer nothing but zeros; it cannot be calibrated on this text")
    damped = hessian + np.diag(np.where(diagonal == 0, diagonal.mean(), 0) + damping * diagonal.mean())
    # With H = R Rᵀ, R upper (a Cholesky factor of H read backwards), the factor of the inverse is the inverse of R.
    backwards = damped[::-1, ::-1].astype(np.float32)
    try:
        lower = np.linalg.cholesky(backwards)
    except np.linalg.LinAlgError:
        try:
            lower = np.linalg.cholesky(backwards.astype(np.float64))
        except np.linalg.LinAlgError:
            raise LilliputError(
                f"the Hessian of a layer is singular with a damping of {damping:g}; use more samples or more damping"
            ) from None
    return np.triu(np.linalg.inv(lower)[::-1, ::-1]).astype(np.float32)


def one_after_another(
    weight: Float32[np.ndarray, "rows columns"],
    upper: Float32[np.ndarray, "columns columns"],
    settle: Callable[[int, np.ndarray], np.ndarray],
    begin: Callable[[int, np.ndarray], int],
) -> Float32[np.ndarray, "rows columns"]:
    """What `settle` makes of each column, its error passed on to the columns behind it.

    Args:
        weight: the weights, in the order in which columns go.
        upper: the factor of the inverse Hessian, in that order.
        settle: from a column's number and its weights as they are by then, its final weights.
        begin: called where a block of columns begins, with its first column and all weights as they are by then from
            that column on; gives how many columns the block has.
    """
    left = weight.astype(np.float32, copy=True)
    final = np.empty_like(left)
    start, n = 0, weight.shape[1]
    while start < n:
        stop = min(start + begin(start, left[:, start:]), n)
        errors = np.empty((len(left), stop - start), np.float32)
        for column in range(start, stop):
            now = left[:, column]
            final[:, column] = settle(column, now)
            error = (now - final[:, column]) / upper[column, column]
            left[:, column + 1 : stop] -= error[:, None] * upper[column, column + 1 : stop]
            errors[:, column - start] = error
        left[:, stop:] -= errors @ upper[start:stop, stop:]
        start = stop
    return final
