"""Where variation comes from: against scipy's analysis of variance, and by simulation with known components."""

import numpy as np
import pytest
from scipy import stats

from lilliput.errors import LilliputError
from lilliput.statistics.variance_components import (
    _mean_squares,
    flips,
    next_draw,
    ratio_of_sensitivity,
    source_differences,
    split,
)


def simulated(rng, *, sources=5, draws=10, items=60, source=0.3, draw=0.2, item=1.0, both=0.4, rest=0.5):
    return (
        source * rng.standard_normal((sources, 1, 1))
        + draw * rng.standard_normal((sources, draws, 1))
        + item * rng.standard_normal((1, 1, items))
        + both * rng.standard_normal((sources, 1, items))
        + rest * rng.standard_normal((sources, draws, items))
    )


def test_the_mean_squares_are_those_of_scipy():
    values = simulated(np.random.default_rng(0))
    squares, freedom = _mean_squares(values)
    f = stats.f_oneway(*values.mean(axis=2)).statistic
    assert squares["source"] / squares["draw"] == pytest.approx(f)
    total = np.square(values - values.mean()).sum()
    assert sum(squares[name] * freedom[name] for name in squares) == pytest.approx(total)
    assert sum(freedom.values()) == values.size - 1


def test_the_components_are_found_again_on_average():
    rng = np.random.default_rng(1)
    found = [split(simulated(rng, sources=8), rng=rng) for _ in range(60)]
    for name, wanted in (("sources", 0.3), ("draws", 0.2), ("items", np.sqrt((1 + 0.16 + 0.25) / 60))):
        variance = np.mean([getattr(one, name).estimate ** 2 for one in found])
        assert np.sqrt(variance) == pytest.approx(wanted, rel=0.12)


@pytest.mark.slow
def test_the_intervals_cover_what_they_say():
    rng = np.random.default_rng(2)
    truth = {"sources": 0.3, "draws": 0.2, "calibration": np.hypot(0.3, 0.2), "items": np.sqrt((1 + 0.16 + 0.25) / 60)}
    covered = dict.fromkeys(truth, 0)
    for _ in range(400):
        found = split(simulated(rng), rng=rng)
        for name, wanted in truth.items():
            interval = getattr(found, name)
            covered[name] += interval.low <= wanted <= interval.high
    assert all(0.92 <= n / 400 <= 0.99 for n in covered.values()), covered


@pytest.mark.slow
def test_alike_sources_are_rarely_told_apart_and_unlike_ones_mostly_are():
    rng = np.random.default_rng(3)
    false = sum(
        any(one.decided for one in source_differences(simulated(rng, source=0.0, both=0.4))) for _ in range(400)
    )
    assert false / 400 <= 0.07
    shifted = simulated(rng, source=0.0)
    shifted[0] += 3.0
    assert all(one.decided == (one.first == 0) for one in source_differences(shifted))
    assert all(one.difference.estimate > 0 for one in source_differences(shifted) if one.first == 0)


def test_a_difference_is_the_difference_of_the_means_and_the_first_is_better():
    values = simulated(np.random.default_rng(4), sources=3)
    found = source_differences(values)
    assert [(one.first, one.second) for one in found] == [(0, 1), (0, 2), (1, 2)]
    assert found[1].difference.estimate == pytest.approx(values[0].mean() - values[2].mean())


def test_calibration_that_moves_a_method_twice_as_much_is_twice_as_much():
    rng = np.random.default_rng(5)
    ours = simulated(rng, sources=40, draws=20, source=0.6, draw=0.4, rest=0.1, both=0.0)
    theirs = simulated(rng, sources=40, draws=20, source=0.3, draw=0.2, rest=0.1, both=0.0)
    ratio = ratio_of_sensitivity(ours, theirs, rng=rng)
    assert ratio.low < 2 < ratio.high
    assert ratio.low > 1
    still = np.broadcast_to(rng.standard_normal(60), (40, 20, 60))
    with pytest.raises(LilliputError, match="do not move with the calibration data at all"):
        ratio_of_sensitivity(ours, still, rng=rng)


def test_the_next_draw_is_within_its_bounds_as_often_as_said():
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(2000):
        scores = rng.standard_normal(11)
        bounds = next_draw(scores[:10])
        inside += bounds.low <= scores[10] <= bounds.high
    assert 0.935 <= inside / 2000 <= 0.965
    with pytest.raises(LilliputError, match="at least 3"):
        next_draw(np.zeros(2))


def test_flips_are_counted_both_ways():
    baseline = np.array([1.0, 1.0, 0.0, 0.0])
    assert flips(np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]), baseline) == 0.25


def test_the_same_seed_gives_the_same_intervals():
    values = simulated(np.random.default_rng(7))
    one, other = (split(values, rng=np.random.default_rng(0)) for _ in range(2))
    assert one == other
    assert sum(one.shares) == pytest.approx(1)
    with pytest.raises(LilliputError, match="two of each"):
        split(values[:1], rng=np.random.default_rng(0))
