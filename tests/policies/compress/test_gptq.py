import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.compress.strategies import image_policy, mlp, real

from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.compress.gptq import gptq


def output_error(weight: np.ndarray, codes: np.ndarray, scale: np.ndarray, hessian: np.ndarray) -> float:
    missing = codes * np.reshape(scale, (-1, 1)).astype(np.float64) - weight
    return float(np.einsum("rc,cd,rd->", missing, hessian, missing))


def covariance(rng: np.random.Generator, n: int) -> np.ndarray:
    """Of strongly correlated inputs."""
    mixed = rng.standard_normal((200, n)) @ rng.standard_normal((n, n)) @ np.diag(np.geomspace(1, 0.05, n))
    return mixed.T @ mixed / 200 + 1e-4 * np.eye(n)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("per_channel", [False, True])
def test_outputs_keep_more_than_with_the_nearest_codes(bits: int, per_channel: bool) -> None:
    rng = np.random.default_rng(0)
    weight, hessian = rng.standard_normal((12, 24)), covariance(rng, 24)
    found = gptq(weight, hessian, bits, "minmax", per_channel=per_channel)
    scale = found.scale if per_channel else np.full(12, found.scale)
    top = 2 ** (bits - 1) - 1
    nearest = np.clip(np.rint(weight / scale[:, None]), -top, top)
    assert output_error(weight, found.values, scale, hessian) < 0.7 * output_error(weight, nearest, scale, hessian)
    chosen = gptq(weight, hessian, bits, "mse", per_channel=per_channel)
    assert output_error(weight, chosen.values, chosen.scale, hessian) <= output_error(
        weight, found.values, scale, hessian
    )


def test_a_small_problem_is_solved_nearly_as_well_as_by_trying_every_code() -> None:
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(20):
        weight, hessian = rng.standard_normal((1, 5)), covariance(rng, 5)
        found = gptq(weight, hessian, 2, "minmax", per_channel=True)
        every = np.array(list(itertools.product((-1, 0, 1), repeat=5)))
        best = min(output_error(weight, codes[None], found.scale, hessian) for codes in every)
        nearest = np.clip(np.rint(weight / found.scale[:, None]), -1, 1)
        got = output_error(weight, found.values, found.scale, hessian)
        assert best <= got + 1e-12
        ratios.append((got / best, output_error(weight, nearest, found.scale, hessian) / best))
    assert np.median([got for got, _ in ratios]) < 1.5
    assert np.median([got for got, _ in ratios]) < np.median([nearest for _, nearest in ratios])


def test_independent_inputs_get_the_nearest_codes() -> None:
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((4, 6))
    found = gptq(weight, np.eye(6), 4, "minmax", per_channel=True)
    np.testing.assert_array_equal(found.values, np.rint(weight / found.scale[:, None].astype(np.float64)))


@given(st.integers(0, 1000), st.integers(2, 8), st.booleans())
def test_codes_stay_in_their_range_and_inputs_that_never_move_do_no_harm(
    seed: int, bits: int, per_channel: bool
) -> None:
    rng = np.random.default_rng(seed)
    weight, hessian = rng.standard_normal((3, 7)), covariance(rng, 7)
    hessian[2], hessian[:, 2] = 0, 0
    hessian[2, 2] = 1e-9
    found = gptq(weight, hessian, bits, "mse", per_channel=per_channel)
    assert np.abs(found.values).max() <= 2 ** (bits - 1) - 1
    assert found.scale.shape == ((3,) if per_channel else ())


@pytest.mark.parametrize("scheme", ["static", "dynamic", "weight_only"])
@pytest.mark.parametrize("corrected", [False, True])
def test_a_policy_moves_less_than_with_the_nearest_codes(scheme: str, corrected: bool) -> None:
    rng = np.random.default_rng(3)
    policy = mlp((6, 32, 32, 3), rng, activation=layers.Relu())
    x = (real(rng, 1500, 6) @ real(rng, 6, 6) + 2).astype(np.float32)
    context = Context.from_observations(policy, x[:1000])
    recipe = f"quantize(3, scheme='{scheme}', bias_correction={corrected}, granularity='per_channel', method="
    nearest, better = (compress(policy, f"{recipe}'{method}')", context) for method in ("nearest", "gptq"))
    exact = reference.act(policy, x[1000:])
    errors = [np.square(reference.act(small, x[1000:]) - exact).mean() for small in (nearest, better)]
    assert errors[1] < 0.5 * errors[0]


def test_convolutions_too() -> None:
    rng = np.random.default_rng(4)
    policy = image_policy(rng, padding=1)
    x = rng.integers(0, 256, (500, 2, 9, 9)).astype(np.uint8)
    context = Context.from_observations(policy, x[:400])
    recipe = "quantize(4, scheme='static', bias_correction=True, method="
    nearest, better = (compress(policy, f"{recipe}'{method}')", context) for method in ("nearest", "gptq"))
    exact = reference.layer_inputs(policy, x[400:])[-2]
    errors = [np.square(reference.layer_inputs(small, x[400:])[-2] - exact).mean() for small in (nearest, better)]
    assert errors[1] < 0.7 * errors[0]
