"""How much stack a call of the C takes on microcontrollers: a bound, from what was counted for each kind of layer.

What registers a compiler saves shows in an emulator alone. The bytes here are the most of what gcc took on Cortex-M0+,
M3, RV32 and an AVR without a float unit, and on Cortex-M4 and RV32F with one, and a little more; tests hold them.
"""

from typing import assert_never

import numpy as np

from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.constants import store_weight, weight_order
from lilliput.policies.export.c_integer import integer_layers
from lilliput.policies.export.c_linear import BLOCK_ROWS
from lilliput.policies.export.c_source import CSource
from lilliput.policies.policy import Policy

_FEW_ROWS = 8
"""Sums of codes are added one by one where no layer has more rows: see few_sums.h."""
_FEW_FLOAT_ROWS = 4
"""Of floats eight are summed at once."""
_ONE_BY_ONE = 80
_MEMORY = 96
"""Of the cells of a memory, beside their linear layers."""
LARGE_TABLES = 0.5
"""Tables larger than this share of the constants cost a processor with a float unit more flash than they are worth."""


def most(policy: Policy, source: CSource, integers: CSource | None) -> tuple[int, int]:
    """Bytes of stack that a call takes at most on microcontrollers without and with a float unit."""
    if source.units is not None:
        one_by_one = not any(kernel.startswith(("dense_to", "packed_to")) for kernel in source.kernels)
        bound = source.scratch_bytes(has_floats=True) + _between_integers(policy, one_by_one=one_by_one)
        return bound, bound
    without = source if integers is None else integers
    with_one = source if integers is None or has_large_tables(policy, integers) else integers
    return (
        without.scratch_bytes(has_floats=False) + _without_a_float_unit(policy),
        with_one.scratch_bytes(has_floats=True) + _with_a_float_unit(policy),
    )


def has_large_tables(policy: Policy, integers: CSource) -> bool:
    """Whether a float unit is left to do without integers, unless the compiler is told otherwise."""
    return integers.table_bytes > LARGE_TABLES * policy.model_bytes


def _without_a_float_unit(policy: Policy) -> int:
    """Bytes beside the working memory on a processor without a float unit."""
    rows, in_integers = _most_rows(policy), integer_layers(policy)
    return _memory(policy) + max(_soft(rows, part, index in in_integers) for index, part in _linear(policy))


def _with_a_float_unit(policy: Policy) -> int:
    """Bytes beside the working memory on a processor with a float unit."""
    rows = _most_rows(policy)
    return _memory(policy) + max(_hard(rows, part) for _, part in _linear(policy))


def _between_integers(policy: Policy, *, one_by_one: bool) -> int:
    """Bytes beside the working memory where no number is a float, with sums one by one or of blocks of rows."""
    return _ONE_BY_ONE if one_by_one else 4 * _most_rows(policy) + 176


def _soft(rows: int, layer: layers.Linear, is_in_integers: bool) -> int:
    match layer:
        case layers.Conv2d() | layers.QuantizedConv2d():
            return 8 * rows + 272
        case layers.QuantizedDense():
            if layer.input is None:
                return _one_by_one(rows)
            if is_in_integers:
                return 4 * rows + (144 if rows <= _FEW_ROWS else 200)
            if rows <= _FEW_ROWS:
                return 4 * rows + 160
            return 8 * rows + 264 if _is_plain(layer) else 4 * rows + 204
        case layers.Dense():
            if not _is_plain(layer):
                return _one_by_one(rows)
            return 8 * rows + (104 if rows <= _FEW_FLOAT_ROWS else 216)
        case _:
            assert_never(layer)


def _one_by_one(rows: int) -> int:
    """Of weights that become floats one after the other, with the sums where they belong."""
    return 144 if rows <= _FEW_ROWS else 176


def _hard(rows: int, layer: layers.Linear) -> int:
    """With the tile of weights that are decoded, and what it is decoded from: eight columns of a block."""
    match layer:
        case layers.Conv2d() | layers.QuantizedConv2d():
            return 72 * rows + 256
        case layers.QuantizedDense():
            if layer.input is None:
                return _decoded(rows, layer)
            return 8 * rows + 176 if _encoding(layer) == "dense" else 24 * rows + 256
        case layers.Dense():
            return 8 * rows + 128 if _is_plain(layer) else _decoded(rows, layer)
        case _:
            assert_never(layer)


def _decoded(rows: int, layer: layers.Linear) -> int:
    """Of weights that become floats; where zeros were left out, what is kept is decoded apart."""
    return 48 * rows + 112 if _encoding(layer) == "dense" else 72 * rows + 192


def _linear(policy: Policy) -> list[tuple[int, layers.Linear]]:
    """The linear parts, each with the index of its layer."""
    found = [(index, part) for index, layer in enumerate(policy.layers) for part in layers.linear_parts(layer)]
    return [(index if policy.layers[index] is part else -1, part) for index, part in found]


def _is_plain(layer: layers.Linear) -> bool:
    """Whether weights stand as kernels multiply them: as floats, or as codes of 8 bits, and with their zeros."""
    weight = layer.weight
    is_whole = weight.bits == 8 if isinstance(weight, QuantizedTensor) else weight.dtype == np.float32
    return is_whole and _encoding(layer) == "dense"


def _encoding(layer: layers.Linear) -> str:
    return store_weight(layer.weight, weight_order(layer)).encoding


def _memory(policy: Policy) -> int:
    return _MEMORY if policy.has_memory else 0


def _most_rows(policy: Policy) -> int:
    return min(max(part.weight.shape[0] for _, part in _linear(policy)), BLOCK_ROWS)
