import numpy as np
import pytest
import scipy.stats

from lilliput.errors import LilliputError
from lilliput.statistics import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)


def scores(runs: int = 10, tasks: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=(runs, tasks))


def strata(matrix: np.ndarray) -> list[np.ndarray]:
    return list(np.ascontiguousarray(matrix.T))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 101])
def test_interquartile_mean_is_the_trimmed_mean_of_scipy(n: int):
    values = np.random.default_rng(n).normal(size=n)
    assert float(interquartile_mean(values)) == pytest.approx(scipy.stats.trim_mean(values, 0.25))


def test_interquartile_mean_works_along_the_last_axis():
    values = np.random.default_rng(0).normal(size=(5, 12))
    assert interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25, axis=1))


def test_interquartile_mean_and_profile_and_improvement_are_those_of_rliable():
    rliable = pytest.importorskip("rliable", reason="the oracle rliable is not installed")
    metrics = pytest.importorskip("rliable.metrics")
    assert rliable is not None
    x, y = scores(), scores(seed=1)
    rng = np.random.default_rng(0)
    assert float(interquartile_mean(x.ravel())) == pytest.approx(metrics.aggregate_iqm(x))
    ours = probability_of_improvement(strata(x), strata(y), rng=rng)
    assert ours.estimate == pytest.approx(metrics.probability_of_improvement(x, y))


def test_performance_profile_is_the_share_of_runs_above_each_threshold():
    tasks = [np.array([0.0, 1.0, 2.0, 3.0]), np.array([10.0])]
    profile = performance_profile(tasks, np.array([-1.0, 0.0, 1.5, 3.0, 10.0]), rng=np.random.default_rng(0))
    assert profile.estimate.tolist() == [1.0, 0.875, 0.75, 0.5, 0.0]
    assert (profile.low <= profile.estimate).all()
    assert (profile.estimate <= profile.high).all()
    assert (np.diff(profile.low) <= 0).all()
    assert profile.low[0] == profile.high[0] == 1.0


def test_probability_of_improvement_is_the_scaled_mann_whitney_statistic():
    x, y = np.array([1.0, 2.0, 3.0, 3.0]), np.array([2.0, 3.0, 5.0])
    expected = scipy.stats.mannwhitneyu(x, y).statistic / 12
    interval = probability_of_improvement([x, x], [y, x], rng=np.random.default_rng(0))
    assert interval.estimate == pytest.approx((expected + 0.5) / 2)
    assert interval.low < interval.estimate < interval.high


def test_probability_of_improvement_has_the_spread_of_resampling_by_hand():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 12), rng.normal(0, 1, 15)
    ours = probability_of_improvement([x], [y], rng=rng, draws=20_000)
    by_hand = []
    for _ in range(5_000):
        left, right = rng.choice(x, 12), rng.choice(y, 15)
        by_hand.append((left[:, None] > right).mean() + 0.5 * (left[:, None] == right).mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])), abs=0.015)


def test_different_tasks_are_refused():
    with pytest.raises(LilliputError, match="probability_of_improvement: 1 tasks against 2"):
        probability_of_improvement([np.ones(3)], [np.ones(3), np.ones(3)], rng=np.random.default_rng(0))


def test_the_same_generator_gives_the_same_interval():
    tasks = strata(scores())
    theirs = strata(scores(seed=1))
    first, again = (probability_of_improvement(tasks, theirs, rng=np.random.default_rng(7)) for _ in range(2))
    other = probability_of_improvement(tasks, theirs, rng=np.random.default_rng(8))
    assert first == again != other
