import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.statistics import latency_quantiles, quantile_interval, student_t_quantile, worst_decile


@given(probability=st.floats(0.0005, 0.9995), degrees=st.integers(1, 3000))
def test_student_t_quantile_is_that_of_scipy(probability: float, degrees: int):
    assert student_t_quantile(probability, degrees) == pytest.approx(
        scipy.stats.t.ppf(probability, degrees), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 5), (1.0, 5), (0.9, 0)])
def test_student_t_quantile_refuses_what_has_no_quantile(probability: float, degrees: int):
    with pytest.raises(LilliputError, match=r"the probability must be in \(0, 1\)"):
        student_t_quantile(probability, degrees)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 5, 6, 30, 367, 368, 1000])
def test_quantile_interval_has_the_coverage_that_the_binomial_distribution_gives(quantile: float, n: int):
    ranks = np.arange(1.0, n + 1)
    interval = quantile_interval(ranks, quantile)
    below = scipy.stats.binom(n, quantile)
    first = 0 if interval.low == -math.inf else int(interval.low)
    last = n + 1 if interval.high == math.inf else int(interval.high)
    # Each tail holds 2.5 % at most, and one order statistic further inwards it would hold more.
    assert below.cdf(first - 1) <= 0.025 < below.cdf(first)
    assert below.sf(last - 1) <= 0.025 < below.sf(last - 2)


def test_quantile_interval_covers_that_of_scipy():
    values = np.random.default_rng(0).lognormal(size=200)
    ours = quantile_interval(values, 0.5)
    theirs = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    assert ours.estimate == np.median(values)


def test_latency_quantiles_are_those_of_numpy():
    values = np.random.default_rng(1).lognormal(size=5000)
    quantiles = latency_quantiles(values)
    found = [quantiles.p50.estimate, quantiles.p95.estimate, quantiles.p99.estimate]
    assert found == [float(q) for q in np.quantile(values, [0.5, 0.95, 0.99])]
    assert quantiles.p99.low < quantiles.p99.estimate < quantiles.p99.high < math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_worst_decile_is_the_mean_of_the_lowest_tenth(values: list[float]):
    # Ten copies of each value: then a tenth of the copies is a whole number of them.
    copies = np.sort(np.repeat(np.array(values), 10))
    assert worst_decile(np.array(values)) == pytest.approx(copies[: len(values)].mean(), rel=1e-9, abs=1e-6)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(LilliputError, match="worst_decile: 1 values are not finite"):
        worst_decile(np.array([1.0, np.nan]))
    with pytest.raises(LilliputError, match="worst_decile: arrays of 0 values"):
        worst_decile(np.array([]))
