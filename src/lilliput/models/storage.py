"""How a weight is stored: integer codes with the numbers of each group, outliers beside them; counted to the byte."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Integer, Num, Shaped, UInt8


@final
@dataclass(frozen=True, eq=False)
class QuantizedStatistics:
    """Scales or zero points that are themselves codes, with a scale and an offset for each `block` of rows.

    Attributes:
        codes: 0 to 2**bits - 1, one a group of weights; neighbouring rows of one group column share a block.
        scale: of each block of rows.
        offset: what code 0 stands for.
        bits: of a code.
        block: rows that share scale and offset; the last block may be shorter.
    """

    codes: UInt8[np.ndarray, "rows groups"]
    scale: Float[np.ndarray, "blocks groups"]
    offset: Float[np.ndarray, "blocks groups"]
    bits: int
    block: int

    @property
    def values(self) -> Float32[np.ndarray, "rows groups"]:
        """What the codes stand for."""
        row = np.arange(len(self.codes)) // self.block
        return (self.codes * self.scale.astype(np.float32)[row] + self.offset.astype(np.float32)[row]).astype(
            np.float32
        )

    @property
    def nbytes(self) -> int:
        """Packed codes, scales and offsets."""
        return math.ceil(self.codes.size * self.bits / 8) + self.scale.nbytes + self.offset.nbytes


@final
@dataclass(frozen=True, eq=False)
class Outliers:
    """Single weights that stay real numbers, row after row: `starts[r]` to `starts[r + 1]` are those of row r."""

    starts: Integer[np.ndarray, " starts"]
    columns: Integer[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]

    @property
    def nbytes(self) -> int:
        """Every array as it is."""
        return self.starts.nbytes + self.columns.nbytes + self.values.nbytes


@final
@dataclass(frozen=True, eq=False)
class Adapter:
    """What is added to a matrix of codes: `up @ down`, of low rank."""

    down: Float16[np.ndarray, "rank columns"]
    up: Float16[np.ndarray, "rows rank"]

    @property
    def nbytes(self) -> int:
        """Both matrices as they are."""
        return self.down.nbytes + self.up.nbytes


@final
@dataclass(frozen=True, eq=False)
class Quantized:
    """A matrix of codes: `weight = (code - zero_point) * scale` of the code's row and group of columns.

    Attributes:
        codes: signed codes where `zero_point` is None, else unsigned ones.
        scale: of each row and group of `group_size` neighbouring columns (the last group may be shorter).
        zero_point: of each row and group; None: symmetric.
        bits: of a code.
        group_size: columns that share a scale; 0: all of a row.
        order: the group of each column where that is not `column // group_size`.
        outliers: weights that are not codes; their codes do not count.
        kept: where it is False, a weight was pruned: it is zero, whatever its code; None: none was.
        adapter: what is added to weights that were not pruned.
    """

    codes: Integer[np.ndarray, "rows columns"]
    scale: Float[np.ndarray, "rows groups"] | QuantizedStatistics
    zero_point: Num[np.ndarray, "rows groups"] | QuantizedStatistics | None
    bits: int
    group_size: int = 0
    order: Integer[np.ndarray, " columns"] | None = None
    outliers: Outliers | None = None
    kept: Bool[np.ndarray, "rows columns"] | None = None
    adapter: Adapter | None = None

    @property
    def groups(self) -> Integer[np.ndarray, " columns"]:
        """The group of each column."""
        if self.order is not None:
            return self.order
        columns = np.arange(self.codes.shape[1])
        return columns // self.group_size if self.group_size else np.zeros_like(columns)

    @property
    def dense(self) -> Float32[np.ndarray, "rows columns"]:
        """The matrix that the codes stand for."""
        group = self.groups
        codes = self.codes.astype(np.float32)
        if self.zero_point is not None:
            codes = codes - _values(self.zero_point)[:, group]
        weight = codes * _values(self.scale)[:, group]
        if self.outliers is not None:
            row = np.repeat(np.arange(len(weight)), np.diff(self.outliers.starts))
            weight[row, self.outliers.columns] = self.outliers.values.astype(np.float32)
        if self.adapter is not None:
            weight = weight + self.adapter.up.astype(np.float32) @ self.adapter.down.astype(np.float32)
        return weight if self.kept is None else np.where(self.kept, weight, np.float32(0))

    @property
    def zeros_are_codes(self) -> bool:
        """Whether every pruned weight could be stored as a code that means zero."""
        if self.kept is None or self.zero_point is None:
            return True
        zero = _values(self.zero_point)
        return np.array_equal(np.rint(zero), zero)


def _values(part: np.ndarray | QuantizedStatistics) -> np.ndarray:
    return part.values if isinstance(part, QuantizedStatistics) else part.astype(np.float32)


def stored_bytes(weight: Shaped[np.ndarray, "..."], storage: Quantized | None, *, kept: int | None = None) -> int:
    """Bytes of a weight in the smaller of two layouts: every value, or a bit a value and the `kept` (those not zero).

    A 2:4 pattern with two index bits for each value that is kept takes as much as the bit mask does.
    """
    n, kept = weight.size, int(np.count_nonzero(weight)) if kept is None else kept
    if storage is None:
        bits = bits_of(weight.dtype)
        return min(math.ceil(n * bits / 8), math.ceil(n / 8) + math.ceil(kept * bits / 8))
    inside = 0 if storage.outliers is None else len(storage.outliers.values)
    values = math.ceil(n / 8) + math.ceil(max(kept - inside, 0) * storage.bits / 8)
    if storage.zeros_are_codes:
        values = min(values, math.ceil(n * storage.bits / 8))
    parts = (storage.scale, storage.zero_point, storage.order, storage.outliers, storage.adapter)
    return values + sum(_nbytes(part, storage) for part in parts if part is not None)


def bits_of(dtype: np.dtype) -> int:
    """Bits of a number where it is stored: numpy has a byte for those of four bits, of which files pack two in one."""
    return 4 if dtype.name in ("int4", "uint4") else 8 * dtype.itemsize


def _nbytes(part: np.ndarray | QuantizedStatistics | Outliers | Adapter, storage: Quantized) -> int:
    if isinstance(part, np.ndarray) and part is storage.zero_point:
        return math.ceil(part.size * storage.bits / 8)  # zero points are codes, packed as they are
    return part.nbytes


def compact(real: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The numbers as float16 where they are normal numbers there, else as float32."""
    size = np.abs(real[real != 0])
    if size.size and (size.min() < np.finfo(np.float16).tiny or size.max() > np.finfo(np.float16).max):
        return real.astype(np.float32)
    return real.astype(np.float16)
