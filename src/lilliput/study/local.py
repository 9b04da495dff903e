"""Cells on this machine's cores: as many processes as asked, each record kept as soon as it is there."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lilliput import child_process
from lilliput.errors import LilliputError
from lilliput.record import Cell, Record
from lilliput.study import timing
from lilliput.study.executor import Executor
from lilliput.study.processes import Job, run_jobs
from lilliput.study.run import artifact_name, record_of, run
from lilliput.study.training import TrainingCell
from lilliput.study.wing import Progress
from lilliput.task import MODEL_SCORES


@final
@dataclass(frozen=True)
class Local(Executor):
    """Processes of this machine.

    Attributes:
        workers: how many at once; one without a time limit needs no process of its own.
        timeout: seconds a cell.
    """

    workers: int = 1
    timeout: float | None = None

    @classmethod
    def of(cls, workers: int | None, timeout: float | None, address: str | None) -> "Local":
        """See `Executor.of`."""
        if address is not None:
            raise LilliputError("--address is of a Ray cluster; give --executor ray with it")
        return cls(workers or os.cpu_count() or 1, timeout)

    def train_all(self, cells: Sequence[TrainingCell]) -> Iterator[tuple[TrainingCell, str]]:
        """Each training as it ends; see `Executor.train_all`. An interrupted one goes on next time."""
        if self.workers <= 1:
            for cell in cells:
                yield cell, cell.train()
            return
        with contextlib.ExitStack() as end:
            pool = ProcessPoolExecutor(min(self.workers, len(cells)), child_process.Spawn(), child_process.start)
            end.callback(_end, pool)
            running = {pool.submit(cell.train): cell for cell in cells}
            for future in as_completed(running):
                try:
                    yield running[future], future.result()
                except BrokenProcessPool as error:
                    yield running[future], f"its process ended ({error}); run the same command to go on"

    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        """The records of the cells as they come; see `Executor.run_all`."""
        if self.workers <= 1 and self.timeout is None:
            for cell in cells:
                yield run(cell, folder, progress)
            return
        jobs = [Job(tuple(alike)) for _, alike in itertools.groupby(cells, _alike)]
        done = 0
        for records in run_jobs(jobs, folder, self.workers, self.timeout):
            done += len(records)
            progress("cells", done, len(cells))
            yield from records


def _alike(cell: Cell) -> object:
    """Equal for neighbours that go together: tasks of one model, which is opened once for them.

    Each cell of a policy is a job of its own: an episode that hangs holds up nothing that is done.
    """
    return (cell.target, artifact_name(cell)) if cell.task.score in MODEL_SCORES else cell


def _end(pool: ProcessPoolExecutor) -> None:
    """End its processes, whatever they do: a training may have hours to go."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def time_all(cells: Sequence[Cell], folder: Path, timeout: float | None) -> Iterator[Record]:
    """The records of timing cells: one group after the other, nothing beside them, in a process that may be ended."""
    jobs = [Job(group, timed=True) for group in timing.groups(cells)]
    for records in run_jobs(jobs, folder, 1, timeout):
        yield from records


def split(cells: Sequence[Cell], folder: Path, *, retry_failed: bool) -> tuple[list[Record], list[Cell]]:
    """The records that are there already, and the cells that are still to run."""
    finished, missing = [], []
    for cell, record in with_records(cells, folder, retry_failed=retry_failed):
        if record is None:
            missing.append(cell)
        else:
            finished.append(record)
    return finished, missing


def with_records(cells: Iterable[Cell], folder: Path, *, retry_failed: bool) -> Iterator[tuple[Cell, Record | None]]:
    """Each cell with the record that is there already, one at a time; None where it is still to run."""
    for cell in cells:
        record = record_of(folder, cell)
        yield cell, None if record is None or (record.status == "failed" and retry_failed) else record
