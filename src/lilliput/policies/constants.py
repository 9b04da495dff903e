"""Every constant that a decision reads, byte for byte as the C format stores it: what `model_bytes` counts.

Weights are stored dense, or without their zeros where that saves at least a quarter (`WORTH_DECODING`); low-bit codes
are packed. The C exporter writes these arrays and no others, and a test holds the compiled constants to their sum.
"""

from dataclasses import dataclass
from typing import Literal, assert_never, final

import numpy as np

from lilliput.policies import affine, layers
from lilliput.policies.affine import QuantizedTensor

Encoding = Literal["dense", "bitmask", "indexed"]

WORTH_DECODING = 0.75
"""The share of the dense bytes that an encoding without zeros may need at most to be taken.

What is not stored dense has to be decoded in every decision, which takes about as long as the arithmetic: a few zeros
among many codes (a range that one large weight stretches) would otherwise buy a tenth of the bytes for twice the time.
"""


@final
@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A weight as the C format stores it.

    Attributes:
        encoding: `dense`: all values, in the stored order. `bitmask`: the values that are not zero, and one bit a
            weight, lowest bit first, both in the stored order. `indexed`: the values that are not zero, row by row,
            the column of each, and how many a row has.
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


@final
@dataclass(frozen=True)
class WeightOrder:
    """The order of a dense weight: blocks of rows; in a block, groups of columns; in a group, row after row.

    The last block and the last group are smaller where they have to be: nothing is padded. So a processor multiplies
    as many rows at once as its vectors are wide, and adds up nothing across a vector. One and one is row-major.
    """

    rows: int = 1
    columns: int = 1


ROW_MAJOR = WeightOrder()


def weight_order(layer: layers.Linear) -> WeightOrder:
    """The order in which the layer's weight is stored."""
    codes_meet_codes = isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d) and layer.input is not None
    return WeightOrder(16, 4 if codes_meet_codes else 1)


def store_weight(weight: np.ndarray | QuantizedTensor, order: WeightOrder = ROW_MAJOR) -> StoredWeight:
    """The weight as the C format stores it; a convolution's channels come last.

    Without its zeros where that needs at most `WORTH_DECODING` of the dense bytes: with a bit mask, or with indices
    where they are fewer bytes (dense layers only).
    """
    codes = weight.values if isinstance(weight, QuantizedTensor) else weight
    rows = (codes.transpose(0, 2, 3, 1) if codes.ndim == 4 else codes).reshape(len(codes), -1)
    bits = weight.bits if isinstance(weight, QuantizedTensor) else None

    def stored(values: np.ndarray) -> np.ndarray:
        if bits is None or bits == 8:
            return np.ascontiguousarray(values).reshape(-1)
        return affine.pack(values, bits)

    none = np.zeros(0, np.uint8)
    ordered = _ordered(rows, order)
    dense = StoredWeight("dense", stored(ordered), none, none, none)
    mask = np.packbits(ordered != 0, bitorder="little")
    candidates = [StoredWeight("bitmask", stored(ordered[ordered != 0]), mask, none, none)]
    kept = rows != 0
    lengths = kept.sum(axis=1)
    if codes.ndim == 2 and rows.shape[1] <= 1 << 16 and lengths.max() < 1 << 16:
        columns = np.nonzero(kept)[1].astype(np.uint8 if rows.shape[1] <= 256 else np.uint16)
        counts = lengths.astype(np.uint8 if rows.shape[1] <= 255 else np.uint16)
        candidates.append(StoredWeight("indexed", stored(rows[kept]), none, columns, counts))
    smallest = min(candidates, key=lambda candidate: candidate.nbytes)
    return smallest if smallest.nbytes <= WORTH_DECODING * dense.nbytes else dense


def dense_values(weight: QuantizedTensor, order: WeightOrder) -> np.ndarray:
    """The codes of a dense layer in the stored order, all of them."""
    return _ordered(weight.values, order)


def _ordered(rows: np.ndarray, order: WeightOrder) -> np.ndarray:
    """All values in the stored order.

    >>> _ordered(np.arange(15).reshape(3, 5), WeightOrder(2, 4)).tolist()
    [0, 1, 2, 3, 5, 6, 7, 8, 4, 9, 10, 11, 12, 13, 14]
    """
    parts = []
    whole = rows.shape[1] // order.columns * order.columns
    for start in range(0, len(rows), order.rows):
        block = rows[start : start + order.rows]
        groups = block[:, :whole].reshape(len(block), -1, order.columns).transpose(1, 0, 2)
        parts += [groups.reshape(-1), block[:, whole:].reshape(-1)]
    return np.concatenate(parts)


def _selection(indices: np.ndarray) -> dict[str, np.ndarray]:
    """The indices, or one bit for each input up to the last of them, where that is fewer bytes."""
    listed = indices.astype(np.uint8) if indices[-1] < 256 else indices
    mask = np.packbits(np.isin(np.arange(int(indices[-1]) + 1), indices), bitorder="little")
    return {"mask": mask} if mask.nbytes < listed.nbytes else {"indices": listed}


def constants(layer: layers.Layer) -> dict[str, np.ndarray]:
    """The layer's constants by name, in the order in which the C format writes them; empty arrays are left out."""
    match layer:
        case layers.Dense() | layers.Conv2d():
            found = {**_weight(layer), "bias": layer.bias}
        case layers.QuantizedDense() | layers.QuantizedConv2d():
            found = {
                **_range(layer.input),
                **_weight(layer),
                "weight_scale": layer.weight.scale,
                "bias": layer.bias,
            }
        case layers.Lstm() | layers.Gru():
            parts = {"input": constants(layer.input), "recurrent": constants(layer.recurrent)}
            found = {f"{part}_{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
            found |= {} if layer.initial is None else {"initial": layer.initial}
        case layers.SelectInputs(indices=indices):
            found = _selection(indices)
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
            | layers.Silu() | layers.Gelu() | layers.HardTanh() | layers.History() | layers.PreviousAction()
            | layers.SquashAction() | layers.BetaAction() | layers.ArgmaxAction()
        ):  # fmt: skip
            found = {}
        case _:
            assert_never(layer)
    return {name: array for name, array in found.items() if array is not None and array.size}


def _weight(layer: layers.Linear) -> dict[str, np.ndarray]:
    stored = store_weight(layer.weight, weight_order(layer))
    return {"weight": stored.values, "mask": stored.mask, "columns": stored.columns, "row_lengths": stored.row_lengths}


def _range(range_: layers.InputRange) -> dict[str, np.ndarray]:
    if not isinstance(range_, layers.StaticRange):
        return {}
    return {"inverse_scale": range_.inverse_scale, "zero_point": stored_zero_point(range_)}


def stored_zero_point(range_: layers.StaticRange) -> np.ndarray:
    """The zero points in the smallest type that holds them."""
    zero_point = range_.zero_point
    smallest = next(t for t in (np.uint8, np.int16, np.int32) if np.array_equal(zero_point.astype(t), zero_point))
    return zero_point.astype(smallest)
