"""What a meter is: it measures some quantities of artifacts. A new quantity is a meter, a row in `table`, and a row in
`measurement.QUANTITIES`, which says how it is shown.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from lilliput.measurement import Absent, Measurement
from lilliput.record import Cell

Progress = Callable[[int, int], None]
Measured = tuple[Measurement | Absent, ...]


@final
@dataclass(frozen=True)
class Bench:
    """An artifact, and what it is judged on.

    Attributes:
        folder: the artifact's.
        cell: what is asked: the task with its items, the target, the settings.
    """

    folder: Path
    cell: Cell


@final
@dataclass(frozen=True, eq=False)
class Room:
    """Artifacts of one subject and format that are measured together, so that their ratios hold.

    Attributes:
        benches: what is measured.
        baseline: the uncompressed artifact, which takes its turns with them; None: there is none.
        observations: what decides nothing but is decided on, the same for all; made when a meter asks.
        identity: an artifact of the same format with next to nothing in it; made when a meter asks.
        progress: called after each item that is played.
    """

    benches: tuple[Bench, ...]
    observations: Callable[[], np.ndarray]
    baseline: Path | None = None
    identity: Callable[[], Path] | None = None
    progress: Progress | None = None


class Meter(ABC):
    """Measures artifacts. A meter is a frozen dataclass without state.

    Attributes:
        NAME: what it is, in a word.
        QUANTITIES: that it gives, in this order; those that say nothing alone are given together.
        ALWAYS: of these, what comes with the others without being asked for.
        PLAYS: whether it plays or asks the items of the task.
        IN_TURNS: whether artifacts take turns in one measurement, so that their ratios hold.
        ON_TARGET: whether it counts on an emulated processor instead of measuring on the host.
        FORMATS: of the artifacts that it takes; empty: any.
        SECONDS: about what it takes for one artifact, but for playing.
    """

    NAME: ClassVar[str]
    QUANTITIES: ClassVar[tuple[str, ...]]
    ALWAYS: ClassVar[tuple[str, ...]] = ()
    PLAYS: ClassVar[bool] = False
    IN_TURNS: ClassVar[bool] = False
    ON_TARGET: ClassVar[bool] = False
    FORMATS: ClassVar[tuple[str, ...]] = ()
    SECONDS: ClassVar[float] = 0.0

    @abstractmethod
    def measure(self, room: Room) -> Sequence[Measured]:
        """What each bench's artifact takes, in order; what cannot be measured is Absent, with the reason.

        Raises:
            LilliputError: an artifact cannot be opened or fails.
        """

    def lacks(self) -> str:
        """What this machine lacks for it, so that all will be absent; empty where nothing is known to be missing."""
        return ""
