"""Which weights go: the smallest; the smallest times their inputs (Wanda); what others make good best (SparseGPT).

Sun et al. 2023, arXiv 2306.11695, equation 1; Frantar & Alistarh 2023, arXiv 2301.00774, algorithm 1.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from lilliput.models.compress.arithmetic.columns import BLOCK, factor, one_after_another
from lilliput.models.compress.arithmetic.rounding import Weight

Pattern = tuple[int, int]
"""(2, 4): of every four neighbouring weights of a row, two are zero."""


def magnitude(weight: Weight, sparsity: float, pattern: Pattern | None = None) -> Bool[np.ndarray, "rows columns"]:
    """Which weights are kept when the smallest of the matrix go (by a pattern: of each of its groups)."""
    size = np.abs(weight)
    if pattern is not None:
        return _kept_by_pattern(size, pattern)
    return _kept(size.reshape(1, -1), sparsity).reshape(weight.shape)


def wanda(
    weight: Weight, hessian: Float[np.ndarray, "columns columns"], sparsity: float, pattern: Pattern | None = None
) -> Bool[np.ndarray, "rows columns"]:
    """Which are kept when those of the least size times the root mean square of their input go, row by row."""
    score = np.abs(weight) * np.sqrt(np.diag(hessian)).astype(np.float32)
    return _kept(score, sparsity) if pattern is None else _kept_by_pattern(score, pattern)


def sparsegpt(
    weight: Weight,
    hessian: Float[np.ndarray, "columns columns"],
    sparsity: float,
    pattern: Pattern | None = None,
    *,
    damping: float = 0.01,
) -> Weight:
    """The weights with that part of them zero, chosen block after block; the others make good what was lost."""
    upper = factor(hessian, damping)
    diagonal = np.diag(upper)
    rows, n = weight.shape
    kept = np.ones((rows, n), bool)
    block = BLOCK if pattern is None else pattern[1]

    def begin(start: int, left: np.ndarray) -> int:
        stop = min(start + block, n)
        harm = np.square(left[:, : stop - start] / diagonal[start:stop])
        if pattern is not None:
            kept[:, start:stop] = _kept_by_pattern(harm, pattern)
            return block
        # Counted over all columns so far, so that what one block is short of by rounding the next makes up.
        wanted = math.floor(sparsity * rows * stop + 1e-9) - int(np.count_nonzero(~kept[:, :start]))
        flat = np.ones(harm.size, bool)
        flat[np.argsort(harm, axis=None, kind="stable")[:wanted]] = False
        kept[:, start:stop] = flat.reshape(harm.shape)
        return block

    def settle(column: int, now: np.ndarray) -> np.ndarray:
        return np.where(kept[:, column], now, np.float32(0))

    return one_after_another(weight, upper, settle, begin)


def follows(kept: Bool[np.ndarray, "rows columns"], pattern: Pattern) -> float:
    """The share of the groups of neighbouring weights of a row that keep no more than the pattern allows."""
    n_zero, size = pattern
    whole = kept.shape[1] // size * size
    if not whole:
        return 0.0
    return float((kept[:, :whole].reshape(len(kept), -1, size).sum(axis=2) <= size - n_zero).mean())


def _kept(score: Float[np.ndarray, "groups n"], sparsity: float) -> Bool[np.ndarray, "groups n"]:
    """Which stay when the smallest of each row go."""
    n_zero = math.floor(sparsity * score.shape[1] + 1e-9)
    kept = np.ones(score.shape, bool)
    np.put_along_axis(kept, np.argsort(score, axis=1, kind="stable")[:, :n_zero], False, axis=1)
    return kept


def _kept_by_pattern(score: Float[np.ndarray, "rows columns"], pattern: Pattern) -> Bool[np.ndarray, "rows columns"]:
    """Of each group of neighbouring columns, which stay; columns that do not fill a group stay."""
    n_zero, size = pattern
    whole = score.shape[1] // size * size
    kept = np.ones(score.shape, bool)
    groups = score[:, :whole].reshape(-1, size)
    kept[:, :whole] = _kept(groups, n_zero / size).reshape(len(score), whole)
    return kept
