"""Worker processes that may hang or be killed without taking anything but their own job along."""

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, final

from lilliput import child_process
from lilliput import record as record_file
from lilliput.errors import LilliputError
from lilliput.record import Cell, Record
from lilliput.study import run as cell_runner
from lilliput.study import timing
from lilliput.study.workspace import Workspace

ATTEMPTS = 2
"""A job whose worker was killed is tried once more: the next worker may find more memory."""

_Answer = tuple[Record, ...] | LilliputError
"""What a worker sends: the records of its job, or what ends the whole study, say because the disk is full."""

_POLL_S = 3600.0


@final
@dataclass(frozen=True)
class Job:
    """Cells that run together: those of one artifact, or a group that is timed in turns."""

    cells: tuple[Cell, ...]
    timed: bool = False

    def run(self, folder: Path) -> tuple[Record, ...]:
        """The cells' records, which stand in the folder too."""
        if self.timed:
            return timing.measure_or_record(self.cells, folder, _silent)
        return tuple(self._run(cell, folder) for cell in self.cells)

    def _run(self, cell: Cell, folder: Path) -> Record:
        # Its worker may have been killed after this cell and before another of the job.
        before = cell_runner.record_of(folder, cell) if len(self.cells) > 1 else None
        return before if before is not None and before.status == "done" else cell_runner.run(cell, folder, _silent)


def run_jobs(jobs: Sequence[Job], folder: Path, workers: int, timeout: float | None) -> Iterator[tuple[Record, ...]]:
    """The records of each job, as they come.

    Raises:
        LilliputError: a worker could not write its record, say because the disk is full.
    """
    waiting = deque((job, 1) for job in jobs)
    team = [_Worker(folder) for _ in range(min(workers, len(jobs)))]
    try:
        while waiting or any(worker.job for worker in team):
            for worker in team:
                if worker.job is None and waiting:
                    worker.hand(*waiting.popleft(), timeout)
            busy = [worker for worker in team if worker.job is not None]
            until = min(worker.deadline for worker in busy) - time.monotonic()
            wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], max(0.0, min(until, _POLL_S)))
            for worker in busy:
                match worker.answer():
                    case None:
                        pass
                    case "killed" if worker.process.exitcode == child_process.UNGUARDED:
                        raise LilliputError(child_process.GUARD)
                    case "killed" if worker.attempt < ATTEMPTS:
                        waiting.append((worker.release(folder), worker.attempt + 1))
                    case "killed":
                        reason = f"its worker process was ended {ATTEMPTS} times ({worker.ending()}); out of memory?"
                        yield _failed(worker.release(folder), reason, folder)
                    case "late":
                        yield _failed(worker.release(folder), f"stopped after its time of {timeout:g} s a cell", folder)
                    case LilliputError() as error:
                        raise error
                    case records:
                        worker.job = None
                        if waiting:  # before the records are looked at, so that the worker does not wait for it
                            worker.hand(*waiting.popleft(), timeout)
                        yield records
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """One process and the job that it has."""

    def __init__(self, folder: Path) -> None:
        self.job: Job | None = None
        self.attempt = 0
        self.deadline = float("inf")
        self.pipe, self.process = _started(folder)

    def hand(self, job: Job, attempt: int, timeout: float | None) -> None:
        self.job, self.attempt = job, attempt
        self.deadline = float("inf") if timeout is None else time.monotonic() + timeout * len(job.cells)
        with contextlib.suppress(BrokenPipeError):  # it was killed while idle: `answer` will say so
            self.pipe.send(job)

    def answer(self) -> _Answer | Literal["killed", "late"] | None:
        """What it sent, or what became of it; None: it is still at work."""
        if self.pipe.poll():
            with contextlib.suppress(EOFError, ConnectionResetError):
                return self.pipe.recv()
            return "killed"
        if not self.process.is_alive():
            return "killed"
        return "late" if time.monotonic() >= self.deadline else None

    def ending(self) -> str:
        self.process.join(5)
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def release(self, folder: Path) -> Job:
        """The job that it had; another process stands ready for the next."""
        job = self.job
        assert job is not None
        self.end()
        self.job, (self.pipe, self.process) = None, _started(folder)
        return job

    def end(self) -> None:
        if self.job is not None:
            # Its own group: compilers and timing processes under it go too.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.kill()
        self.pipe.close()
        self.process.join(10)


def _started(folder: Path) -> tuple[Connection, BaseProcess]:
    context = child_process.Spawn()
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, folder), daemon=False)
    process.start()
    theirs.close()
    return ours, process


def _work(pipe: Connection, folder: Path) -> None:
    # A group of its own: Ctrl-C reaches the parent alone, and whoever ends this process ends what it started.
    os.setsid()
    child_process.start(lambda: os.killpg(0, signal.SIGKILL))
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: _Answer = job.run(folder)
        except LilliputError as error:
            answer = error
        except OSError as error:
            why = f"{error.filename or folder}: {error.strerror}"
            answer = LilliputError(f"{why}; put it right and run the same command to go on")
        pipe.send(answer)


def _failed(job: Job, reason: str, folder: Path) -> tuple[Record, ...]:
    """Records of failure for those cells of the job that have no other."""
    found = []
    for cell in job.cells:
        record = cell_runner.record_of(folder, cell)
        if record is None or record.status == "failed":
            record = Record(cell, "failed", reason)
            record_file.write(record, Workspace(folder).records)
        found.append(record)
    return tuple(found)


def _silent(_what: str, _done: int, _total: int) -> None:
    pass
