import dataclasses

import numpy as np
import pytest
from hypothesis import given
from tests.policies.compress.strategies import f32, mlp, real
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy, replace_layers


@given(policies(forms=("float32",), actions=("box",)))
def test_any_policy_takes_half_the_bytes_and_computes_nearly_the_same(policy: Policy) -> None:
    small = compress(policy, "half()")
    linear = [layer for layer in small.layers if isinstance(layer, layers.Dense | layers.Conv2d)]
    assert {layer.weight.dtype for layer in linear} == {np.dtype(np.float16)}
    for before, after in zip(policy.layers, small.layers, strict=True):
        if isinstance(before, layers.Dense | layers.Conv2d):
            assert isinstance(after, layers.Dense | layers.Conv2d)
            np.testing.assert_array_equal(after.weight, before.weight.astype(np.float16))
    x = plausible_observations(policy.observation_space, 16, np.random.default_rng(0))
    before, after = reference.act(policy, x), reference.act(small, x)
    assert np.abs(before - after).max() <= 0.02 * max(float(np.abs(before).max()), 1)


def test_static_ranges_stay_exactly_where_they_were() -> None:
    rng = np.random.default_rng(1)
    policy = mlp((5, 12, 3), rng, activation=layers.Relu())
    x = real(rng, 100, 5) + 30
    small = compress(policy, "quantize(scheme='static', input='every_dimension')", Context.from_observations(policy, x))
    halved = compress(small, "half()")
    for before, after in zip(small.layers, halved.layers, strict=True):
        if isinstance(before, layers.QuantizedDense):
            assert isinstance(after, layers.QuantizedDense)
            assert isinstance(before.input, layers.StaticRange)
            assert isinstance(after.input, layers.StaticRange)
            assert after.input.inverse_scale.dtype == np.float16
            np.testing.assert_array_equal(after.input.inverse_scale, before.input.inverse_scale)
    before = reference.act(small, x)
    assert np.abs(before - reference.act(halved, x)).max() < 0.001 * np.abs(before).max()
    assert halved.model_bytes < small.model_bytes


def test_a_normalizer_that_needs_its_digits_keeps_them() -> None:
    rng = np.random.default_rng(2)
    front = layers.Standardize(f32([1000.03, 0.5]), f32([100.0, 1.0]), f32(10))
    policy = mlp((2, 4, 1), rng, front=(front,))
    x = f32([[1000.03, 0.5]]) + real(rng, 50, 2) * f32([0.01, 1])
    small = compress(policy, "half()")
    assert np.abs(reference.act(policy, x) - reference.act(small, x)).max() < 0.01
    first = small.layers[0]
    assert isinstance(first, layers.Standardize)
    assert first.mean.dtype == np.float32
    assert first.scale.dtype == np.float16


def test_what_float16_cannot_hold_is_refused() -> None:
    policy = mlp((3, 2), np.random.default_rng(3))
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    large = replace_layers(policy, (dataclasses.replace(first, weight=first.weight * np.float32(1e6)),))
    with pytest.raises(LilliputError, match=r"half: a weight of layer 0 \(Dense\) is .*; float16 ends at 65504"):
        compress(large, "half()")


def test_a_second_time_there_is_nothing_left() -> None:
    policy = mlp((3, 2), np.random.default_rng(4))
    with pytest.raises(NotApplicable, match="half: there is no float32 constant left"):
        compress(policy, "half() | half()")
