import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.statistics import student_t_quantile, worst_decile


@given(probability=st.floats(0.0005, 0.9995), degrees=st.integers(1, 3000))
def test_student_t_quantile_is_that_of_scipy(probability: float, degrees: int):
    assert student_t_quantile(probability, degrees) == pytest.approx(
        scipy.stats.t.ppf(probability, degrees), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 5), (1.0, 5), (0.9, 0)])
def test_student_t_quantile_refuses_what_has_no_quantile(probability: float, degrees: int):
    with pytest.raises(LilliputError, match=r"the probability must be in \(0, 1\)"):
        student_t_quantile(probability, degrees)


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
