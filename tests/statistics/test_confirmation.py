import math

import numpy as np
import pytest
import scipy.stats
from tests.statistics import scenarios

from lilliput.errors import LilliputError
from lilliput.paired import differences
from lilliput.statistics import ConfirmationPlan, alpha_split, confirm, log_wealth, plan_confirmation
from lilliput.statistics.confirmation import FRACTIONS

EVEN = np.full(len(FRACTIONS), 1 / len(FRACTIONS))


def first(n: int, episodes: scenarios.Episodes) -> scenarios.Episodes:
    return episodes[0][:n], episodes[1][:n], episodes[2][:n]


def planned(scenario: scenarios.Scenario = scenarios.normal, **settings) -> ConfirmationPlan:
    pilot = scenario(1.0, 50, np.random.default_rng(100))
    return plan_confirmation(*pilot, 0.95, max_episodes=settings.pop("max_episodes", 400), **settings)


def evidence(episodes: scenarios.Episodes, plan: ConfirmationPlan) -> float:
    """The e-value against "keeps no more than the plan asks"."""
    d = differences(*episodes, plan.keep)
    return math.exp(log_wealth(np.sort(d), plan.range.difference(plan.keep)[0], np.array(plan.weights))[-1])


@pytest.mark.parametrize(("low", "high"), [(-95.0, 5.0), (-1.0, 1.0), (-1.0, 30.0)])
def test_the_expected_wealth_at_the_margin_is_one(low: float, high: float):
    # Two outcomes with mean 0: the expectation over all samples of 30 is a sum over the number of bad ones.
    n, chance_of_low = 30, high / (high - low)
    expected = 0.0
    for bad in range(n + 1):
        sample = np.concatenate((np.full(bad, low), np.full(n - bad, high)))
        expected += scipy.stats.binom.pmf(bad, n, chance_of_low) * math.exp(log_wealth(sample, low, EVEN)[-1])
    assert expected == pytest.approx(1.0, rel=1e-9)


def test_the_wealth_does_not_depend_on_the_order_of_the_episodes():
    d = np.random.default_rng(0).normal(1, 5, 50)
    assert log_wealth(d, -30.0, EVEN)[-1] == pytest.approx(log_wealth(d[::-1], -30.0, EVEN)[-1], rel=1e-12)


def test_an_equal_candidate_is_accepted_with_a_bound_that_is_the_one_tested():
    plan = planned()
    episodes = scenarios.normal(1.0, 300, np.random.default_rng(0))
    result = confirm(*episodes, plan)
    assert result.decision == "accepted"
    assert result.low >= plan.keep
    assert evidence(episodes, plan) >= 1 / plan.alpha
    assert result.low < result.estimate == pytest.approx(1.0, abs=0.02)


def test_accepted_is_the_same_as_evidence_above_one_over_alpha():
    plan, episodes = planned(), scenarios.normal(1.0, 200, np.random.default_rng(3))
    for n in range(10, 200, 10):
        result = confirm(*first(n, episodes), plan)
        is_told = evidence(first(n, episodes), plan) >= 1 / plan.alpha
        assert (result.decision == "accepted") == is_told == (result.low >= plan.keep)


def test_a_bad_candidate_is_rejected_soon_and_says_so():
    plan, episodes = planned(), scenarios.normal(0.3, 30, np.random.default_rng(0))
    result = confirm(*episodes, plan)
    assert (result.decision, result.episodes_needed) == ("rejected", 30)
    assert evidence(episodes, plan) < 1


def test_a_candidate_near_the_margin_ends_undecided_with_a_number():
    plan = planned(max_episodes=100)
    episodes = scenarios.normal(0.965, 100, np.random.default_rng(5))
    assert confirm(*first(99, episodes), plan).decision == "continue"
    result = confirm(*episodes, plan)
    assert result.decision == "undecided"
    assert result.episodes_needed is not None
    assert result.episodes_needed > 100


def test_the_extrapolated_number_is_where_more_of_the_same_is_accepted():
    plan = planned()
    candidate, baseline, random = scenarios.normal(1.0, 40, np.random.default_rng(1))
    needed = confirm(candidate, baseline, random, plan).episodes_needed
    assert needed is not None
    rounds = math.ceil(needed / 40)
    repeated = confirm(np.tile(candidate, rounds), np.tile(baseline, rounds), np.tile(random, rounds), plan)
    assert repeated.decision == "accepted"


@pytest.mark.parametrize("share", [0.3, 0.95, 1.2])
@pytest.mark.parametrize("scenario", [scenarios.normal, scenarios.baseline_falls_once_in_50])
def test_the_bound_is_below_the_first_share_that_a_plain_scan_does_not_exclude(
    scenario: scenarios.Scenario, share: float
):
    rng = np.random.default_rng(6)
    plan = plan_confirmation(*scenario(1.0, 50, rng), 0.9475, max_episodes=400)
    candidate, baseline, random = scenario(share, 150, rng)
    random[::20] += 90.0  # luckier than the baseline: what a share excludes is not monotone for these
    wanted = -math.inf
    for one in sorted({*(thousandths / 1000 for thousandths in range(1301)), plan.keep}):
        d = candidate - one * baseline - (1 - one) * random
        if log_wealth(d, plan.range.difference(one)[0], np.array(plan.weights))[-1] < math.log(1 / plan.alpha):
            break
        wanted = one
    assert wanted > 0
    assert confirm(candidate, baseline, random, plan).low == wanted


def test_nothing_is_excluded_by_one_episode():
    result = confirm(np.array([100.0]), np.array([100.0]), np.array([0.0]), planned())
    assert (result.decision, result.low) == ("continue", -math.inf)


def test_sixty_six_perfect_episodes_are_the_fewest_that_confirm():
    # A bettor who knew that no fall comes would stake 0.9 of all: 1.04737^n = 20 after 65 episodes.
    pilot = (np.full(50, 100.0), np.full(50, 100.0), np.zeros(50))
    plan = plan_confirmation(*pilot, 0.95, max_episodes=200)
    perfect = (np.full(200, 100.0), np.full(200, 100.0), np.zeros(200))
    stops = [n for n in range(60, 90) if confirm(*first(n, perfect), plan).decision == "accepted"]
    assert 66 <= stops[0] <= 80
    assert stops == list(range(stops[0], 90))
    assert plan.episodes_needed is not None
    assert stops[0] <= plan.episodes_needed <= 85


def test_an_episode_below_everything_planned_costs_the_acceptance():
    plan = planned()
    candidate, baseline, random = scenarios.normal(1.0, 200, np.random.default_rng(0))
    assert confirm(candidate, baseline, random, plan).decision == "accepted"
    candidate[7] = -1e6
    result = confirm(candidate, baseline, random, plan)
    assert result.decision != "accepted"
    assert result.low < plan.keep


def test_smaller_alpha_takes_more_episodes():
    numbers = [planned(alpha=alpha).episodes_needed for alpha in (0.05, 0.025, 0.01)]
    assert numbers[0] is not None
    assert numbers[1] is not None
    assert numbers[2] is not None
    assert numbers[0] < numbers[1] < numbers[2]


@pytest.mark.parametrize("candidates", [1, 3, 7])
def test_alpha_is_split_without_remainder(candidates: int):
    parts = alpha_split(candidates, 0.05)
    assert len(parts) == candidates
    assert sum(parts) == pytest.approx(0.05)


def test_settings_out_of_range_are_refused():
    with pytest.raises(LilliputError, match="alpha_split: 0 candidates"):
        alpha_split(0)
    with pytest.raises(LilliputError, match="plan_confirmation: alpha 0"):
        planned(alpha=0.0)
    with pytest.raises(LilliputError, match="a baseline that is not above random has no return to keep"):
        plan_confirmation(np.ones(5), np.ones(5), np.full(5, 2.0), 0.95, max_episodes=10)
