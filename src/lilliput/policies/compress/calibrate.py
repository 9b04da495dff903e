"""Ranges: which real numbers the integer codes of an input, or of a weight, should cover."""

from typing import Literal, assert_never

import numpy as np
from jaxtyping import Float32, Float64, Num

from lilliput.policies import layers
from lilliput.policies.affine import signed_range, unsigned_max

Calibration = Literal["minmax", "percentile", "mse"]

PERCENTILE = 99.99
"""Of `percentile`: the part of the numbers, in percent, that lies inside the range, on each side."""

_CANDIDATES = np.linspace(1.0, 0.2, 81)
_SAMPLE = 1 << 16
"""Numbers of a whole tensor that candidate ranges are tried on."""

_ROOM = 0.1
"""Of its width, added to each side of the range of a single input."""

_MAX_OFFSET = 2.0**14
"""How many ranges away from zero a range may lie: float32 then still places a number to a quarter of a code."""


def input_range(
    x: Float32[np.ndarray, "n ..."], bits: int, calibration: Calibration, *, per_dimension: bool
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """The lowest and highest number to cover: of all inputs together, zero among them, or of each, with room."""
    columns = x.reshape(len(x), -1) if per_dimension else x.reshape(-1, 1)
    if not per_dimension and len(columns) > _SAMPLE and calibration == "mse":
        # The ends are kept: a range is a part of the range of all numbers.
        step = len(columns) // _SAMPLE
        columns = np.concatenate(
            [columns[::step], columns.min(axis=0, keepdims=True), columns.max(axis=0, keepdims=True)]
        )
    columns = columns.astype(np.float64)
    match calibration:
        case "minmax":
            low, high = columns.min(axis=0), columns.max(axis=0)
        case "percentile":
            low, high = np.percentile(columns, [100 - PERCENTILE, PERCENTILE], axis=0)
        case "mse":
            low, high = columns.min(axis=0), columns.max(axis=0)
        case _:
            assert_never(calibration)
    if not per_dimension:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if calibration == "mse":
        low, high = _least_error(columns, low, high, bits, keep_zero=not per_dimension)
    if per_dimension:
        # A single input's extremes are rare: LunarLander's states of one draw leave the ranges of another, and a tenth
        # of room on each side halves the error of its actions; locomotion loses a hundredth.
        room = _ROOM * (high - low)
        return low - room, high + room
    return low.reshape(()), high.reshape(())


def _least_error(
    columns: Float64[np.ndarray, "n d"], low: np.ndarray, high: np.ndarray, bits: int, *, keep_zero: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The range, shrunk by the candidate factors towards zero or its middle, of the least mean squared error."""
    centre = np.zeros_like(low) if keep_zero else (low + high) / 2
    best = np.full(low.shape, np.inf)
    best_low, best_high = low.copy(), high.copy()
    top = unsigned_max(bits)
    for factor in _CANDIDATES:
        lower, upper = centre + (low - centre) * factor, centre + (high - centre) * factor
        scale = np.where(upper > lower, upper - lower, 1.0) / top
        zero_point = np.rint(-lower / scale)
        codes = np.clip(np.rint(columns / scale) + zero_point, 0, top)
        error = np.square((codes - zero_point) * scale - columns).mean(axis=0)
        better = error < best
        best = np.where(better, error, best)
        best_low, best_high = np.where(better, lower, best_low), np.where(better, upper, best_high)
    return best_low, best_high


def static_range(low: Num[np.ndarray, "..."], high: Num[np.ndarray, "..."], bits: int) -> layers.StaticRange:
    """The codes over [low, high]; a scale is rounded so that float16 holds its inverse too, where the range allows."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    size = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    width = np.maximum(high.astype(np.float64) - low, size / _MAX_OFFSET)
    top = unsigned_max(bits)
    inverse = _round_down(
        np.asarray(top / np.maximum(width, np.where(width > 0, np.finfo(np.float32).tiny, float(top))))
    )
    zero_point = np.rint(-low * inverse)
    return layers.StaticRange(np.asarray(inverse), np.asarray(zero_point).astype(np.int32), bits)


def _round_down(inverse: Float64[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """The largest float16 that is not larger, so that the codes still cover the range; else float32."""
    limits = np.finfo(np.float16)
    inside = (inverse >= float(limits.tiny)) & (inverse <= float(limits.max))
    half = np.where(inside, inverse, 1.0).astype(np.float16)
    half = np.where(half > inverse, np.nextafter(half, np.float16(0)), half)
    return np.asarray(np.where(inside, half.astype(np.float32), inverse.astype(np.float32)), np.float32)


def weight_scale(
    weight: Float64[np.ndarray, "rows columns"], bits: int, calibration: Calibration, *, per_channel: bool
) -> Float32[np.ndarray, "..."]:
    """The size of one code, for all weights or one a row: over the largest weight, or of the least squared error."""
    groups = weight if per_channel else weight.reshape(1, -1)
    top = signed_range(bits)[1]
    largest = np.abs(groups).max(axis=1)
    scale = np.where(largest > 0, largest / top, 1.0)
    if calibration == "mse":
        best = np.full(scale.shape, np.inf)
        chosen = scale.copy()
        for factor in _CANDIDATES:
            candidate = scale * factor
            codes = np.clip(np.rint(groups / candidate[:, None]), -top, top)
            error = np.square(codes * candidate[:, None] - groups).sum(axis=1)
            chosen = np.where(error < best, candidate, chosen)
            best = np.minimum(error, best)
        scale = chosen
    # A subnormal scale has lost its digits, and its inverse overflows.
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    return scale if per_channel else scale.reshape(())
