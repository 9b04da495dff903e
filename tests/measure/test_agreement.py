"""Actions held against actions, by hand."""

import numpy as np
import pytest

from lilliput.measure.agreement import NO_RETURN, agreement, lines
from lilliput.policies import spaces


def test_real_actions_by_dimension() -> None:
    space = spaces.Box((2,), np.array([-2.0, 0.0]), np.array([2.0, np.inf]))
    own = np.array([[-2.0, 1.0], [0.0, 5.0], [2.0, 3.0], [1.0, 1.0]])
    other = own + np.array([[0.0, 1.0], [0.4, 0.0], [-0.4, 0.0], [0.0, 0.0]])
    found = agreement(space, own, other)
    assert found.mean_error == pytest.approx((0.2, 0.25))
    assert found.largest_error == pytest.approx((0.4, 1.0))
    assert found.relative_error == pytest.approx((0.05, 0.25 / 4)), "of the bounds, or of what the policy's own span"
    assert (found.own_saturated, found.saturated) == ((0.5, 0.0), (0.25, 0.0))
    assert found.worst == pytest.approx(0.0625)
    said = lines(found)
    assert said[0] == "action 0: mean error 0.2 (5.00% of its range), largest 0.4; on a bound 25.0%, before 50.0%"
    assert said[-1] == NO_RETURN


def test_choices_flip() -> None:
    found = agreement(spaces.MultiDiscrete((3, 2)), np.array([[0, 1], [2, 1]]), np.array([[0, 0], [1, 0]]))
    assert (found.flips, found.worst) == ((1, 2), 1.0)
    assert lines(found) == ["choice 0: 1 of 2 differ (50.00%)", "choice 1: 2 of 2 differ (100.00%)", NO_RETURN]
    same = agreement(spaces.Discrete(2), np.array([0, 1]), np.array([0, 1]))
    assert (same.flips, same.worst) == ((0,), 0.0)


def test_an_action_that_never_changes_has_no_range() -> None:
    space = spaces.Box((1,), np.asarray(-np.inf), np.asarray(np.inf))
    still = np.ones((3, 1))
    assert agreement(space, still, still).worst == 0
    assert agreement(space, still, still + 1).worst == np.inf


def test_the_mean_error_hangs_on_no_order() -> None:
    space = spaces.Box((2,), np.asarray(-np.inf), np.asarray(np.inf))
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(2, 5000, 2)) * rng.choice([1e-9, 1.0, 1e6], (5000, 1))
    turned = rng.permutation(5000)
    assert agreement(space, own, other).mean_error == agreement(space, own[turned], other[turned]).mean_error
