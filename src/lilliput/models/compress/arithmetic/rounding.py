"""Rounding of a weight: each value to its nearest code, or GPTQ (arXiv 2210.17323), which makes good what it breaks."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from lilliput.models.compress.arithmetic.columns import BLOCK, factor, one_after_another
from lilliput.models.compress.arithmetic.grid import Grid
from lilliput.models.storage import Quantized, compact

Weight = Float32[np.ndarray, "rows columns"]
Kept = Bool[np.ndarray, "rows columns"] | None
"""Where it is False, a weight was pruned and stays zero."""


def nearest(weight: Weight, bits: int, group_size: int, *, symmetric: bool, kept: Kept = None) -> Quantized:
    """Each weight as its nearest code, for the scale of its group of `group_size` columns (0: all of its row)."""
    grid = Grid(bits, symmetric)
    scale, zero = _fit_all(weight, grid, group_size)
    group = _groups(weight.shape[1], group_size)
    codes = grid.codes(weight, scale[:, group], zero[:, group])
    return _quantized(codes, scale, zero, grid, group_size, kept)


def gptq(
    weight: Weight,
    hessian: Float[np.ndarray, "columns columns"],
    bits: int,
    group_size: int,
    *,
    symmetric: bool,
    act_order: bool = False,
    damping: float = 0.01,
    kept: Kept = None,
) -> Quantized:
    """The codes, column after column, each error made good by the columns behind it.

    The scale of a group is fitted when its first column is reached, to the weights as they are by then. With
    `act_order` the columns of the largest inputs go first and the scales are fitted to the weights as they were.
    """
    rows, n = weight.shape
    grid = Grid(bits, symmetric)
    order = np.argsort(-np.diag(hessian), kind="stable") if act_order else np.arange(n)
    upper = factor(hessian[np.ix_(order, order)], damping)
    group = _groups(n, group_size)[order]
    scale, zero = _fit_all(weight, grid, group_size)
    codes = np.empty((rows, n), np.float32)
    alive = None if kept is None else kept[:, order]

    def begin(start: int, left: np.ndarray) -> int:
        if act_order or not group_size:
            return BLOCK
        now = left[:, :group_size]
        scale[:, group[start]], zero[:, group[start]] = grid.fit(now)
        return group_size

    def settle(column: int, now: np.ndarray) -> np.ndarray:
        at = group[column]
        codes[:, column] = grid.codes(now, scale[:, at], zero[:, at])
        value = (codes[:, column] - zero[:, at]) * scale[:, at]
        return value if alive is None else np.where(alive[:, column], value, np.float32(0))

    one_after_another(weight[:, order], upper, settle, begin)
    back = np.empty_like(codes)
    back[:, order] = codes
    return _quantized(back, scale, zero, grid, group_size, kept)


def _groups(columns: int, group_size: int) -> np.ndarray:
    return np.arange(columns) // group_size if group_size else np.zeros(columns, np.int64)


def _fit_all(weight: Weight, grid: Grid, group_size: int) -> tuple[np.ndarray, np.ndarray]:
    starts = range(0, weight.shape[1], group_size) if group_size else (0,)
    fitted = [grid.fit(weight[:, start : start + (group_size or weight.shape[1])]) for start in starts]
    scale, zero = (np.stack(part, axis=1) for part in zip(*fitted, strict=True))
    return scale, zero


def _quantized(
    codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, grid: Grid, group_size: int, kept: Kept
) -> Quantized:
    whole = codes.astype(np.int8 if grid.symmetric else np.uint8)
    zero_point = None if grid.symmetric else zero.astype(np.uint8)
    return Quantized(whole, compact(scale), zero_point, grid.bits, group_size, kept=kept)
