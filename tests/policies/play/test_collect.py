"""Calibration observations: from where, how many, and which seeds. Oracle: the observations of a plain loop."""

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies.play import SOURCES, SeedPlan, collect
from lilliput.policies.play.collect import MIN_EPISODES


def still(_: Any) -> int:
    return 0


def seen_by_loop(seeds: Any, choose: Any) -> list[np.ndarray]:
    environment = gymnasium.make("CartPole-v1")
    found: list[np.ndarray] = []
    for seed in seeds:
        observation, _ = environment.reset(seed=seed)
        over = False
        while not over:
            found.append(observation)
            observation, _, terminated, truncated, _ = environment.step(choose(observation))
            over = terminated or truncated
    return found


def rows(observations: Any) -> set[bytes]:
    return {np.asarray(row, np.float32).tobytes() for row in observations}


def test_they_are_drawn_from_whole_episodes_each_once_and_from_all_of_them() -> None:
    seeds = range(40)
    drawn = collect(still, "CartPole-v1", 60, seeds, np.random.default_rng(0))
    assert drawn.shape == (60, 4)
    assert drawn.dtype == np.float32
    possible = [rows(seen_by_loop([seed], still)) for seed in range(MIN_EPISODES)]
    assert len(rows(drawn)) == 60
    assert rows(drawn) <= set.union(*possible)
    assert sum(bool(rows(drawn) & episode) for episode in possible) == MIN_EPISODES


def test_more_episodes_are_played_where_it_takes_more() -> None:
    everything = seen_by_loop(range(40), still)
    drawn = collect(still, "CartPole-v1", len(everything), range(40), np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, np.stack(everything))
    with pytest.raises(LilliputError, match=f"the episodes gave only {len(everything)} of {len(everything) + 1}"):
        collect(still, "CartPole-v1", len(everything) + 1, range(40), np.random.default_rng(0))


@pytest.mark.slow
def test_every_observation_is_as_likely() -> None:
    n_all = len(seen_by_loop(range(MIN_EPISODES), still))
    where = {row.tobytes(): i for i, row in enumerate(seen_by_loop(range(MIN_EPISODES), still))}
    counts = np.zeros(n_all)
    for draw in range(150):
        for row in collect(still, "CartPole-v1", 20, range(MIN_EPISODES), np.random.default_rng(draw)):
            counts[where[row.tobytes()]] += 1
    expected = 150 * 20 / n_all
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < n_all + 5 * np.sqrt(2 * n_all)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_repeats_itself(source: str) -> None:
    plan = SeedPlan(5)
    # Every call takes the same seeds from an endless stream.
    one, other = (
        collect(
            lambda x: [0.1, 0, -0.1], "Hopper-v4", 8, plan.stream("calibration"), plan.rng("calibration"), source=source
        )
        for _ in range(2)
    )
    assert one.shape == (8, 11)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, other)


def test_first_steps_are_those_of_the_first_seed() -> None:
    expected = seen_by_loop([8], still)
    drawn = collect(still, "CartPole-v1", 5, [8, 9], np.random.default_rng(0), source="first_steps")
    np.testing.assert_array_equal(drawn, np.stack(expected[:5]))
    whole = collect(still, "CartPole-v1", 400, [8], np.random.default_rng(0), source="first_steps")
    np.testing.assert_array_equal(whole, np.stack(expected))


def test_gaussian_is_standard_normal() -> None:
    drawn = collect(still, "CartPole-v1", 20_000, [0], np.random.default_rng(0), source="gaussian")
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(4), atol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.05)


def test_random_and_noisy_policies_leave_the_policys_states() -> None:
    states = rows(seen_by_loop(range(10), still))
    for source, least in (("random_policy", 0.5), ("noisy_policy", 0.1)):
        drawn = collect(still, "CartPole-v1", 80, range(10), np.random.default_rng(0), source=source)
        share = 1 - len(rows(drawn) & states) / 80
        assert least < share <= 1


def test_noise_has_the_stated_size_and_stays_in_bounds() -> None:
    from lilliput.policies.play import NOISE, NoisyPolicy

    space = gymnasium.spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
    act = NoisyPolicy(lambda _: np.array([0.0, 5.0]))(0, space)
    drawn = np.stack([act(None) for _ in range(4000)])
    np.testing.assert_allclose(drawn.std(axis=0), [NOISE * 2, NOISE * 5], rtol=0.1)
    edge = NoisyPolicy(lambda _: np.array([2.0, 10.0]))(0, space)
    assert all(space.contains(np.float32(edge(None))) for _ in range(100))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_observations": 0}, "n_observations is 0"),
        ({"source": "dreams"}, "calibration source 'dreams' is not known; allowed: policy, noisy_policy"),
        ({"seeds": []}, "the episodes gave only 0 of 5"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {"n_observations": 5, "seeds": itertools.count(), "rng": np.random.default_rng(0)}
    with pytest.raises(LilliputError, match=message):
        collect(still, "CartPole-v1", **(plain | arguments))


def test_images_stay_bytes_and_have_no_gaussian() -> None:
    pytest.importorskip("Box2D")
    drawn = collect(lambda _: [0, 0, 0], "CarRacing-v3", 3, range(10), np.random.default_rng(0), max_steps=2)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (3, 96, 96, 3)
    with pytest.raises(LilliputError, match="images"):
        collect(still, "CarRacing-v3", 3, range(10), np.random.default_rng(0), source="gaussian")
