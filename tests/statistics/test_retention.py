import math

import numpy as np
import pytest
import scipy.stats
from tests.statistics import scenarios

from lilliput.errors import LilliputError
from lilliput.statistics import Retention, fieller, mean_lower_bound, retention
from lilliput.statistics.quantile import require_finite
from lilliput.statistics.retention import Method

METHODS: tuple[Method, ...] = ("fieller", "bca", "worst_case")


def found(*arguments: np.ndarray, **settings) -> Retention:
    result = retention(*arguments, rng=np.random.default_rng(0), **settings)
    assert result is not None
    return result


def test_fieller_ends_where_a_paired_t_test_just_rejects():
    candidate, baseline, random = scenarios.normal(0.9, 25, np.random.default_rng(0))
    above, whole = candidate - random, baseline - random
    for end in fieller(above, whole, confidence=0.95):
        test = scipy.stats.ttest_1samp(above - end * whole, 0)
        assert test.pvalue == pytest.approx(0.05, abs=1e-9)  # pyright: ignore[reportAttributeAccessIssue]


def test_fieller_is_unbounded_where_the_denominator_may_be_zero():
    numerator, denominator = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 2.0, -1.5, 1.0])
    assert scipy.stats.ttest_1samp(denominator, 0).pvalue > 0.05  # pyright: ignore[reportAttributeAccessIssue]
    assert fieller(numerator, denominator, confidence=0.95) == (-math.inf, math.inf)


def test_bca_is_that_of_scipy():
    candidate, baseline, random = scenarios.skewed(0.9, 40, np.random.default_rng(3))
    ours = found(candidate, baseline, random, method="bca", draws=40_000)
    theirs = scipy.stats.bootstrap(
        (candidate - random, baseline - random),
        lambda x, y, axis: x.mean(axis) / y.mean(axis),
        paired=True,
        method="BCa",
        n_resamples=40_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


@pytest.mark.parametrize("falls", [0, 1, 4])
def test_worst_case_bound_of_two_valued_data_is_that_of_clopper_and_pearson(falls: int):
    values = np.concatenate((np.zeros(falls), np.ones(50 - falls)))
    bound = mean_lower_bound(values, 0.0, confidence=0.95, rng=np.random.default_rng(0), draws=400_000)
    exact = scipy.stats.binomtest(50 - falls, 50, alternative="greater").proportion_ci(0.95, "exact").low
    assert bound == pytest.approx(exact, abs=5e-4)


@pytest.mark.parametrize("method", METHODS)
def test_retention_is_measured_from_the_random_policy_up(method: Method):
    # Pendulum's returns are negative: a plain ratio would call -264 against -160 a gain of 65 %.
    rng = np.random.default_rng(0)
    baseline, random = -160 + rng.normal(0, 20, 60), -1200 + rng.normal(0, 100, 60)
    result = found(baseline - 104, baseline, random, method=method)
    assert result.estimate == pytest.approx(1 - 104 / (baseline.mean() - random.mean()), rel=1e-12)
    assert result.low < result.estimate < result.high
    assert result.method == method


@pytest.mark.parametrize("method", METHODS)
def test_retention_does_not_depend_on_the_unit_of_the_return(method: Method):
    candidate, baseline, random = scenarios.skewed(0.9, 30, np.random.default_rng(5))
    plain = found(candidate, baseline, random, method=method)
    scaled = found(-7 + 0.01 * candidate, -7 + 0.01 * baseline, -7 + 0.01 * random, method=method)
    assert (scaled.estimate, scaled.low, scaled.high) == pytest.approx((plain.estimate, plain.low, plain.high))


@pytest.mark.parametrize("method", ["fieller", "bca"])
def test_identical_returns_keep_exactly_everything(method: Method):
    baseline, random = np.full(20, 500.0), np.random.default_rng(0).uniform(9, 60, 20)
    result = found(baseline, baseline, random, method=method)
    assert (result.estimate, result.low, result.high) == pytest.approx((1.0, 1.0, 1.0))


def test_worst_case_of_identical_returns_allows_for_one_unseen_fall():
    baseline, random = np.full(20, 500.0), np.zeros(20)
    result = found(baseline, baseline, random, method="worst_case", confidence=0.9, draws=200_000)
    assert result.low == pytest.approx(0.05 ** (1 / 20), abs=2e-3)


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


@pytest.mark.parametrize("method", METHODS)
def test_the_same_generator_gives_the_same_interval(method: Method):
    episodes = scenarios.skewed(0.9, 30, np.random.default_rng(5))
    assert found(*episodes, method=method) == found(*episodes, method=method)
