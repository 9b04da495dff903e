"""What runs cells: where, how many at once, and for how long each."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from lilliput.record import Cell, Record
from lilliput.study.wing import Progress


class Executor(ABC):
    """Runs cells of returns and sizes. Timings are never its business: they run alone, on one machine."""

    @abstractmethod
    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        """The records of the cells as they come; each stands in the folder before it is given out.

        A cell whose worker is killed is tried once more, then recorded as failed; one that exceeds its time, at once.

        Raises:
            LilliputError: nothing can go on: the disk is full, or the cluster is gone.
        """
