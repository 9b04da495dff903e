import itertools

import numpy as np
import pytest
from tests.policies.compress.strategies import image_policy, mlp, real
from tests.policies.compress.test_gptq import covariance

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.compress.brain_surgeon import eliminated, refitted_on, sparse


def error_without(weight: np.ndarray, hessian: np.ndarray, gone: tuple[int, ...]) -> float:
    """The least squared error of the outputs that any weights have without those columns."""
    kept = np.ones(weight.shape, bool)
    kept[:, list(gone)] = False
    missing = refitted_on(kept, weight, hessian) - weight
    return float(np.einsum("rc,cd,rd->", missing, hessian, missing))


@pytest.mark.parametrize("n_removed", [1, 2, 3])
def test_each_unit_taken_out_is_the_one_that_harms_least_after_a_refit(n_removed: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        weight, hessian = rng.standard_normal((4, 7)), covariance(rng, 7)
        gone = eliminated(weight, hessian, 1, n_removed).tolist()
        for step in range(n_removed):
            harm = {
                unit: error_without(weight, hessian, (*gone[:step], unit))
                for unit in range(7)
                if unit not in gone[:step]
            }
            assert gone[step] == min(harm, key=lambda unit: harm[unit])


def test_blocks_of_columns_go_together() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        weight, hessian = rng.standard_normal((4, 12)), covariance(rng, 12)
        gone = eliminated(weight, hessian, 3, 2).tolist()
        harm = [error_without(weight, hessian, (3 * g, 3 * g + 1, 3 * g + 2)) for g in range(4)]
        assert gone[0] == int(np.argmin(harm))
        assert len(set(gone)) == 2


def test_a_unit_that_others_can_replace_goes_first() -> None:
    rng = np.random.default_rng(2)
    policy = mlp((4, 8, 3), rng, activation=layers.Relu())
    first, _, last = policy.layers
    assert isinstance(first, layers.Dense)
    assert isinstance(last, layers.Dense)
    assert first.bias is not None
    weight, bias, out = first.weight.copy(), first.bias.copy(), last.weight.copy()
    weight[5], bias[5] = 2 * weight[2], 2 * bias[2]  # large, but twice another unit
    out[:, 6] = 0  # large, but never read
    policy = type(policy)(
        policy.observation_space,
        policy.action_space,
        (layers.Dense(weight, bias), layers.Relu(), layers.Dense(out, last.bias)),
    )
    x = real(rng, 500, 4)
    small = compress(
        policy, "prune_units(0.25, importance='optimal_brain_surgeon')", Context.from_observations(policy, x)
    )
    np.testing.assert_allclose(reference.act(small, x), reference.act(policy, x), atol=0.05)
    by_size = compress(policy, "prune_units(0.25)")
    assert np.abs(reference.act(by_size, x) - reference.act(policy, x)).max() > 0.5


@pytest.mark.parametrize("activation", [layers.Relu(), layers.Tanh()])
def test_refitted_policies_move_far_less(activation: layers.Activation) -> None:
    rng = np.random.default_rng(3)
    policy = mlp((5, 40, 40, 2), rng, activation=activation)
    x = real(rng, 3000, 5)
    context = Context.from_observations(policy, x[:2000])
    exact = reference.act(policy, x[2000:])
    errors = {
        importance: np.square(
            reference.act(compress(policy, f"prune_units(0.5, '{importance}')", context), x[2000:]) - exact
        ).mean()
        for importance in ("l1", "activation", "optimal_brain_surgeon")
    }
    assert errors["optimal_brain_surgeon"] < 0.2 * min(errors["l1"], errors["activation"])


def test_channels_and_the_boundary_of_a_flatten_are_pruned_and_refitted() -> None:
    rng = np.random.default_rng(4)
    policy = image_policy(rng, padding=1)
    x = rng.integers(0, 256, (400, 2, 9, 9)).astype(np.uint8)
    context = Context.from_observations(policy, x[:300])
    better = compress(policy, "prune_units(0.34, 'optimal_brain_surgeon')", context)
    plain = compress(policy, "prune_units(0.34)", context)
    assert [layer.weight.shape[0] for layer in better.layers if isinstance(layer, layers.Linear)] == [4, 4, 8, 3]
    exact = reference.layer_inputs(policy, x[300:])[-2]
    errors = [np.square(reference.layer_inputs(small, x[300:])[-2] - exact).mean() for small in (better, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_a_support_is_refitted_to_the_least_squared_error() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    weight = rng.standard_normal((3, 6))
    kept = rng.random((3, 6)) < 0.5
    kept[0] = False
    new = refitted_on(kept, weight, x.T @ x)
    for row in range(3):
        expected = np.linalg.lstsq(x[:, kept[row]], x @ weight[row], rcond=None)[0]
        np.testing.assert_allclose(new[row, kept[row]], expected, atol=1e-8)
    assert not new[~kept].any()


@pytest.mark.parametrize("columns", [7, 200])
def test_sparse_weights_have_exactly_so_many_zeros_and_harm_less_than_the_smallest_weights(columns: int) -> None:
    rng = np.random.default_rng(6)
    weight, hessian = rng.standard_normal((10, columns)), covariance(rng, columns)
    new = sparse(weight, hessian, 0.6)
    assert np.count_nonzero(new == 0) == int(0.6 * weight.size)
    by_size = np.where(np.abs(weight) > np.quantile(np.abs(weight), 0.6), weight, 0)
    errors = [np.einsum("rc,cd,rd->", w - weight, hessian, w - weight) for w in (new, by_size)]
    assert errors[0] < 0.85 * errors[1]


def test_a_small_sparse_problem_is_solved_nearly_as_well_as_by_trying_every_support() -> None:
    rng = np.random.default_rng(7)
    ratios = []
    for _ in range(20):
        weight, hessian = rng.standard_normal((1, 6)), covariance(rng, 6)
        every = [error_without(weight, hessian, gone) for gone in itertools.combinations(range(6), 3)]
        new = sparse(weight, hessian, 0.5)
        got = float(np.einsum("rc,cd,rd->", new - weight, hessian, new - weight))
        assert got >= min(every) - 1e-9
        ratios.append((got - min(every)) / (max(every) - min(every)))
    assert np.median(ratios) < 0.1


@pytest.mark.parametrize("importance", ["wanda", "sparsegpt"])
def test_sparse_policies_move_less_than_by_magnitude(importance: str) -> None:
    rng = np.random.default_rng(8)
    policy = mlp((6, 40, 40, 2), rng, activation=layers.Relu())
    x = real(rng, 3000, 6) * np.geomspace(0.05, 3, 6).astype(np.float32)
    context = Context.from_observations(policy, x[:2000])
    exact = reference.act(policy, x[2000:])
    plain = compress(policy, "prune_weights(0.5)")
    better = compress(policy, f"prune_weights(0.5, importance='{importance}')", context)
    errors = [np.square(reference.act(small, x[2000:]) - exact).mean() for small in (better, plain)]
    assert errors[0] < 0.8 * errors[1]
    for layer in better.layers:
        if isinstance(layer, layers.Dense):
            assert np.mean(layer.weight == 0) == pytest.approx(0.5, abs=0.01)


def test_wanda_by_output_is_the_papers_equation() -> None:
    rng = np.random.default_rng(9)
    policy = mlp((6, 8), rng)
    x = real(rng, 100, 6) * np.geomspace(0.1, 10, 6).astype(np.float32)
    small = compress(policy, "prune_weights(0.5, 'output', 'wanda')", Context.from_observations(policy, x))
    before, after = policy.layers[0], small.layers[0]
    assert isinstance(before, layers.Dense)
    assert isinstance(after, layers.Dense)
    metric = np.abs(before.weight) * np.linalg.norm(x, axis=0)
    expected = metric >= np.sort(metric, axis=1)[:, 3:4]
    np.testing.assert_array_equal(after.weight != 0, expected)
    np.testing.assert_array_equal(after.weight[expected], before.weight[expected])


def test_parameters_that_do_not_go_together_are_refused() -> None:
    policy = mlp((6, 8, 2), np.random.default_rng(10))
    with pytest.raises(
        LilliputError, match="prune_weights: importance 'sparsegpt' needs scope layer; the scope is global"
    ):
        compress(policy, "prune_weights(0.5, 'global', 'sparsegpt')")
    with pytest.raises(LilliputError, match="prune_weights: importance 'magnitude' uses no observations"):
        compress(policy, "prune_weights(0.5, observations=10)")
    with pytest.raises(LilliputError, match="this step needs calibration observations"):
        compress(policy, "prune_units(0.5, 'optimal_brain_surgeon')")
