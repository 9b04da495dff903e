"""What the search expects of a student that it did not try yet."""

import math

import pytest

from lilliput.shrink.search import gain


def test_the_gain_is_what_the_smallest_that_holds_is_expected_to_shrink_by() -> None:
    base = (math.log(10_000), 1.0)
    assert gain(100.0, [base]) == pytest.approx(math.log(100))
    assert gain(10_000.0, [base]) == 0
    assert gain(20_000.0, [base]) == 0
    # At 1,000 stands one that holds in two cases of three: below it all counts, above it what is left.
    perhaps = [(math.log(1_000), 2 / 3), base]
    assert gain(100.0, perhaps) == pytest.approx(math.log(10) + math.log(10) / 3)
    assert gain(1_000.0, perhaps) == pytest.approx(math.log(10) / 3)
    assert gain(5_000.0, perhaps) == pytest.approx(math.log(2) / 3)


def test_what_is_larger_than_a_sure_one_gains_nothing_and_beside_a_lucky_one_most() -> None:
    sure, lucky = ([(math.log(400), chance), (math.log(40_000), 1.0)] for chance in (1.0, 0.4))
    assert gain(600.0, sure) == 0
    assert gain(300.0, sure) == pytest.approx(math.log(4 / 3))
    assert gain(600.0, lucky) > gain(300.0, sure) > gain(600.0, sure)
