"""Quantities, raw values and conditions."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.measurement import QUANTITIES, Absent, Conditions, Measurement, from_json, quantity, to_json

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=20)
PACKAGES = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)


# Plain data is drawn and built here: the type checker that runs in tests uses `random`, which strategies may not.
@given(st.sampled_from(sorted(QUANTITIES)), st.lists(FINITE, min_size=1, max_size=20), TEXT, PACKAGES)
def test_json_round_trips_exactly(name: str, values: list[float], text: str, packages: Any) -> None:
    measurement = Measurement(
        name, tuple(values), f"measured: {text}", Conditions(text, text, 3, text, text, packages, 2, text)
    )
    (again,) = from_json(json.loads(json.dumps([to_json(measurement)])))
    assert again == measurement
    # Equality takes -0.0 for 0.0.
    assert [math.copysign(1, value) for value in again.values] == [math.copysign(1, value) for value in values]


@pytest.mark.parametrize("values", [(), (math.nan,), (1.0, math.inf)])
def test_what_was_not_measured_is_no_measurement(values: tuple[float, ...]) -> None:
    with pytest.raises(LilliputError, match="latency_s: no values, or one that is not finite"):
        Measurement("latency_s", values, "measured: so")


def test_the_method_says_how() -> None:
    with pytest.raises(LilliputError, match="must begin with measured, counted, emulated or modelled"):
        Measurement("latency_s", (1.0,), "guessed: so")


@pytest.mark.parametrize(
    "make",
    [lambda: quantity("speed"), lambda: Absent("speed", "no"), lambda: Measurement("speed", (1.0,), "measured:")],
)
def test_an_unknown_quantity_is_refused(make: Any) -> None:
    with pytest.raises(LilliputError, match="'speed' is not a quantity; known: episode_return"):
        make()


@pytest.mark.parametrize("missing", ["quantity", "values", "method", "conditions"])
def test_a_malformed_measurement_is_refused(missing: str) -> None:
    data = to_json(Measurement("n_macs", (1.0,), "counted: so"))
    with pytest.raises(LilliputError):
        from_json([{key: value for key, value in data.items() if key != missing}])
    with pytest.raises(LilliputError):
        from_json([{**data, missing: 3}])


def test_measurements_read_back_under_the_conditions_of_each() -> None:
    here, there = Conditions("one", packages=(("numpy", "2"),)), Conditions("another", packages=(("numpy", "2"),))
    taken = tuple(Measurement("n_macs", (1.0,), "counted: so", where) for where in (here, here, there, here))
    assert from_json([json.loads(json.dumps(to_json(one))) for one in taken]) == taken


def test_quantities_are_in_base_units_and_versioned() -> None:
    for name, row in QUANTITIES.items():
        assert row.name == name
        assert row.unit in ("s", "J", "byte", "1", "share", "return")
        assert row.version >= 1
        suffix = {"s": "_s", "J": "_j", "byte": "_bytes"}.get(row.unit, "")
        assert name.endswith(suffix)
