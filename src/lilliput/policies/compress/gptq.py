"""Rounding that makes good what it breaks: GPTQ, then each code at its best for the others.

Frantar et al. 2022, arXiv 2210.17323, algorithm 1; Behdin et al. 2023 (QuantEase), arXiv 2309.01885, algorithm 1.
"""

import numpy as np
from jaxtyping import Float64

from lilliput.policies.affine import QuantizedTensor, signed_range
from lilliput.policies.compress import cholesky
from lilliput.policies.compress.calibrate import Calibration, weight_scale
from lilliput.sums import exact_products

_FACTORS = np.linspace(1.0, 0.4, 13)
"""Of the scale over the largest weight: what `mse` tries, each with the whole of the rounding."""

_BLOCK = 128
"""Columns whose changes reach the others together, as one matrix product."""

_ROUNDS = 8


def gptq(
    weight: Float64[np.ndarray, "rows columns"],
    hessian: Float64[np.ndarray, "columns columns"],
    bits: int,
    calibration: Calibration,
    *,
    per_channel: bool,
) -> QuantizedTensor:
    """The codes of least squared error of the outputs, for inputs with that covariance, column after column.

    The columns of the largest diagonal go first; `mse` chooses each scale by the error of the outputs.
    """
    full = np.broadcast_to(weight_scale(weight, bits, "minmax", per_channel=per_channel), (len(weight),))
    factors = _FACTORS if calibration == "mse" else _FACTORS[:1]
    order = np.argsort(-np.diag(hessian), kind="stable")
    # The upper Cholesky factor of the inverse: its row j tells how an error in column j is made good by those after it.
    factor = cholesky.factor(cholesky.inverse(hessian[np.ix_(order, order)])).T
    best = np.full(len(weight), np.inf)
    scale, codes = np.zeros(len(weight), np.float32), np.zeros(weight.shape, np.int8)
    for fraction in factors.astype(np.float32):
        candidate = full * fraction
        step, top = candidate.astype(np.float64)[:, None], signed_range(bits)[1]
        ordered = np.empty(weight.shape)
        ordered[:, order] = _one_after_another(weight[:, order], factor, step, top)
        nearest = np.clip(np.rint(weight / step), -top, top)
        tried = _settled(_better(weight, hessian, step, (ordered, nearest)), weight, hessian, step, top)
        error = _error(tried * step - weight, hessian)
        better = error < best if per_channel else np.broadcast_to(error.sum() < best.sum(), error.shape)
        best, scale = np.where(better, error, best), np.where(better, candidate, scale)
        codes = np.where(better[:, None], tried, codes)
    return QuantizedTensor(codes.astype(np.int8), np.asarray(scale if per_channel else scale[0], np.float32), bits)


def _one_after_another(
    weight: Float64[np.ndarray, "rows columns"],
    factor: Float64[np.ndarray, "columns columns"],
    step: Float64[np.ndarray, "rows 1"],
    top: int,
) -> Float64[np.ndarray, "rows columns"]:
    left = weight.copy()
    codes = np.zeros(weight.shape)
    n = weight.shape[1]
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        errors = np.zeros((len(weight), stop - start))
        for column in range(start, stop):
            codes[:, column] = np.clip(np.rint(left[:, column] / step[:, 0]), -top, top)
            error = (left[:, column] - codes[:, column] * step[:, 0]) / factor[column, column]
            left[:, column:stop] -= np.outer(error, factor[column, column:stop])
            errors[:, column - start] = error
        left[:, stop:] -= exact_products(errors, factor[start:stop, stop:].T)
    return codes


def _settled(
    codes: Float64[np.ndarray, "rows columns"],
    weight: Float64[np.ndarray, "rows columns"],
    hessian: Float64[np.ndarray, "columns columns"],
    step: Float64[np.ndarray, "rows 1"],
    top: int,
) -> Float64[np.ndarray, "rows columns"]:
    """The codes after each has been set to its best for all others, until none moves (coordinate descent).

    The clipped ends of the codes are known here, which the errors that are passed on above do not know.
    """
    codes = codes.copy()
    slope = exact_products(weight - codes * step, hessian.T)
    diagonal = np.diag(hessian)
    n = weight.shape[1]
    for _ in range(_ROUNDS):
        moved = False
        for start in range(0, n, _BLOCK):
            stop = min(start + _BLOCK, n)
            before = codes[:, start:stop].copy()
            part = slope[:, start:stop].copy()
            for column in range(start, stop):
                wanted = codes[:, column] + part[:, column - start] / (diagonal[column] * step[:, 0])
                new = np.clip(np.rint(wanted), -top, top)
                change = (new - codes[:, column]) * step[:, 0]
                if change.any():
                    part -= np.outer(change, hessian[column, start:stop])
                    codes[:, column] = new
            change = (codes[:, start:stop] - before) * step
            if change.any():
                slope -= exact_products(change, hessian[start:stop].T)
                moved = True
        if not moved:
            break
    return codes


def _better(
    weight: np.ndarray, hessian: np.ndarray, step: np.ndarray, tried: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Of two sets of codes, row by row, those of less error of the outputs."""
    one, other = tried
    first = _error(one * step - weight, hessian) <= _error(other * step - weight, hessian)
    return np.where(first[:, None], one, other)


def _error(missing: Float64[np.ndarray, "rows columns"], hessian: np.ndarray) -> Float64[np.ndarray, " rows"]:
    return np.sum(exact_products(missing, hessian.T) * missing, axis=1)
