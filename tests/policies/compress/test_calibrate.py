import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.policies.affine import unsigned_max
from lilliput.policies.compress.calibrate import Calibration, input_range, static_range

ENDS = st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32)).map(sorted)


@given(ENDS, st.integers(2, 8))
def test_codes_cover_the_range_and_place_it_to_a_code(ends: list[float], bits: int) -> None:
    low, high = np.asarray(ends[0], np.float32), np.asarray(ends[1], np.float32)
    range_ = static_range(low, high, bits)
    x = np.linspace(low, high, 101, dtype=np.float32)
    top = unsigned_max(bits)
    codes = np.rint(x * range_.inverse_scale).astype(np.float64) + range_.zero_point
    assert codes.min() >= -0.01
    assert codes.max() <= top + 1  # half a code of rounding at each end
    back = (np.clip(codes, 0, top) - range_.zero_point) / np.float64(range_.inverse_scale)
    step = 1 / np.float64(range_.inverse_scale)
    assert np.abs(back - x).max() <= step * 1.6
    assert (
        step <= max(np.float64(high) - low, max(abs(low), abs(high)) / 2**14, 1e-30) / top * 1.002 or low == high == 0
    )


def test_inverse_scales_survive_float16() -> None:
    rng = np.random.default_rng(0)
    low, high = -rng.uniform(0.01, 100, 50), rng.uniform(0.01, 100, 50)
    inverse = static_range(low, high, 8).inverse_scale
    np.testing.assert_array_equal(inverse.astype(np.float16).astype(np.float32), inverse)


def squared_error(x: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int) -> float:
    scale = (high - low) / unsigned_max(bits)
    zero_point = np.rint(-low / scale)
    codes = np.clip(np.rint(x / scale) + zero_point, 0, unsigned_max(bits))
    return float(np.square((codes - zero_point) * scale - x).mean())


@pytest.mark.parametrize("per_dimension", [False, True])
def test_mse_is_never_worse_than_minmax_and_much_better_with_outliers(per_dimension: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2000, 3)).astype(np.float32)
    x[0] = 25.0
    errors = {}
    methods: tuple[Calibration, ...] = ("minmax", "mse")
    for method in methods:
        low, high = input_range(x, 4, method, per_dimension=per_dimension)
        errors[method] = squared_error(x, low, high, 4)
    assert errors["mse"] < 0.8 * errors["minmax"]


def test_percentile_leaves_out_the_rarest_numbers() -> None:
    x = np.linspace(0, 1, 1_000_001, dtype=np.float32)[:, None]
    x[-1] = 1e6
    low, high = input_range(x, 8, "percentile", per_dimension=False)
    assert low == 0
    assert high == pytest.approx(0.9999, abs=1e-6)
