"""What is modelled of a part, by hand."""

import pytest

from lilliput.errors import LilliputError
from lilliput.measure import TARGETS, datasheet, limits
from lilliput.measure.target import Counts
from lilliput.measurement import Absent, Measurement

COUNTS = Counts(TARGETS["cortex-m4"], 10_000, 600, 500, 100_000, passes_selftest=True)


def test_time_energy_and_battery_are_products() -> None:
    assert datasheet.time_s(COUNTS, 80e6) == pytest.approx(100_000 * 1.3 / 80e6)
    joules = datasheet.energy(COUNTS, datasheet.part_of(COUNTS.target))
    assert isinstance(joules, Measurement)
    assert joules.method.startswith("modelled: ")
    assert "DS12469" in joules.method
    assert joules.values[0] == pytest.approx(1.3e5 * 79e-6 / 1e6 * 3.0)  # 79 uA for each million cycles a second, 3 V
    assert datasheet.battery_life_s(1e-6, datasheet.battery_named("cr2032"), 50.0) == pytest.approx(
        0.235 * 3600 * 3 / 50e-6
    )


def test_a_processor_without_a_known_part_has_no_energy_unless_given() -> None:
    counts = Counts(TARGETS["cortex-m7"], 1, 1, 1, 1000, passes_selftest=True)
    absent = datasheet.energy(counts, datasheet.part_of(counts.target))
    assert isinstance(absent, Absent)
    assert "--ua-per-mhz" in absent.reason
    given = datasheet.energy(counts, datasheet.given_part(counts.target, 100e-12, 3.3))
    assert isinstance(given, Measurement)
    assert given.values[0] == pytest.approx(1000 * 0.8 * 100e-12 * 3.3)


def test_every_target_has_its_cycles() -> None:
    assert all(0.5 < target.cycles < 3 for target in TARGETS.values())
    assert all(part.target in TARGETS for part in datasheet.PARTS)


def test_limits_say_by_how_much() -> None:
    flash, ram, time = limits(COUNTS, max_flash=10_000, max_ram=599, deadline_s=1e-3, clock_hz=80e6)
    assert (flash.fits, flash.left) == (True, 0)
    assert (ram.fits, ram.left) == (False, -1)
    assert not time.fits
    assert time.left == pytest.approx(1e-3 - 1.625e-3)
    assert limits(COUNTS) == ()


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(LilliputError, match="the cell is 'potato'; known: cr2032, aa"):
        datasheet.battery_named("potato")
