"""SpQR: small groups whose statistics are codes themselves, and the few weights that would do most harm left real.

Dettmers et al. 2023, arXiv 2306.03078, algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float32

from lilliput.models.compress.arithmetic.columns import factor, one_after_another
from lilliput.models.compress.arithmetic.grid import Grid, second_level, statistics
from lilliput.models.compress.arithmetic.rounding import Kept, Weight
from lilliput.models.storage import Outliers, Quantized, compact

STATISTICS_BLOCK = 16
"""Rows whose scales share one scale, as published."""

_TRIES = 8
_NEAR = 0.15
"""How far the number of outliers may be from what was asked for, as the logarithm of their ratio."""

_ROWS_AT_ONCE = 1024
"""Leave-one-out errors take a group size times the memory of the weights."""


def spqr(
    weight: Weight,
    hessian: Float[np.ndarray, "columns columns"],
    bits: int,
    group_size: int,
    *,
    outliers: float,
    statistics_bits: int | None = 3,
    damping: float = 1.0,
    kept: Kept = None,
) -> Quantized:
    """The codes of GPTQ in small groups, with outliers kept as real numbers.

    Args:
        weight: the weights.
        hessian: of their inputs.
        bits: of a code, from 0, with a zero point.
        group_size: columns that share a scale and a zero point.
        outliers: about that part of the weights is left real. The paper's threshold, 0.2 of the variance over the
            squared factor, leaves near 1 % of large models' weights and anything from 0.05 to 2 % of small ones'.
        statistics_bits: of the codes of scales and zero points; None: real scales and whole zero points, as in GPTQ.
        damping: as a part of the mean of the Hessian's diagonal.
        kept: where it is False, a weight was pruned and stays zero.
    """
    sweep = _Sweep(
        weight, factor(hessian, damping), Grid(bits, symmetric=False), group_size or weight.shape[1], statistics_bits
    )
    found, harm = sweep.run(math.inf, kept)
    wanted = round(outliers * weight.size)
    if wanted == 0 or not harm.any():
        return found
    # Taking a weight out narrows its group's grid, which makes others stand out: the threshold is found by trying.
    threshold = float(np.quantile(harm, 1 - outliers))
    low, high, best = 0.0, math.inf, math.inf
    for _ in range(_TRIES):
        tried, _ = sweep.run(threshold, kept)
        n = 0 if tried.outliers is None else len(tried.outliers.values)
        missed = abs(math.log(max(n, 0.5) / wanted))
        if missed < best:
            found, best = tried, missed
        if missed < _NEAR:
            break
        low, high = (threshold, high) if n > wanted else (low, threshold)
        threshold = math.sqrt(low * high) if low > 0 and high < math.inf else threshold * (4 if n > wanted else 0.25)
    return found


@final
@dataclass(frozen=True, eq=False)
class _Sweep:
    """One pass over the columns, for whichever threshold."""

    weight: Weight
    upper: Float32[np.ndarray, "columns columns"]
    grid: Grid
    group_size: int
    statistics_bits: int | None

    def run(self, threshold: float, kept: Kept) -> tuple[Quantized, Float32[np.ndarray, "rows columns"]]:
        """The codes, and what each weight would do as a code: its squared error over its column's squared factor.

        A weight is an outlier where that is above the threshold, or what its group gains without it is.
        """
        rows, n = self.weight.shape
        grid, diagonal = self.grid, np.diag(self.upper)
        scales, zeros = [], []
        scale = zero = np.zeros(0, np.float32)
        codes, harm = np.zeros((rows, n), np.float32), np.zeros((rows, n), np.float32)
        # Half the range of float16, because weights still change before their column is reached.
        real = np.float16 if np.abs(self.weight).max() < np.finfo(np.float16).max / 2 else np.float32
        values = np.zeros((rows, n), real)

        def begin(start: int, left: np.ndarray) -> int:
            nonlocal scale, zero
            group = left[:, : self.group_size]
            if np.isfinite(threshold):
                group = _filled(group, _gain(group, diagonal[start : start + self.group_size], grid) > threshold)
            scale, zero = grid.fit(group, whole=self.statistics_bits is None)
            if self.statistics_bits is None:
                scales.append(scale)
                zeros.append(zero)
            else:
                scales.append(second_level(scale, self.statistics_bits, STATISTICS_BLOCK))
                zeros.append(second_level(zero, self.statistics_bits, STATISTICS_BLOCK))
                scale, zero = scales[-1][-1], zeros[-1][-1]
            return self.group_size

        def settle(column: int, now: np.ndarray) -> np.ndarray:
            code = codes[:, column] = grid.codes(now, scale, zero)
            value = (code - zero) * scale
            harms = np.square((now - value) / diagonal[column])
            if kept is not None:
                harms *= kept[:, column]
            harm[:, column] = harms
            if np.isfinite(threshold):
                left_real = values[:, column] = now.astype(real)
                value = np.where(harms > threshold, left_real.astype(np.float32), value)
            return value if kept is None else np.where(kept[:, column], value, np.float32(0))

        one_after_another(self.weight, self.upper, settle, begin)
        if self.statistics_bits is None:
            found_scale, found_zero = compact(np.stack(scales, axis=1)), np.stack(zeros, axis=1).astype(np.uint8)
        else:
            found_scale = statistics(scales, self.statistics_bits, STATISTICS_BLOCK)
            found_zero = statistics(zeros, self.statistics_bits, STATISTICS_BLOCK)
        outlier = harm > threshold
        outliers = _outliers(outlier, values) if outlier.any() else None
        whole = codes.astype(np.uint8)
        found = Quantized(whole, found_scale, found_zero, grid.bits, self.group_size, outliers=outliers, kept=kept)
        return found, harm


def _gain(group: Weight, diagonal: Float32[np.ndarray, " n"], grid: Grid) -> Float32[np.ndarray, "rows n"]:
    """How much the group's error falls if a weight is left out of it, for each weight."""
    n = group.shape[1]
    if n == 1:
        return np.zeros_like(group)
    found = np.empty_like(group)
    others = np.array([[k for k in range(n) if k != one] for one in range(n)])
    for start in range(0, len(group), _ROWS_AT_ONCE):
        part = group[start : start + _ROWS_AT_ONCE]
        without = part[:, others]
        error = _error(without, diagonal[others], grid)
        found[start : start + _ROWS_AT_ONCE] = _error(part, diagonal, grid)[:, None] - error
    return found


def _error(group: np.ndarray, diagonal: np.ndarray, grid: Grid) -> np.ndarray:
    scale, zero = (one[..., None] for one in grid.fit(group, whole=False))
    missing = group - (grid.codes(group, scale, zero) - zero) * scale
    return np.square(missing / diagonal).sum(axis=-1)


def _filled(group: Weight, harmful: np.ndarray) -> Weight:
    """The group with the mean of the other weights wherever one is harmful, so that it does not stretch the grid."""
    calm = ~harmful
    mean = (group * calm).sum(axis=1) / np.maximum(calm.sum(axis=1), 1)
    return np.where(harmful, mean[:, None], group).astype(np.float32)


def _outliers(outlier: np.ndarray, values: np.ndarray) -> Outliers:
    starts = np.concatenate([[0], np.cumsum(outlier.sum(axis=1))]).astype(np.int32)
    columns = np.nonzero(outlier)[1].astype(np.uint16 if outlier.shape[1] <= 1 << 16 else np.uint32)
    return Outliers(starts, columns, values[outlier])
