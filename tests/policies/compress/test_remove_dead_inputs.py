import dataclasses

import numpy as np
import pytest
from tests.policies.compress.strategies import f32, image_policy, mlp, real

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy, replace_layers


def normalized(rng: np.random.Generator, *, dead: list[int]) -> Policy:
    """A policy of six inputs behind a normalizer, where `dead` ones never moved in training."""
    scale = np.abs(real(rng, 6)) + np.float32(0.5)
    scale[dead] = 10_000
    front = layers.Standardize(real(rng, 6), scale, f32(10))
    return mlp((6, 8, 3), rng, front=(front,))


def select(policy: Policy) -> list[int]:
    first = policy.layers[0]
    assert isinstance(first, layers.SelectInputs)
    return first.indices.tolist()


def test_an_input_that_is_always_the_same_goes_into_the_bias() -> None:
    rng = np.random.default_rng(0)
    policy = normalized(rng, dead=[])
    x = real(rng, 50, 6)
    x[:, 1], x[:, 4] = 0.75, -100  # the second is clipped by the normalizer
    small = compress(policy, "remove_dead_inputs()", Context.from_observations(policy, x))
    assert select(small) == [0, 2, 3, 5]
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=1e-5)
    assert small.model_bytes < policy.model_bytes
    assert small.observation_space is policy.observation_space


def test_an_input_without_weights_goes_wherever_it_moves_and_without_observations() -> None:
    rng = np.random.default_rng(1)
    policy = mlp((6, 8, 3), rng)
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    weight = first.weight.copy()
    weight[:, [0, 5]] = 0
    policy = replace_layers(policy, (dataclasses.replace(first, weight=weight), *policy.layers[1:]))
    told: list[str] = []
    small = compress(policy, "remove_dead_inputs()", Context(policy, say=told.append))
    x = real(rng, 50, 6)
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=1e-6)
    assert select(small) == [1, 2, 3, 4]
    assert told == ["remove_dead_inputs: no observations to check on; weights and normalizer alone decide"]


def test_an_input_that_training_never_moved_is_held_at_its_mean_and_said_when_it_moves_now() -> None:
    rng = np.random.default_rng(2)
    policy = normalized(rng, dead=[2, 3])
    first = policy.layers[0]
    assert isinstance(first, layers.Standardize)
    x = real(rng, 50, 6)
    x[:, 2] = first.mean[2]
    told: list[str] = []
    context = dataclasses.replace(Context.from_observations(policy, x), say=told.append)
    small = compress(policy, "remove_dead_inputs()", context)
    assert select(small) == [0, 1, 4, 5]
    held = x.copy()
    held[:, 3] = first.mean[3]
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, held), atol=1e-5)
    assert told == [
        (
            "remove_dead_inputs: 1 inputs that did not move in training move now (the first is input 3); "
            "they are held at their training mean, which changes actions"
        )
    ]


def test_a_second_removal_selects_from_what_is_left() -> None:
    rng = np.random.default_rng(3)
    policy = normalized(rng, dead=[1])
    x = real(rng, 50, 6)
    once = compress(policy, "remove_dead_inputs()", Context.from_observations(policy, x))
    assert select(once) == [0, 2, 3, 4, 5]
    x[:, 3] = 2
    twice = compress(once, "remove_dead_inputs()", Context.from_observations(policy, x))
    assert select(twice) == [0, 2, 4, 5]
    assert sum(isinstance(layer, layers.SelectInputs) for layer in twice.layers) == 1
    np.testing.assert_allclose(reference.act(twice, x), reference.act(once, x), atol=1e-5)


def test_what_cannot_be_removed_is_said() -> None:
    rng = np.random.default_rng(4)
    policy = mlp((4, 5, 2), rng)
    with pytest.raises(NotApplicable, match="remove_dead_inputs: none of the 4 inputs is dead"):
        compress(policy, "remove_dead_inputs()", Context.from_observations(policy, real(rng, 9, 4)))
    with pytest.raises(
        LilliputError, match="remove_dead_inputs: all 4 inputs are dead; the policy always does the same"
    ):
        compress(policy, "remove_dead_inputs()", Context.from_observations(policy, np.ones((9, 4), np.float32)))
    with pytest.raises(LilliputError, match="layer 0 is QuantizedDense; remove dead inputs before quantize"):
        compress(policy, "quantize() | remove_dead_inputs()")
    with pytest.raises(NotApplicable, match="remove_dead_inputs: the policy begins with Standardize, Conv2d"):
        compress(image_policy(rng), "remove_dead_inputs()")
