"""The constants of C between integers, as arrays of C, and how many bytes they take."""

from typing import final

import numpy as np

from lilliput.policies import affine, layers
from lilliput.policies.constants import dense_values, weight_order
from lilliput.policies.export import fixed, requantize
from lilliput.policies.export.c_integer import fours, pairs_of_integers, weight_array
from lilliput.policies.export.c_text import array
from lilliput.policies.export.c_writer import Writer

_WORTH_UNPACKING = 64
"""Bytes that packing has to save: about what the code that unpacks takes."""


@final
class FixedData:
    """Arrays by name, in the order in which they are stored.

    Attributes:
        texts: each as C defines it.
        nbytes: of all of them; table_bytes: of those that are tables of curves.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.nbytes = self.table_bytes = 0

    def store(self, name: str, values: np.ndarray) -> None:
        """Store an array."""
        self.texts[name] = array(name, values)
        self.nbytes += values.nbytes

    def table(self, name: str, table: requantize.CodeTable) -> None:
        """Store a table of codes."""
        self.store(f"{name}_first", table.first)
        self.store(f"{name}_steps", table.steps)
        self.table_bytes += table.nbytes

    def rows(
        self,
        name: str,
        by: requantize.Straight | fixed.Scaled | requantize.Requantization,
        centred: np.ndarray | None = None,
    ) -> None:
        """Store multipliers and offsets."""
        self.texts[name] = pairs_of_integers(name, by.multiplier, by.offset, centred)
        self.nbytes += by.multiplier.nbytes + by.offset.nbytes

    def row_major(self, name: str, layer: layers.QuantizedDense) -> int:
        """Store the weight row after row; the bits of one."""
        weight, bits = layer.weight, layer.weight.bits
        if affine.packed_nbytes(weight.values.size, bits) + _WORTH_UNPACKING >= weight.values.size:
            bits = 8
        self.store(name, weight.values.reshape(-1) if bits == 8 else affine.pack(weight.values, bits))
        return bits

    def blocks(self, writer: Writer, layer: layers.QuantizedDense) -> str:
        """Store the weight as the kernels of integers want it, and what they are told of it."""
        rows, width = layer.weight.shape
        name = f"{writer.name}_weight"
        if is_paired(layer):
            self.texts[name] = weight_array(name, layer)
            self.nbytes += layer.weight.values.size
            pairs = writer.need("pairs", fours(width) // 2)
            return f"{name}, {rows}, {width}, integer_input({writer.x}, {width}, {pairs})"
        self.store(name, affine.pack(dense_values(layer.weight, weight_order(layer)), layer.weight.bits))
        return f"{name}, {layer.weight.bits}, {rows}, {width}, {writer.x}"


def is_paired(layer: layers.QuantizedDense) -> bool:
    """Whether its weights are read two at a time, as they are stored."""
    return layer.weight.bits == 8 and requantize.is_paired(layer)
