"""Every constant that a decision reads, byte for byte as the C format stores it: what `model_bytes` counts.

Weights are stored dense, or without their zeros where that is smaller; low-bit codes are packed. The C exporter writes
these arrays and no others, and a test holds the compiled constant section to their sum.
"""

from dataclasses import dataclass
from typing import Literal, assert_never, final

import numpy as np

from lilliput import affine, layers
from lilliput.affine import QuantizedTensor

Encoding = Literal["dense", "bitmask", "indexed"]


@final
@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A weight as the C format stores it.

    Attributes:
        encoding: `dense`: all values in row-major order. `bitmask`: the values that are not zero, and one bit a weight,
            in row-major order, lowest bit first. `indexed`: the values that are not zero, the column of each, and how
            many a row has.
        values: float32, float16, int8 (8-bit codes) or uint8 (a bit stream of codes of fewer bits).
        mask: uint8, empty unless `bitmask`.
        columns: uint8 or uint16, empty unless `indexed`.
        row_lengths: uint8 or uint16, empty unless `indexed`.
    """

    encoding: Encoding
    values: np.ndarray
    mask: np.ndarray
    columns: np.ndarray
    row_lengths: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self.values.nbytes + self.mask.nbytes + self.columns.nbytes + self.row_lengths.nbytes


def store_weight(weight: np.ndarray | QuantizedTensor) -> StoredWeight:
    """The weight in the smallest of the encodings, the simplest among equals."""
    codes = weight.values if isinstance(weight, QuantizedTensor) else weight
    rows = codes.reshape(len(codes), -1)
    bits = weight.bits if isinstance(weight, QuantizedTensor) else None

    def stored(values: np.ndarray) -> np.ndarray:
        if bits is None or bits == 8:
            return np.ascontiguousarray(values).reshape(-1)
        return affine.pack(values, bits)

    none = np.zeros(0, np.uint8)
    dense = StoredWeight("dense", stored(rows), none, none, none)
    kept = rows != 0
    if kept.all() or rows.shape[1] > 1 << 16:
        return dense
    values = stored(rows[kept])
    bitmask = StoredWeight("bitmask", values, np.packbits(kept.reshape(-1), bitorder="little"), none, none)
    index_type = np.uint8 if rows.shape[1] <= 256 else np.uint16
    count_type = np.uint8 if rows.shape[1] <= 255 else np.uint16
    if rows.shape[1] == 1 << 16 and kept.all(axis=1).any():
        return min(dense, bitmask, key=lambda candidate: candidate.nbytes)
    columns = np.nonzero(kept)[1].astype(index_type)
    indexed = StoredWeight("indexed", values, none, columns, kept.sum(axis=1).astype(count_type))
    return min(dense, bitmask, indexed, key=lambda candidate: candidate.nbytes)


def constants(layer: layers.Layer) -> dict[str, np.ndarray]:
    """The layer's constants by name, in the order in which the C format writes them; empty arrays are left out."""
    match layer:
        case layers.Dense() | layers.Conv2d():
            found = {**_weight(layer.weight), "bias": layer.bias}
        case layers.QuantizedDense() | layers.QuantizedConv2d():
            found = {
                **_range(layer.input),
                **_weight(layer.weight),
                "weight_scale": layer.weight.scale,
                "bias": layer.bias,
            }
        case layers.SelectInputs(indices=indices):
            found = {"indices": indices.astype(np.uint8) if indices[-1] < 256 else indices}
        case layers.Standardize():
            clip = layer.clip if np.isfinite(layer.clip).any() else None
            found = {"mean": layer.mean, "scale": layer.scale, "clip": clip}
        case layers.LayerNorm():
            found = {"weight": layer.weight, "bias": layer.bias}
        case layers.RescaleAction():
            found = {"scale": layer.scale, "offset": layer.offset}
        case layers.ClipAction():
            found = {"low": layer.low, "high": layer.high}
        case (
            layers.Flatten() | layers.Relu() | layers.Tanh() | layers.Sigmoid() | layers.Elu() | layers.LeakyRelu()
            | layers.Silu() | layers.Gelu() | layers.HardTanh() | layers.SquashAction() | layers.ArgmaxAction()
        ):  # fmt: skip
            found = {}
        case _:
            assert_never(layer)
    return {name: array for name, array in found.items() if array is not None and array.size}


def _weight(weight: np.ndarray | QuantizedTensor) -> dict[str, np.ndarray]:
    stored = store_weight(weight)
    return {"weight": stored.values, "mask": stored.mask, "columns": stored.columns, "row_lengths": stored.row_lengths}


def _range(range_: layers.InputRange) -> dict[str, np.ndarray]:
    if not isinstance(range_, layers.StaticRange):
        return {}
    zero_point = range_.zero_point
    smallest = next(t for t in (np.uint8, np.int16, np.int32) if np.array_equal(zero_point.astype(t), zero_point))
    return {"inverse_scale": range_.inverse_scale, "zero_point": zero_point.astype(smallest)}
