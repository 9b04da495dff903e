"""The grid of values that a group of weights is rounded to: scale and zero point, by the least and the greatest."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, UInt8

from lilliput.models.storage import QuantizedStatistics, compact


@final
@dataclass(frozen=True)
class Grid:
    """Integer codes of `bits`; symmetric: signed, around zero; else from 0, with a zero point of each group."""

    bits: int
    symmetric: bool

    @property
    def low(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1)) if self.symmetric else 0

    @property
    def high(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - 1)) - 1 if self.symmetric else (1 << self.bits) - 1

    def fit(
        self, group: Float32[np.ndarray, "... n"], *, whole: bool = True
    ) -> tuple[Float32[np.ndarray, "..."], Float32[np.ndarray, "..."]]:
        """Scale and zero point (0 where symmetric) of each group of n; `whole`: the zero point is a code itself.

        Symmetric as compressed-tensors has it: the greatest size falls between the two outermost codes.
        """
        low = np.minimum(group.min(axis=-1), 0)
        high = np.maximum(group.max(axis=-1), 0)
        if self.symmetric:
            scale = np.maximum(-low, high) / np.float32((self.high - self.low) / 2)
            scale = _stored(scale)
            return scale, np.zeros_like(scale)
        scale = _stored((high - low) / np.float32(self.high))
        zero = -low / scale
        return scale, np.clip(np.rint(zero), 0, self.high) if whole else zero

    def codes(self, weight: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """The nearest codes, as real numbers."""
        found = weight / scale
        found += zero
        np.rint(found, out=found)
        # np.clip, without what its wrappers take: columns are short, and there are many.
        return np.minimum(np.maximum(found, self.low, out=found), self.high, out=found)


def _stored(scale: np.ndarray) -> np.ndarray:
    """The scales in the precision in which they are kept; one for a group of zeros."""
    scale = np.where(scale == 0, np.float32(1), scale)
    return compact(scale).astype(np.float32)


def second_level(
    values: Float32[np.ndarray, " rows"], bits: int, block: int
) -> tuple[UInt8[np.ndarray, " rows"], np.ndarray, np.ndarray, Float32[np.ndarray, " rows"]]:
    """The statistics of one group of columns as their blocks' scale and offset, and what they mean."""
    n_blocks = -(-len(values) // block)
    padded = np.concatenate([values, np.repeat(values[-1:], n_blocks * block - len(values))]).reshape(n_blocks, block)
    low, high = padded.min(axis=1), padded.max(axis=1)
    top = (1 << bits) - 1
    scale = compact(np.where(high > low, (high - low) / top, 1))
    offset = compact(low)
    row = np.arange(len(values)) // block
    real_scale, real_offset = scale.astype(np.float32)[row], offset.astype(np.float32)[row]
    codes = np.clip(np.rint((values - real_offset) / real_scale), 0, top).astype(np.uint8)
    return codes, scale, offset, codes * real_scale + real_offset


def statistics(
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], bits: int, block: int
) -> QuantizedStatistics:
    """The statistics of all groups of columns, each as `second_level` gave it."""
    codes, scale, offset = (np.stack([column[part] for column in columns], axis=1) for part in range(3))
    return QuantizedStatistics(
        codes, compact(scale.astype(np.float32)), compact(offset.astype(np.float32)), bits, block
    )
