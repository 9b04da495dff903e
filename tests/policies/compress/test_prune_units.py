import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.compress.strategies import image_policy, mlp, real, unit_prunings
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy, replace_layers

ACTIVATIONS = [layers.Relu(), layers.Tanh(), layers.Sigmoid(), layers.Elu(), layers.Gelu(), layers.HardTanh(-0.5, 2.0)]


def widths(policy: Policy) -> list[int]:
    return [layer.weight.shape[0] for layer in policy.layers if isinstance(layer, layers.Linear)]


def with_dead_rows(policy: Policy, dead: dict[int, list[int]], *, keep_bias: bool) -> Policy:
    """The policy with rows of zeros in some linear layers."""
    new = list(policy.layers)
    for index, rows in dead.items():
        layer = new[index]
        assert isinstance(layer, layers.Dense | layers.Conv2d)
        assert layer.bias is not None
        weight, bias = layer.weight.copy(), layer.bias.copy()
        weight[rows] = 0
        if not keep_bias:
            bias[rows] = 0
        new[index] = dataclasses.replace(layer, weight=weight, bias=bias)
    return replace_layers(policy, tuple(new))


@pytest.mark.parametrize("importance", ["l1", "l2"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: type(layer).__name__)
def test_units_of_no_importance_leave_without_a_trace(importance: str, activation: layers.Activation) -> None:
    rng = np.random.default_rng(0)
    policy = mlp((5, 10, 20, 3), rng, activation=activation)
    policy = with_dead_rows(policy, {0: [1, 7, 9], 2: [0, 3, 4, 11, 12, 19]}, keep_bias=True)
    small = compress(policy, f"prune_units(0.3, importance='{importance}')")
    assert widths(small) == [7, 14, 3]
    x = real(rng, 100, 5)
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=2e-6)


@pytest.mark.parametrize("padding", [0, 1])
def test_channels_of_no_importance_leave_without_a_trace(padding: int) -> None:
    rng = np.random.default_rng(1)
    policy = image_policy(rng, padding=padding)
    policy = with_dead_rows(policy, {1: [2, 5], 3: [0], 6: [1, 2, 8, 10]}, keep_bias=padding == 0)
    small = compress(policy, "prune_units(0.34)")
    assert widths(small) == [4, 4, 8, 3]
    x = rng.integers(0, 256, (50, 2, 9, 9)).astype(np.uint8)
    before, after = (reference.layer_inputs(p, x)[-2] for p in (policy, small))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_the_rows_of_least_norm_go_layer_after_layer() -> None:
    rng = np.random.default_rng(2)
    policy = mlp((6, 10, 10, 2), rng)
    small = compress(policy, "prune_units(0.5, importance='l2')")
    first, second, third = (layer for layer in policy.layers if isinstance(layer, layers.Dense))
    kept1 = sorted(sorted(range(10), key=lambda i: np.linalg.norm(first.weight[i]))[5:])
    kept2 = sorted(sorted(range(10), key=lambda i: np.linalg.norm(second.weight[i, kept1]))[5:])
    expected = (first.weight[kept1], second.weight[kept2][:, kept1], third.weight[:, kept2])
    for layer, weight in zip(
        [layer for layer in small.layers if isinstance(layer, layers.Dense)], expected, strict=True
    ):
        np.testing.assert_array_equal(layer.weight, weight)


def test_units_that_are_silent_on_the_observations_go_first() -> None:
    rng = np.random.default_rng(3)
    policy = mlp((5, 10, 3), rng, activation=layers.Relu())
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    assert first.bias is not None
    bias = first.bias.copy()
    bias[[2, 5, 6]] = -1000
    policy = replace_layers(policy, (dataclasses.replace(first, bias=bias), *policy.layers[1:]))
    x = real(rng, 100, 5)
    small = compress(policy, "prune_units(0.3, importance='activation')", Context.from_observations(policy, x))
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=1e-6)


def test_a_layer_norm_loses_the_entries_of_the_removed_units() -> None:
    rng = np.random.default_rng(4)
    policy = mlp((5, 10, 3), rng)
    norm = layers.LayerNorm(real(rng, 10), real(rng, 10))
    policy = replace_layers(policy, (policy.layers[0], norm, *policy.layers[1:]))
    small = compress(policy, "prune_units(0.5)")
    first = policy.layers[0]
    assert isinstance(first, layers.Dense)
    kept = np.sort(np.argsort(np.abs(first.weight).sum(axis=1))[5:])
    assert isinstance(small.layers[1], layers.LayerNorm)
    np.testing.assert_array_equal(small.layers[1].weight, norm.weight[kept])


def test_random_choices_repeat_by_seed_and_differ_between_seeds() -> None:
    policy = mlp((5, 40, 3), np.random.default_rng(5))
    digests = [
        compress(policy, "prune_units(0.5, importance='random')", Context(policy, seed=seed)).digest
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


@given(st.data())
def test_any_policy_loses_the_rounded_down_part_of_each_hidden_layer(data: st.DataObject) -> None:
    policy = data.draw(policies(forms=("float32", "float16")))
    step = data.draw(unit_prunings(sources=st.just("on_policy")))
    x = plausible_observations(policy.observation_space, 32, np.random.default_rng(0))
    before = widths(policy)
    wanted = [size - min(int(step.ratio * size + 1e-9), size - 1) for size in before[:-1]]
    if wanted == before[:-1]:
        with pytest.raises(NotApplicable):
            compress(policy, (step,), Context.from_observations(policy, x))
        return
    small = compress(policy, (step,), Context.from_observations(policy, x))
    assert widths(small) == [*wanted, before[-1]]
    assert len(reference.act(small, x)) == 32


def test_a_quantized_policy_is_refused() -> None:
    policy = mlp((5, 10, 3), np.random.default_rng(6))
    with pytest.raises(LilliputError, match="prune_units: layer 0 is QuantizedDense; prune before quantize"):
        compress(policy, "quantize() | prune_units(0.5)")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((5, 3), "prune_units: the policy has no hidden units"),
        ((5, 3, 2), "a ratio of 0.3 removes none of 3 hidden units"),
    ],
)
def test_nothing_to_remove_is_said(sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(NotApplicable, match=message):
        compress(mlp(sizes, np.random.default_rng(7)), "prune_units(0.3)")
