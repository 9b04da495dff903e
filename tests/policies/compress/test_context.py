import numpy as np
import pytest
from tests.policies.compress.strategies import mlp, real

from lilliput.errors import LilliputError
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy


@pytest.fixture
def pendulum() -> Policy:
    pytest.importorskip("gymnasium")
    return mlp((3, 4, 1), np.random.default_rng(0))


def test_observations_come_from_the_policys_own_episodes_and_are_the_same_each_time(pendulum: Policy) -> None:
    calls: list[tuple[str, int, int]] = []
    context = Context.from_environment(
        pendulum, "Pendulum-v1", seed=3, progress=lambda what, done, of: calls.append((what, done, of))
    )
    first = context.observations(500)
    assert first.shape == (500, 3)
    np.testing.assert_allclose(np.hypot(first[:, 0], first[:, 1]), 1, atol=1e-5)  # cosine and sine of an angle
    assert calls[-1] == ("calibration observations", 500, 500)
    n_calls = len(calls)
    assert context.observations(500) is first
    assert len(calls) == n_calls
    np.testing.assert_array_equal(Context.from_environment(pendulum, "Pendulum-v1", seed=3).observations(500), first)
    assert not np.array_equal(context.observations(500, draw=1), first)
    assert not np.array_equal(Context.from_environment(pendulum, "Pendulum-v1", seed=4).observations(500), first)
    assert not np.array_equal(context.observations(500, "random_policy"), first)


def test_a_recipe_without_data_plays_nothing(pendulum: Policy) -> None:
    context = Context.from_environment(pendulum, "NoSuchEnvironment-v0")
    compress(pendulum, "prune_units(0.5) | quantize()", context)
    with pytest.raises(LilliputError, match="NoSuchEnvironment"):
        compress(pendulum, "quantize(scheme='static')", context)


def test_given_observations_are_used_as_they_are() -> None:
    rng = np.random.default_rng(1)
    policy = mlp((3, 2), rng)
    x = real(rng, 100, 3)
    context = Context.from_observations(policy, x)
    np.testing.assert_array_equal(context.observations(), x)
    assert context.observations(10).shape == (10, 3)
    with pytest.raises(LilliputError, match=r"source 'gaussian' needs the environment \(--env ID\)"):
        context.observations(10, "gaussian")
    with pytest.raises(LilliputError, match=r"draw 1 needs the environment"):
        context.observations(10, draw=1)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (np.zeros((0, 3)), "0 calibration observations; at least one is needed"),
        (np.full((2, 3), np.nan), "all must be finite"),
        (np.zeros((2, 4)), r"the policy takes numbers of shape \(n, 3\)"),
    ],
)
def test_observations_that_do_not_serve_are_refused(observations: np.ndarray, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        Context.from_observations(mlp((3, 2), np.random.default_rng(2)), observations)


def test_each_purpose_has_random_numbers_of_its_own() -> None:
    policy = mlp((3, 2), np.random.default_rng(3))
    context = Context(policy, seed=5)
    assert context.rng("a").random() == Context(policy, seed=5).rng("a").random()
    assert len({context.rng("a").random(), context.rng("b").random(), Context(policy, seed=6).rng("a").random()}) == 3


def test_selection_seeds_are_no_others(pendulum: Policy) -> None:
    from lilliput.policies.play import SeedPlan

    seeds = Context(pendulum, seed=1).selection_seeds(50)
    assert len(set(seeds)) == 50
    assert not set(seeds) & set(SeedPlan(1).episodes("calibration", 5000))
