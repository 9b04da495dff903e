"""Whether a policy fits a processor: flash, RAM and the time to decide, and by how much."""

from dataclasses import dataclass
from typing import final

from lilliput.measure.datasheet import time_s
from lilliput.measure.target import Counts


@final
@dataclass(frozen=True)
class Limit:
    """One limit and what is taken of it, in the unit of the quantity.

    Attributes:
        quantity: flash_bytes, ram_bytes or time_s.
        limit: what there is.
        taken: what the policy takes; the time is modelled.
    """

    quantity: str
    limit: float
    taken: float

    @property
    def fits(self) -> bool:
        """Whether it is enough."""
        return self.taken <= self.limit

    @property
    def left(self) -> float:
        """What is left; negative: what is missing."""
        return self.limit - self.taken


def limits(
    counts: Counts,
    *,
    max_flash: int | None = None,
    max_ram: int | None = None,
    deadline_s: float | None = None,
    clock_hz: float | None = None,
) -> tuple[Limit, ...]:
    """Every limit that is given, in a fixed order; a deadline needs the clock."""
    found = []
    if max_flash is not None:
        found.append(Limit("flash_bytes", float(max_flash), float(counts.flash_bytes)))
    if max_ram is not None:
        found.append(Limit("ram_bytes", float(max_ram), float(counts.ram_bytes)))
    if deadline_s is not None:
        assert clock_hz is not None
        found.append(Limit("time_s", deadline_s, time_s(counts, clock_hz)))
    return tuple(found)
