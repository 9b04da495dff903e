"""What runs cells: where, how many at once, and for how long each."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from lilliput.record import Cell, Record
from lilliput.study.training import TrainingCell
from lilliput.study.wing import Progress


class Executor(ABC):
    """Runs cells of returns and sizes. Timings are never its business: they run alone, on one machine."""

    @classmethod
    @abstractmethod
    def of(cls, workers: int | None, timeout: float | None, address: str | None) -> "Executor":
        """The executor with so many workers (None: as many as there are cores), seconds a cell, at that address.

        Raises:
            LilliputError: it has no address.
        """

    @abstractmethod
    def train_all(self, cells: Sequence[TrainingCell]) -> Iterator[tuple[TrainingCell, str]]:
        """Each training as it ends, and why it failed; nothing where its policy stands in its folder here.

        Raises:
            LilliputError: nothing can go on: the cluster is gone.
        """

    @abstractmethod
    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        """The records of the cells as they come; each stands in the folder before it is given out.

        A cell whose worker is killed is tried once more, then recorded as failed; one that exceeds its time, at once.

        Raises:
            LilliputError: nothing can go on: the disk is full, or the cluster is gone.
        """
