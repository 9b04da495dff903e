import dataclasses

import numpy as np
import pytest
from tests.policies.compress.strategies import f32, image_policy, mlp, real

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy, replace_layers


def normalized(rng: np.random.Generator, clip: float = 10.0) -> Policy:
    front = layers.Standardize(real(rng, 5) * 3, np.abs(real(rng, 5)) + f32(0.3), f32(clip))
    return mlp((5, 12, 3), rng, front=(front,))


def names(policy: Policy) -> list[str]:
    return [type(layer).__name__ for layer in policy.layers]


def test_a_normalizer_that_never_clips_leaves_without_a_trace() -> None:
    rng = np.random.default_rng(0)
    policy = normalized(rng)
    x = real(rng, 200, 5)
    told: list[str] = []
    small = compress(
        policy, "fold_inputs()", dataclasses.replace(Context.from_observations(policy, x), say=told.append)
    )
    assert names(small) == ["Dense", "Tanh", "Dense"]
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=1e-5)
    assert told == []
    assert small.model_bytes == policy.model_bytes - 5 * 8 - 4


def test_a_clip_that_is_lost_is_told_or_refused() -> None:
    rng = np.random.default_rng(1)
    policy = normalized(rng, clip=3.0)
    x = real(rng, 1000, 5)
    x[7, 2] = 1e4
    touched = float((np.abs(reference.layer_inputs(policy, x)[1]) >= 3).any(axis=1).mean())
    assert touched > 0.01
    context = Context.from_observations(policy, x)
    with pytest.raises(
        LilliputError, match=rf"the normalizer clips an input in {100 * touched:.3g} % of the observations"
    ):
        compress(policy, "fold_inputs()", context)
    told: list[str] = []
    compress(policy, "fold_inputs(max_clipped=1)", dataclasses.replace(context, say=told.append))
    assert len(told) == 1
    assert f"it touched {100 * touched:.3g} % of the observations" in told[0]
    compress(policy, "fold_inputs()", Context(policy, say=told.append))
    assert told[1] == "fold_inputs: the normalizer's clip is lost, unchecked; name the environment to have it checked"


@pytest.mark.parametrize("input_", ["per_tensor", "per_dimension"])
@pytest.mark.parametrize("bits", [3, 8])
def test_a_static_range_takes_up_the_normalizer_and_its_clip(input_: str, bits: int) -> None:
    rng = np.random.default_rng(2)
    policy = normalized(rng, clip=10.0)
    x = real(rng, 300, 5)
    told: list[str] = []
    context = dataclasses.replace(Context.from_observations(policy, x), say=told.append)
    quantized = compress(policy, f"quantize(activation_bits={bits}, scheme='static', input='{input_}')", context)
    told.clear()  # of how far calibration went
    folded = compress(quantized, "fold_inputs()", context)
    assert names(folded) == ["QuantizedDense", "Tanh", "QuantizedDense"]
    assert told == []  # beyond the clip the codes saturate anyway
    wild = x * 1000
    for inputs, tolerance in ((x, 1), (wild, 1)):
        before, after = (reference.layer_inputs(p, inputs)[at] for p, at in ((quantized, 2), (folded, 1)))
        # A code may differ by one where rounding falls to the other side: never by more, on average by half of one.
        first = quantized.layers[1]
        assert isinstance(first, layers.QuantizedDense)
        step = np.abs(first.weight.values).sum(axis=1) * first.weight.scale
        assert (np.abs(before - after) <= tolerance * step + 1e-4).all()
    exact = reference.act(policy, x)
    errors = [np.abs(reference.act(small, x) - exact).mean() for small in (quantized, folded)]
    assert errors[1] < 1.3 * errors[0] + 1e-6


def test_an_input_that_never_changed_costs_no_digits() -> None:
    rng = np.random.default_rng(5)
    policy = normalized(rng, clip=20.0)
    x = real(rng, 300, 5)
    x[:, 3] = 0.99984
    context = Context.from_observations(policy, x)
    quantized = compress(policy, "quantize(scheme='static', input='per_dimension')", context)
    folded = compress(quantized, "fold_inputs()", context)
    first = folded.layers[0]
    assert isinstance(first, layers.QuantizedDense)
    assert isinstance(first.input, layers.StaticRange)
    # It keeps a range around where it stood: it may move where the policy is used.
    code = 0.99984 * first.input.inverse_scale[3] + first.input.zero_point[3]
    assert 0 < code < 255
    assert np.abs(first.input.zero_point).max() < 2**15
    errors = [np.abs(reference.act(small, x) - reference.act(policy, x)).mean() for small in (quantized, folded)]
    assert errors[1] < 1.3 * errors[0] + 1e-6


def test_a_plain_scale_of_an_image_goes_into_the_first_convolution() -> None:
    rng = np.random.default_rng(3)
    policy = image_policy(rng, padding=1)
    x = rng.integers(0, 256, (20, 2, 9, 9)).astype(np.uint8)
    small = compress(policy, "fold_inputs()")
    assert names(small)[0] == "Conv2d"
    before, after = (reference.layer_inputs(p, x)[-2] for p in (policy, small))
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_what_cannot_be_folded_is_said() -> None:
    rng = np.random.default_rng(4)
    with pytest.raises(NotApplicable, match="fold_inputs: the policy has no normalizer"):
        compress(mlp((3, 2), rng), "fold_inputs()")
    with pytest.raises(NotApplicable, match="fold_inputs: the normalizer is followed by QuantizedDense"):
        compress(normalized(rng), "quantize() | fold_inputs()")
    with pytest.raises(LilliputError, match=r"fold_inputs: max_clipped is 2; it must be in \[0, 1\]"):
        compress(normalized(rng), "fold_inputs(2)")
    policy = normalized(rng)
    far = layers.Standardize(f32([0, 0, 1e9, 0, 0]), f32(1), f32(10))
    policy = replace_layers(policy, (far, *policy.layers[1:]))
    x = real(rng, 50, 5)
    with pytest.raises(LilliputError, match="fold_inputs: input 2 has a mean of 1e"):
        compress(policy, "quantize(scheme='static') | fold_inputs(1)", Context.from_observations(policy, x))
