import math

import numpy as np
import pytest
import scipy.stats
from tests.statistics import scenarios

from lilliput.errors import LilliputError
from lilliput.statistics import Retention, fieller, mean_lower_bound, retention
from lilliput.statistics.quantile import require_finite


def found(*arguments: np.ndarray, **settings) -> Retention:
    result = retention(*arguments, rng=np.random.default_rng(0), **settings)
    assert result is not None
    return result


def test_fieller_ends_where_a_paired_t_test_just_rejects():
    candidate, baseline, random = scenarios.normal(0.9, 25, np.random.default_rng(0))
    above, whole = candidate - random, baseline - random
    for end in fieller(above, whole, confidence=0.95):
        test = scipy.stats.ttest_1samp(above - end * whole, 0)
        assert test.pvalue == pytest.approx(0.05, abs=1e-9)


def test_fieller_is_unbounded_where_the_denominator_may_be_zero():
    numerator, denominator = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 2.0, -1.5, 1.0])
    assert scipy.stats.ttest_1samp(denominator, 0).pvalue > 0.05
    assert fieller(numerator, denominator, confidence=0.95) == (-math.inf, math.inf)


@pytest.mark.parametrize("falls", [0, 1, 4])
def test_worst_case_bound_of_two_valued_data_is_that_of_clopper_and_pearson(falls: int):
    values = np.concatenate((np.zeros(falls), np.ones(50 - falls)))
    bound = mean_lower_bound(values, 0.0, confidence=0.95, rng=np.random.default_rng(0), draws=400_000)
    exact = scipy.stats.binomtest(50 - falls, 50, alternative="greater").proportion_ci(0.95, "exact").low
    assert bound == pytest.approx(exact, abs=5e-4)


def test_retention_is_measured_from_the_random_policy_up():
    # Pendulum's returns are negative: a plain ratio would call -264 against -160 a gain of 65 %.
    rng = np.random.default_rng(0)
    baseline, random = -160 + rng.normal(0, 20, 60), -1200 + rng.normal(0, 100, 60)
    result = found(baseline - 104, baseline, random)
    assert result.estimate == pytest.approx(1 - 104 / (baseline.mean() - random.mean()), rel=1e-12)
    assert result.low < result.estimate < result.high


def test_retention_does_not_depend_on_the_unit_of_the_return():
    candidate, baseline, random = scenarios.skewed(0.9, 30, np.random.default_rng(5))
    plain = found(candidate, baseline, random)
    scaled = found(-7 + 0.01 * candidate, -7 + 0.01 * baseline, -7 + 0.01 * random)
    assert (scaled.estimate, scaled.low, scaled.high) == pytest.approx((plain.estimate, plain.low, plain.high))


def test_identical_returns_keep_exactly_everything():
    baseline, random = np.full(20, 500.0), np.random.default_rng(0).uniform(9, 60, 20)
    result = found(baseline, baseline, random)
    assert (result.estimate, result.low, result.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_baseline_that_is_not_above_random_has_no_retention():
    rng = np.random.default_rng(0)
    baseline, random = rng.normal(0, 10, 30), rng.normal(0, 10, 30)
    assert retention(baseline, baseline, random, rng=rng) is None


def test_one_episode_has_no_interval():
    result = retention(np.array([90.0]), np.array([100.0]), np.array([0.0]), rng=np.random.default_rng(0))
    assert result is None or (result.low, result.high) == (-math.inf, math.inf)


def test_unequal_numbers_of_episodes_are_refused():
    # Asked of the check itself: in the tests the shapes in the signature of `retention` would speak first.
    with pytest.raises(LilliputError, match="retention: arrays of 3, 4, 4 values; they must be of one length"):
        require_finite("retention", np.ones(3), np.ones(4), np.ones(4))


def test_the_same_generator_gives_the_same_interval():
    episodes = scenarios.skewed(0.9, 30, np.random.default_rng(5))
    assert found(*episodes) == found(*episodes)
