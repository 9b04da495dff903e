import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.statistics import scenarios

from lilliput.errors import LilliputError
from lilliput.statistics import Verdict, episodes_needed, verdict
from lilliput.statistics.verdict import order_statistic


def judged(candidate: np.ndarray, baseline: np.ndarray, random: np.ndarray, keep: float = 0.95, **settings) -> Verdict:
    return verdict(candidate, baseline, random, keep, rng=np.random.default_rng(0), **settings)


@pytest.mark.parametrize(
    ("retention", "n", "status"), [(1.0, 200, "kept"), (0.8, 200, "lost"), (0.95, 200, "undecided"), (0.0, 20, "lost")]
)
def test_verdict(retention: float, n: int, status: str):
    assert judged(*scenarios.normal(retention, n, np.random.default_rng(1))).status == status


def test_fifty_perfect_episodes_do_not_exclude_a_fall_but_seventy_do():
    random = np.random.default_rng(0).uniform(9, 60, 70)
    perfect = np.full(70, 500.0)
    few = judged(perfect[:50], perfect[:50], random[:50])
    assert few.status == "undecided"
    assert few.episodes_needed is not None
    assert 55 <= few.episodes_needed <= 70
    assert judged(perfect, perfect, random).status == "kept"
    # Without anything to lose in an unseen episode, ten would do.
    assert judged(perfect[:50], perfect[:50], random[:50], worst=490.0).status == "kept"


def test_a_candidate_below_the_stated_worst_return_refutes_it():
    perfect, random = np.full(50, 500.0), np.zeros(50)
    fallen = np.append(perfect[1:], 0.0)
    assert judged(fallen, perfect, random, worst=490.0).lowest == judged(fallen, perfect, random).lowest


@pytest.mark.parametrize("retention", [0.0, 1.0])
def test_fewer_than_ten_episodes_decide_nothing(retention: float):
    assert judged(np.full(9, 100.0 * retention), np.full(9, 100.0), np.zeros(9), keep=0.1).status == "undecided"


def test_a_baseline_that_is_not_above_random_is_said():
    rng = np.random.default_rng(0)
    baseline, random = rng.normal(0, 10, 50), rng.normal(0, 10, 50)
    result = judged(baseline + 100, baseline, random)
    assert (result.status, result.episodes_needed) == ("baseline not better than random", None)


@given(retention=st.floats(0.5, 1.2), n=st.integers(10, 120), seed=st.integers(0, 1000), keep=st.floats(0.3, 1.0))
def test_kept_is_that_the_retention_is_surely_above_keep(retention: float, n: int, seed: int, keep: float):
    episodes = scenarios.skewed(retention, n, np.random.default_rng(seed))
    result = judged(*episodes, keep=keep, draws=500)
    assert (result.status == "kept") == (result.retention_low > keep) == (result.low > 0)
    assert result.low < result.estimate < result.high
    assert not (result.low > 0 and result.high < 0)


def test_verdict_does_not_depend_on_the_unit_of_the_return():
    episodes = scenarios.skewed(0.97, 80, np.random.default_rng(5))
    plain, scaled = judged(*episodes), judged(*(-700 + 0.01 * np.stack(episodes)))
    assert scaled.status == plain.status
    assert scaled.episodes_needed == plain.episodes_needed
    assert (scaled.low, scaled.high) == pytest.approx((0.01 * plain.low, 0.01 * plain.high))


def test_undecided_after_the_planned_number_says_a_larger_one():
    result = judged(*scenarios.normal(0.96, 150, np.random.default_rng(2)))
    assert result.status == "undecided"
    assert result.episodes_needed is not None
    assert result.episodes_needed > 150


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(keep: float):
    with pytest.raises(LilliputError, match=r"verdict: keep is .*; it must be in \(0, 1\]"):
        judged(np.ones(20), np.ones(20), np.zeros(20), keep=keep)


def test_episodes_needed_without_noise_is_what_an_unseen_fall_takes():
    # n perfect episodes exclude falls of frequency 1 - 0.05^(1/n); it has to be below the share that may be lost.
    exact = np.log(0.05) / np.log(1 - 5 / 100)
    needed = episodes_needed(np.full(20, 5.0), 5.0, lowest=-95.0)
    assert needed is not None
    assert exact <= needed <= 1.1 * exact


def test_episodes_needed_of_much_noise_is_the_textbook_number():
    pilot = np.random.default_rng(0).normal(0, 1, 400)
    needed = episodes_needed(pilot, 0.05, lowest=-1.0)
    assert needed == pytest.approx((1.645 + 0.842) ** 2 * pilot.var(ddof=1) / 0.05**2, rel=0.03)


@pytest.mark.parametrize(("effect", "lowest"), [(0.0, -1.0), (-1.0, -1.0), (1e-9, -1.0), (1.0, -np.inf)])
def test_no_number_of_episodes_decides_without_an_effect(effect: float, lowest: float):
    assert episodes_needed(np.array([0.0, 1.0, 2.0]), effect, lowest=lowest) is None


@given(values=st.lists(st.integers(-5, 5), min_size=1, max_size=300), share=st.floats(0, 1))
def test_an_order_statistic_is_that_of_numpy(values: list[int], share: float):
    numbers = np.array(values, np.float64)
    for side in ("lower", "higher"):
        expected = np.quantile(numbers, share, method=side)
        near = np.quantile(numbers, np.clip([share - 1e-9, share + 1e-9], 0, 1), method=side)
        assert order_statistic(numbers, share, side) in (expected, *near)
