"""Second-order pruning on observations, with what is left refitted by least squares.

Optimal Brain Surgeon (Hassibi & Stork 1992, equation 5) for whole inputs of a linear layer, and for single weights the
one-shot form of SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774, algorithm 1). Both keep the outputs of one linear
layer near what they were, without a gradient.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lilliput.policies.compress import cholesky
from lilliput.sums import exact_products, products

MAX_REFIT_COLUMNS = 1024
"""Columns up to which each row is refitted on its own support: a linear system a row."""

_BLOCK = 128
"""Columns whose weights are chosen together."""


def eliminated(
    weight: Float64[np.ndarray, "rows columns"],
    hessian: Float64[np.ndarray, "columns columns"],
    block: int,
    n_removed: int,
) -> Int64[np.ndarray, " removed"]:
    """The groups of `block` neighbouring columns to take out, each the least harmful after the loss of the others.

    The harm of a group is how much the squared error of the outputs grows once the others have made good what they can.
    """
    n_groups = weight.shape[1] // block
    inverse = cholesky.inverse(hessian)
    left = weight.copy()
    alive = np.ones(n_groups, bool)
    removed = []
    for _ in range(n_removed):
        harm = np.where(alive, _harm(left, inverse, block, alive), np.inf)
        group = int(np.argmin(harm))
        columns = slice(group * block, (group + 1) * block)
        solved = cholesky.solve(inverse[columns, columns], inverse[columns])
        left -= products(left[:, columns], solved.T)
        inverse -= products(inverse[:, columns], solved.T)
        # What is gone is zero there but for rounding; a one on the diagonal keeps later systems regular.
        inverse[columns], inverse[:, columns], left[:, columns] = 0, 0, 0
        inverse[columns, columns] = np.eye(block)
        alive[group] = False
        removed.append(group)
    return np.array(removed, np.int64)


def _harm(left: np.ndarray, inverse: np.ndarray, block: int, alive: Bool[np.ndarray, " groups"]) -> np.ndarray:
    if block == 1:
        return np.square(left).sum(axis=0) / np.maximum(np.diag(inverse), 1e-300)
    harm = np.full(len(alive), np.inf)
    for group in np.nonzero(alive)[0]:
        columns = slice(group * block, (group + 1) * block)
        part = left[:, columns]
        harm[group] = np.sum(part.T * cholesky.solve(inverse[columns, columns], part.T))
    return harm


def sparse(
    weight: Float64[np.ndarray, "rows columns"], hessian: Float64[np.ndarray, "columns columns"], sparsity: float
) -> Float64[np.ndarray, "rows columns"]:
    """The weights with that part of them zero, chosen block after block; the others make good what was lost."""
    left = weight.copy()
    factor = cholesky.factor(cholesky.inverse(hessian)).T
    kept = np.ones(weight.shape, bool)
    n_zero = 0
    for start in range(0, weight.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weight.shape[1])
        diagonal = np.diag(factor)[start:stop]
        harm = np.square(left[:, start:stop] / diagonal)
        wanted = int(np.floor(sparsity * weight.shape[0] * stop + 1e-9)) - n_zero
        mask = np.ones(harm.size, bool)
        mask[np.argsort(harm, axis=None, kind="stable")[:wanted]] = False
        kept[:, start:stop] = mask.reshape(harm.shape)
        n_zero += wanted
        for column in range(start, stop):
            gone = np.where(kept[:, column], 0.0, left[:, column])
            left[:, column] -= gone
            left[:, column + 1 :] -= np.outer(gone / factor[column, column], factor[column, column + 1 :])
    return refitted_on(kept, weight, hessian) if weight.shape[1] <= MAX_REFIT_COLUMNS else left


def refitted_on(
    kept: Bool[np.ndarray, "rows columns"],
    weight: Float64[np.ndarray, "rows columns"],
    hessian: Float64[np.ndarray, "columns columns"],
) -> Float64[np.ndarray, "rows columns"]:
    """The weights of least squared error of the outputs among those that are zero where `kept` is not."""
    wanted = exact_products(weight, hessian.T)
    new = np.zeros_like(weight)
    for row, support in enumerate(kept):
        if support.any():
            new[row, support] = cholesky.solve(hessian[np.ix_(support, support)], wanted[row, support, None])[:, 0]
    return new
