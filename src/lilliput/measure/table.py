"""The meters there are."""

from collections.abc import Iterable

from lilliput.measure.energy import Energy, EpisodeEnergy
from lilliput.measure.episode_return import EpisodeTime, Returns
from lilliput.measure.latency import Latency
from lilliput.measure.memory import Memory
from lilliput.measure.meter import Meter
from lilliput.measure.size import Size
from lilliput.measure.target import OnTarget

METERS: dict[str, Meter] = {
    meter.NAME: meter
    for meter in (Returns(), Size(), OnTarget(), Latency(), Memory(), Energy(), EpisodeEnergy(), EpisodeTime())
}
"""By name."""


def meters_of(quantities: Iterable[str], meters: Iterable[Meter]) -> tuple[Meter, ...]:
    """Those that measure the quantities, in the order of the meters; of two that give a quantity the first."""
    wanted = set(quantities)
    found: list[Meter] = []
    for meter in meters:
        if wanted & set(meter.QUANTITIES):
            found.append(meter)
            wanted -= set(meter.QUANTITIES)
    return tuple(found)
