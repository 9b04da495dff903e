"""Peak resident memory of a process that only serves the policy, and of what it stands on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measure.process import run, run_script
from lilliput.measurement import Absent, Measurement

STATUS = Path("/proc/self/status")
OBSERVATIONS = 64
"""Enough to touch every page, too few to be seen themselves."""

# VmHWM, not getrusage: ru_maxrss survives the exec, and would be the parent's peak.
_BARE = "for line in open('/proc/self/status'):\n if line.startswith('VmHWM'): print(line.split()[1])"


def memory(
    folder: Path, observations: np.ndarray, *, identity: Path | None = None, repeats: int = 3
) -> tuple[Measurement | Absent, ...]:
    """peak_memory_bytes, identity_memory_bytes and interpreter_memory_bytes, one value a fresh process, taken in turns.

    Args:
        folder: the artifact.
        observations: some are served.
        identity: an artifact of the same format with next to no policy in it: what the runtime alone takes.
        repeats: processes of each.
    """
    names = ("peak_memory_bytes", "identity_memory_bytes", "interpreter_memory_bytes")
    if lacks := no_status():
        return tuple(Absent(name, lacks) for name in names)
    if repeats < 1:
        raise LilliputError(f"repeats is {repeats}; it must be at least 1")
    here = conditions()
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        found[names[0]].append(peak_bytes(folder, observations))
        if identity is not None:
            found[names[1]].append(peak_bytes(identity, observations))
        found[names[2]].append(bare())
    method = f"measured: VmHWM of {repeats} fresh processes"
    return tuple(
        Measurement(name, tuple(values), method, here) if values else Absent(name, "no identity artifact was given")
        for name, values in found.items()
    )


def no_status() -> str:
    """Why peak memory cannot be read here; empty where it can."""
    there = STATUS.exists() and "VmHWM" in STATUS.read_text()
    return "" if there else f"{STATUS} has no VmHWM here: peak memory is read on Linux only"


def bare() -> float:
    """The most memory of a fresh interpreter that does nothing."""
    return float(run(["-c", _BARE])) * 1024


def peak_bytes(folder: Path, observations: np.ndarray, *, models: bool = False) -> float:
    """The most memory of a fresh process that serves the artifact, of a policy or of a model."""
    return float(run_script("memory_process.py", [folder], observations[:OBSERVATIONS], {"models": models}))


@final
@dataclass(frozen=True)
class Memory(Meter):
    """The memory of a process that only serves the artifact, and what that stands on."""

    NAME: ClassVar[str] = "memory"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("peak_memory_bytes", "identity_memory_bytes", "interpreter_memory_bytes")
    SECONDS: ClassVar[float] = 1.5

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value a fresh process."""
        identity = room.identity() if room.identity is not None else None
        return [memory(bench.folder, room.observations(), identity=identity) for bench in room.benches]
