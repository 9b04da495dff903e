"""Codes from integer arithmetic alone, against the reference's floats."""

from typing import Any

import numpy as np
import pytest
from tests.strategies import random_linear

from lilliput.policies import affine, layers, reference
from lilliput.policies.export import requantize
from lilliput.policies.export.steadiness import SHAKE

ACTIVATIONS = [
    (), (layers.Relu(),), (layers.HardTanh(-0.5, 2.0),), (layers.Tanh(),), (layers.Sigmoid(),), (layers.Elu(),),
    (layers.LeakyRelu(),), (layers.Tanh(), layers.Relu()), (layers.Silu(),), (layers.Gelu(),),
    (layers.Silu(), layers.HardTanh(-0.2, 3.0)),
]  # fmt: skip


def pair(
    rng: np.random.Generator, between: tuple[Any, ...], bits: int, *, weight_bits: int = 8, halved: bool = False
) -> tuple[Any, Any]:
    x = rng.normal(0, 1, (64, 19)).astype(np.float32)
    first: Any = random_linear(x, "static", rng, outputs=33, bits=(weight_bits, 8), per_channel=bool(rng.integers(2)))
    first = in_halves(first) if halved else first
    y = forward(between, reference.apply(first, x))
    second = random_linear(y, "static", rng, outputs=2, bits=(8, bits), per_dimension=False)
    return first, in_halves(second) if halved else second


def in_halves(layer: Any) -> layers.QuantizedDense:
    """The layer with every real number stored in 16 bits, as students are."""
    scale = layer.weight.scale.astype(np.float16)
    weight = affine.QuantizedTensor(layer.weight.values, scale, layer.weight.bits)
    range_ = layers.StaticRange(layer.input.inverse_scale.astype(np.float16), layer.input.zero_point, layer.input.bits)
    return layers.QuantizedDense(weight, layer.bias.astype(np.float16), range_)


def forward(between: tuple[Any, ...], y: np.ndarray) -> np.ndarray:
    for activation in between:
        y = reference.apply(activation, y)
    return y


def by_integers(by: requantize.Requantization, sums: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """What the kernels do, in int64."""
    product = sums * by.up * by.multiplier.astype(np.int64)
    if by.table is None:
        value = (product + (offset.astype(np.int64) << requantize.OFFSET_SHIFT)) >> by.shift
        return np.clip(value, by.low, by.high)
    value = offset + (product >> by.shift)
    assert np.abs(value).max() < 1 << 31
    table, wide = by.table, np.clip(value >> by.table.shift, 0, 255)
    passed = table.first[wide] + 256 * (wide >= table.late)
    for jump in (4, 2, 1):
        passed += jump * (value >= table.steps[passed + jump - 1])
    return table.low + np.abs(passed - table.falling) if table.falling else passed


@pytest.mark.parametrize(
    ("weight_bits", "bits", "halved"), [(8, 8, False), (8, 5, False), (5, 8, True), (2, 6, True), (3, 8, True)]
)
@pytest.mark.parametrize("between", ACTIVATIONS, ids=lambda found: "-".join(type(a).__name__ for a in found) or "none")
def test_codes_are_the_references_but_beside_a_tie(
    between: tuple[Any, ...], weight_bits: int, bits: int, halved: bool
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        first, second = pair(rng, between, bits, weight_bits=weight_bits, halved=halved)
        by = requantize.requantization(first, between, second.input)
        assert by is not None
        weight = first.weight.values.astype(np.int64)
        codes = np.concatenate([rng.integers(0, 256, (2000, 19)), np.zeros((1, 19), int), np.full((1, 19), 255)])
        sums = codes @ weight.T
        scale, bias = first.weight.scale.astype(np.float32), first.bias.astype(np.float32)
        y = sums.astype(np.float32) * scale + bias
        range_, inverse = second.input, second.input.inverse_scale.astype(np.float32)
        expected = affine.quantize_unsigned(forward(between, y), inverse, range_.zero_point, bits)
        # A float32 sum of two terms is off by their sizes, not by its own.
        size = np.abs(sums * scale.astype(np.float64)) + np.abs(bias)
        for found in (
            by_integers(by, sums, by.offset),
            by_integers(by, sums - requantize.centre(weight), by.centred_offset),
        ):
            off = found != expected
            assert np.mean(off) < 1e-4
            around = [expected[off]] + [
                affine.quantize_unsigned(
                    forward(between, (y + sign * SHAKE * size)[off].astype(np.float32)) * np.float32(1 + last * SHAKE),
                    inverse, range_.zero_point, bits,
                )
                for sign in (-1, 1)
                for last in (-1, 1)
            ]  # fmt: skip
            assert ((found[off] >= np.min(around, axis=0)) & (found[off] <= np.max(around, axis=0))).all()


def test_what_integers_cannot_do_is_left_to_floats() -> None:
    rng = np.random.default_rng(0)
    first, second = pair(rng, (layers.Silu(),), 8)
    waves = (layers.LeakyRelu(-0.5),), (layers.Relu(), layers.Silu()), (layers.Silu(), layers.Silu())
    for between in waves:  # they fall, or fall and rise from elsewhere
        assert requantize.requantization(first, between, second.input) is None
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
