"""Verdicts on metrics that are no mean of items: they agree with those on means, and cover what is true."""

import numpy as np
import pytest

from lilliput.statistics.shared_draws import decided


def drawn(items, weights):
    """The mean of the items, then that of each draw."""
    return np.concatenate([[items.mean()], weights @ items / len(items)])


def played(rng, n, shift=0.0):
    """Candidate, baseline and floor on paired items, as metrics of draws that they share."""
    base = rng.normal(1.0, 0.5, n)
    weights = rng.multinomial(n, np.full(n, 1 / n), 200).astype(float)
    items = (base + shift + rng.normal(0, 0.3, n), base, np.zeros(n))
    candidate, baseline, floor = (drawn(one, weights) for one in items)
    return candidate, baseline, floor


def test_a_clear_candidate_is_kept_and_a_clear_loss_is_lost():
    rng = np.random.default_rng(0)
    kept, verdict = decided(*played(rng, 200), 0.8)
    assert verdict.status == "kept"
    assert kept is not None
    assert kept.low < 1.0 < kept.high
    assert verdict.retention_low > 0.8
    assert decided(*played(rng, 200, -0.5), 0.8)[1].status == "lost"
    candidate, baseline, _ = played(rng, 200)
    kept, verdict = decided(candidate, baseline, baseline + 0.5, 0.8)
    assert (kept, verdict.status) == (None, "baseline not better than random")


def test_a_bias_that_all_draws_have_moves_no_bound():
    candidate, baseline, floor = played(np.random.default_rng(1), 100)
    moved = [np.concatenate([one[:1], one[1:] - 0.25]) for one in (candidate, baseline)]
    one, other = decided(candidate, baseline, floor, 0.9)[1], decided(moved[0], moved[1], floor, 0.9)[1]
    assert one.low == pytest.approx(other.low)
    assert one.high == pytest.approx(other.high)


def test_few_draws_and_unlike_ones_decide_nothing():
    values = played(np.random.default_rng(2), 100)
    kept, verdict = decided(values[0][:50], values[1][:50], values[2][:50], 0.5)
    assert (kept, verdict.status) == (None, "undecided")


def test_bounds_hold_as_often_as_they_say():
    rng = np.random.default_rng(3)
    # The candidate is as good as the baseline: at keep = 1 nothing is kept or lost but by chance.
    found = [decided(*played(rng, 60), 1.0)[1] for _ in range(800)]
    for status in ("kept", "lost"):
        assert np.mean([one.status == status for one in found]) == pytest.approx(0.05, abs=0.035)
