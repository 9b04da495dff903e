import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.compress.strategies import mlp, real

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.compress.mixed import _step_by_step, allocations
from lilliput.policies.policy import replace_layers


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[int, dict[int, float]], dict[int, dict[int, int]]]:
    """Errors that fall and bytes that grow with the bits of some layers."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    error, nbytes = {}, {}
    for index in range(draw(st.integers(1, 4))):
        error[2 * index] = {bits: float(rng.exponential()) * 4.0 ** (2 - bits) for bits in range(2, 9)}
        n = int(rng.integers(5, 500))
        nbytes[2 * index] = {bits: 10 + n * bits // 8 for bits in range(2, 9)}
    return error, nbytes


@given(tables(), st.floats(0, 1))
def test_no_other_bits_within_the_budget_lose_less(tables, part: float) -> None:
    error, nbytes = tables
    least, most = (sum(sizes[bits] for sizes in nbytes.values()) for bits in (2, 8))
    budget = int(least + part * (most - least))
    found = allocations(error, nbytes, budget)
    bits = found[0]
    assert all(sum(nbytes[i][b] for i, b in other.items()) <= budget for other in found)
    assert sum(nbytes[i][b] for i, b in bits.items()) <= budget
    loss = sum(error[i][b] for i, b in bits.items())
    for every in itertools.product(range(2, 9), repeat=len(error)):
        if sum(nbytes[i][b] for i, b in zip(error, every, strict=True)) <= budget:
            assert loss <= sum(error[i][b] for i, b in zip(error, every, strict=True))
    (greedy,) = _step_by_step(error, nbytes, budget)
    assert allocations(error, nbytes, int(least) - 1) == _step_by_step(error, nbytes, int(least) - 1) == []
    assert sum(nbytes[i][b] for i, b in greedy.items()) <= budget


def test_many_layers_share_a_budget_sensibly() -> None:
    error = {i: {b: 4.0 ** (2 - b) * (100 if i == 3 else 1) for b in range(2, 9)} for i in range(12)}
    nbytes = {i: {b: 100 * b for b in range(2, 9)} for i in range(12)}
    bits = allocations(error, nbytes, 12 * 400)[0]
    assert sum(nbytes[i][b] for i, b in bits.items()) <= 12 * 400
    assert bits[3] > max(b for i, b in bits.items() if i != 3)


@pytest.mark.parametrize("scheme", ["static", "dynamic", "weight_only"])
def test_a_policy_fits_its_budget_and_loses_less_than_with_equal_bits(scheme: str) -> None:
    rng = np.random.default_rng(0)
    policy = mlp((6, 40, 40, 3), rng, activation=layers.Relu())
    x = real(rng, 1200, 6)
    context = Context.from_observations(policy, x[:1000])
    recipe = f"scheme='{scheme}', method='gptq', bias_correction=True"
    equal = compress(policy, f"quantize(3, {recipe})", context)
    mixed = compress(policy, f"quantize('auto', {recipe}, max_bytes={equal.model_bytes})", context)
    assert mixed.model_bytes <= equal.model_bytes
    exact = reference.act(policy, x[1000:])
    errors = [np.square(reference.act(small, x[1000:]) - exact).mean() for small in (mixed, equal)]
    assert errors[0] <= errors[1] * 1.1


def test_a_budget_that_all_bits_fit_is_not_used_up() -> None:
    rng = np.random.default_rng(1)
    policy = mlp((6, 8, 3), rng)
    x = real(rng, 100, 6)
    small = compress(policy, "quantize('auto', max_bytes=100000)", Context.from_observations(policy, x))
    assert max(small.weight_bits) == 8


def test_budgets_that_make_no_sense_are_refused() -> None:
    rng = np.random.default_rng(2)
    policy = mlp((6, 8, 3), rng)
    context = Context.from_observations(policy, real(rng, 100, 6))
    with pytest.raises(
        LilliputError, match=r"quantize: max_bytes is 30; the policy takes at least \d+: raise it, or prune before"
    ):
        compress(policy, "quantize('auto', max_bytes=30)", context)
    for recipe in ("quantize('auto')", "quantize(8, max_bytes=100)"):
        with pytest.raises(LilliputError, match="auto and a budget go together"):
            compress(policy, recipe, context)


def test_the_layer_that_matters_gets_the_bits() -> None:
    rng = np.random.default_rng(3)
    policy = mlp((6, 40, 40, 3), rng, activation=layers.Relu())
    first = policy.layers[2]
    assert isinstance(first, layers.Dense)
    quiet = layers.Dense(first.weight * np.float32(0.01), first.bias)
    policy = replace_layers(policy, (*policy.layers[:2], quiet, *policy.layers[3:]))
    x = real(rng, 1200, 6)
    context = Context.from_observations(policy, x[:1000])
    equal = compress(policy, "quantize(4)", context)
    mixed = compress(policy, f"quantize('auto', max_bytes={equal.model_bytes})", context)
    assert mixed.weight_bits[1] < min(mixed.weight_bits[0], mixed.weight_bits[2])
    exact = reference.act(policy, x[1000:])
    errors = [np.square(reference.act(small, x[1000:]) - exact).mean() for small in (mixed, equal)]
    assert errors[0] < 0.5 * errors[1]
