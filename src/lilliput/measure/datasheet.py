"""Time, energy and battery life of a decision on a real part: modelled from counted instructions.

Instructions x cycles an instruction (assumed) / clock is the time; x the datasheet's current a megahertz x its voltage
is the energy. Wait states, sleep, sensors and what the application does are not in it.
"""

from dataclasses import dataclass
from typing import final

from lilliput.errors import LilliputError
from lilliput.measure.target import Counts, Target
from lilliput.measurement import Absent, Measurement


@final
@dataclass(frozen=True)
class Microcontroller:
    """A microcontroller that can be bought.

    Attributes:
        name: the maker's.
        target: its processor.
        current_a_hz: amperes a hertz of clock, running from flash.
        voltage_v: at which that is stated.
        source: the datasheet.
    """

    name: str
    target: str
    current_a_hz: float
    voltage_v: float
    source: str


PARTS = (
    Microcontroller(
        "STM32L072", "cortex-m0plus", 93e-12, 3.0, "STM32L072xx datasheet, DocID027100 Rev 4: 93 uA/MHz in Run mode"
    ),
    Microcontroller(
        "STM32L412", "cortex-m4", 79e-12, 3.0, "STM32L412xx datasheet, DS12469 Rev 7: 79 uA/MHz run mode (LDO)"
    ),
)
"""Parts whose datasheets state a current a megahertz."""


@final
@dataclass(frozen=True)
class Battery:
    """A battery: capacity in coulombs at its nominal voltage."""

    charge_c: float
    voltage_v: float
    source: str

    @property
    def energy_j(self) -> float:
        """What it holds, its voltage taken as constant."""
        return self.charge_c * self.voltage_v


BATTERIES = {
    "cr2032": Battery(0.235 * 3600, 3.0, "Energizer CR2032 datasheet: 235 mAh"),
    "aa": Battery(3.5 * 3600, 1.5, "Energizer L91 datasheet: 3,500 mAh"),
}
"""Batteries by name."""


def part_of(target: Target) -> Microcontroller | None:
    """The part of the table that has this processor."""
    return next((part for part in PARTS if part.target == target.name), None)


def given_part(target: Target, current_a_hz: float, voltage_v: float) -> Microcontroller:
    """A part whose current a megahertz the user names."""
    return Microcontroller("the given part", target.name, current_a_hz, voltage_v, "given")


def time_s(counts: Counts, clock_hz: float) -> float:
    """How long a decision takes at that clock."""
    return counts.instructions * counts.target.cycles / clock_hz


def energy(counts: Counts, part: Microcontroller | None) -> Measurement | Absent:
    """energy_j of one decision, or why there is none."""
    if part is None:
        have = ", ".join(f"{one.target} ({one.name})" for one in PARTS)
        return Absent(
            "energy_j", f"no part with a {counts.target.name} is in the table, which has {have}; give --ua-per-mhz"
        )
    cycles = counts.target.cycles
    joules = counts.instructions * cycles * part.current_a_hz * part.voltage_v
    return Measurement(
        "energy_j",
        (joules,),
        f"modelled: instructions x {cycles:g} cycles (assumed) x {part.current_a_hz * 1e12:g} uA/MHz x "
        f"{part.voltage_v:g} V of {part.name} ({part.source})",
    )


def battery_named(name: str) -> Battery:
    """The battery of that name.

    Raises:
        LilliputError: there is none.
    """
    if name not in BATTERIES:
        raise LilliputError(f"the cell is {name!r}; known: {', '.join(BATTERIES)}")
    return BATTERIES[name]


def battery_life_s(energy_j: float, battery: Battery, rate_hz: float) -> float:
    """How long a full battery lasts for the decisions alone."""
    return battery.energy_j / (energy_j * rate_hz)
