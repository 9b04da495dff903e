"""Codes from integer arithmetic alone, against the reference's floats."""

from typing import Any

import numpy as np
import pytest
from tests.strategies import random_linear

from lilliput import affine, layers, reference
from lilliput.export import requantize
from lilliput.export.steadiness import SHAKE

ACTIVATIONS = [
    (), (layers.Relu(),), (layers.HardTanh(-0.5, 2.0),), (layers.Tanh(),), (layers.Sigmoid(),), (layers.Elu(),),
    (layers.LeakyRelu(),), (layers.Tanh(), layers.Relu()),
]  # fmt: skip


def pair(rng: np.random.Generator, between: tuple[Any, ...], bits: int) -> tuple[Any, Any]:
    x = rng.normal(0, 1, (64, 19)).astype(np.float32)
    first = random_linear(x, "static", rng, outputs=33, per_channel=bool(rng.integers(2)))
    y = forward(between, reference.apply(first, x))
    return first, random_linear(y, "static", rng, outputs=2, bits=(8, bits), per_dimension=False)


def forward(between: tuple[Any, ...], y: np.ndarray) -> np.ndarray:
    for activation in between:
        y = reference.apply(activation, y)
    return y


def by_integers(by: requantize.Requantization, sums: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """What the kernels do, in int64."""
    product = sums * by.multiplier.astype(np.int64)
    if by.table is None:
        value = (product + (offset.astype(np.int64) << requantize.OFFSET_SHIFT)) >> by.shift
        return np.clip(value, by.low, by.high)
    value = offset + (product >> by.shift)
    assert np.abs(value).max() < 1 << 31
    code = by.table.first[np.clip(value >> by.table.shift, 0, 255)].astype(np.int64)
    for jump in (4, 2, 1):
        code += jump * (value >= by.table.steps[code + jump - 1])
    return code


@pytest.mark.parametrize("bits", [8, 5])
@pytest.mark.parametrize("between", ACTIVATIONS, ids=lambda found: "-".join(type(a).__name__ for a in found) or "none")
def test_codes_are_the_references_but_beside_a_tie(between: tuple[Any, ...], bits: int) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        first, second = pair(rng, between, bits)
        by = requantize.requantization(first, between, second.input)
        assert by is not None
        weight = first.weight.values.astype(np.int64)
        codes = np.concatenate([rng.integers(0, 256, (2000, 19)), np.zeros((1, 19), int), np.full((1, 19), 255)])
        sums = codes @ weight.T
        y = sums.astype(np.float32) * first.weight.scale + first.bias
        range_ = second.input
        expected = affine.quantize_unsigned(forward(between, y), range_.inverse_scale, range_.zero_point, bits)
        # A float32 sum of two terms is off by their sizes, not by its own.
        size = np.abs(sums * first.weight.scale.astype(np.float64)) + np.abs(first.bias)
        around = [
            affine.quantize_unsigned(
                forward(between, (y + sign * SHAKE * size).astype(np.float32)) * np.float32(1 + sign * SHAKE),
                range_.inverse_scale, range_.zero_point, bits,
            )
            for sign in (-1, 1)
        ]  # fmt: skip
        for found in (
            by_integers(by, sums, by.offset),
            by_integers(by, sums - requantize.centre(weight), by.centred_offset),
        ):
            lower, upper = np.minimum(*around) - (expected == 0), np.maximum(*around)
            assert ((found >= lower) & (found <= upper)).all()
            assert np.mean(found != expected) < 1e-4


def test_what_integers_cannot_do_is_left_to_floats() -> None:
    rng = np.random.default_rng(0)
    first, second = pair(rng, (layers.Silu(),), 8)
    assert requantize.requantization(first, (layers.Silu(),), second.input) is None  # it falls and rises
    y = rng.normal(0, 1, (64, 33)).astype(np.float32)
    each = random_linear(y, "static", rng, outputs=2)
    assert isinstance(each, layers.QuantizedDense)
    assert isinstance(each.input, layers.StaticRange)
    assert requantize.requantization(first, (layers.Relu(),), each.input) is None  # a range for each number


def test_weights_that_do_not_fit_pairs_are_refused() -> None:
    range_ = layers.StaticRange(np.array(1, np.float32), np.array(0, np.int32))
    one, values = np.array(1, np.float32), np.full((1, 8), 100, np.int8)
    assert requantize.is_paired(layers.QuantizedDense(affine.QuantizedTensor(values, one, 8), None, range_))
    values[0, 3] = -128
    assert not requantize.is_paired(layers.QuantizedDense(affine.QuantizedTensor(values, one, 8), None, range_))
    wide = affine.QuantizedTensor(np.full((1, 1000), 100, np.int8), one, 8)
    assert not requantize.is_paired(layers.QuantizedDense(wide, None, range_))
