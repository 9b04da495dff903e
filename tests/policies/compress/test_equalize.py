import dataclasses

import numpy as np
import pytest
from hypothesis import given
from tests.policies.compress.strategies import image_policy, mlp, real
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import compress
from lilliput.policies.policy import Policy, replace_layers


def unequal(rng: np.random.Generator) -> Policy:
    """A policy whose first units differ in size by a factor of a thousand."""
    policy = mlp((5, 16, 12, 3), rng, activation=layers.Relu())
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    assert first.bias is not None
    size = np.geomspace(0.03, 30, 16).astype(np.float32)
    second = policy.layers[2]
    assert isinstance(second, layers.Dense)
    scaled = (
        layers.Dense(first.weight * size[:, None], first.bias * size),
        layers.Relu(),
        layers.Dense(second.weight / size, second.bias),
    )
    return replace_layers(policy, (*scaled, *policy.layers[3:]))


def test_the_function_stays_and_neighbours_have_equal_ranges() -> None:
    rng = np.random.default_rng(0)
    policy = unequal(rng)
    equal = compress(policy, "equalize()")
    x = real(rng, 100, 5)
    np.testing.assert_allclose(reference.act(equal, x), reference.act(policy, x), rtol=1e-3, atol=1e-3)
    first, second, third = (layer.weight for layer in equal.layers if isinstance(layer, layers.Dense))
    np.testing.assert_allclose(np.abs(first).max(axis=1), np.abs(second).max(axis=0), rtol=0.01)
    np.testing.assert_allclose(np.abs(second).max(axis=1), np.abs(third).max(axis=0), rtol=0.01)


def test_weights_of_one_scale_lose_less_afterwards() -> None:
    rng = np.random.default_rng(1)
    policy = unequal(rng)
    x = real(rng, 200, 5)
    exact = reference.act(policy, x)
    errors = [
        np.abs(reference.act(compress(policy, recipe), x) - exact).mean()
        for recipe in ("quantize(6, scheme='weight_only')", "equalize() | quantize(6, scheme='weight_only')")
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("padding", [0, 1])
def test_channels_too(padding: int) -> None:
    rng = np.random.default_rng(2)
    policy = image_policy(rng, padding=padding)
    x = rng.integers(0, 256, (50, 2, 9, 9)).astype(np.uint8)
    before, after = (reference.layer_inputs(p, x)[-2] for p in (policy, compress(policy, "equalize()")))
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=1e-4)


@given(policies(forms=("float32",), actions=("box",)))
def test_any_policy_stays_what_it_was_or_is_refused(policy: Policy) -> None:
    try:
        equal = compress(policy, "equalize()")
    except LilliputError:
        return
    x = plausible_observations(policy.observation_space, 16, np.random.default_rng(0))
    np.testing.assert_allclose(reference.act(equal, x), reference.act(policy, x), rtol=5e-3, atol=5e-3)


def test_a_dead_unit_is_left_alone() -> None:
    rng = np.random.default_rng(3)
    policy = unequal(rng)
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    weight = first.weight.copy()
    weight[4] = 0
    policy = replace_layers(policy, (dataclasses.replace(first, weight=weight), *policy.layers[1:]))
    x = real(rng, 50, 5)
    np.testing.assert_allclose(
        reference.act(compress(policy, "equalize()"), x), reference.act(policy, x), rtol=1e-3, atol=1e-3
    )


def test_activations_that_a_factor_does_not_pass_are_refused() -> None:
    with pytest.raises(NotApplicable, match="equalize: no hidden units behind a Relu, a LeakyRelu or nothing"):
        compress(mlp((5, 6, 2), np.random.default_rng(4)), "equalize()")
