"""Cells on a Ray cluster: policies go out and records and artifacts come back through Ray; no disk is shared."""

import importlib
import io
import itertools
import re
import socket
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lilliput import record as record_file
from lilliput.errors import LilliputError, MissingDependency
from lilliput.record import Cell, Record
from lilliput.study.executor import Executor
from lilliput.study.run import Progress
from lilliput.study.workspace import Workspace

ATTEMPTS = 2
_POLL_S = 0.5

Answer = tuple[Record, bytes]
"""The record, and its artifact's folder as a tar file; no bytes where there is none."""


@final
@dataclass(frozen=True)
class Ray(Executor):
    """The workers of a Ray cluster.

    Attributes:
        workers: how many cells at once; 0: one for each core of the cluster.
        timeout: seconds a cell.
        address: of the cluster, as `ray.init` takes it; None: a new one on this machine.
    """

    workers: int = 0
    timeout: float | None = None
    address: str | None = None

    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        """The records of the cells as they come; see `Executor.run_all`."""
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise MissingDependency(
                "--executor ray needs the package ray; install it with: pip install 'lilliput[ray]'"
            ) from error
        here = self.address is None
        _check_reachable(self.address)
        try:
            ray.init(
                address=self.address,
                num_cpus=(self.workers or None) if here else None,
                include_dashboard=False if here else None,
                log_to_driver=False,
                ignore_reinit_error=True,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise LilliputError(f"no Ray cluster at {self.address}: {str(error)[:160]}") from error
        try:
            at_once = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            yield from _Dispatch(ray, folder, at_once, self.timeout).run(cells, progress)
        finally:
            if here:
                ray.shutdown()


@dataclass
class _Dispatch:
    """A run under way. `ray` is the module, which only this file's callers may lack."""

    ray: Any
    folder: Path
    at_once: int
    timeout: float | None
    policies: dict[str, Any] = field(default_factory=dict)

    def run(self, cells: Sequence[Cell], progress: Progress) -> Iterator[Record]:
        ray = self.ray
        waiting = deque((cell, 1) for cell in cells)
        running: dict[Any, tuple[Cell, int, int]] = {}
        # max_retries=0: a second attempt is ours to count, so that a cell that kills its worker ends as a record.
        remote = ray.remote(num_cpus=1, max_retries=0)(run_remotely)
        starts = ray.remote(num_cpus=0)(Starts).remote()
        attempts = itertools.count()
        done = 0
        try:
            while waiting or running:
                while waiting and len(running) < self.at_once:
                    cell, attempt = waiting.popleft()
                    number = next(attempts)
                    answer = remote.remote(cell, self.policy(cell), starts, number)
                    running[answer] = (cell, attempt, number)
                ready, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_S)
                for answer in ready:
                    cell, attempt, _number = running.pop(answer)
                    try:
                        record = self.keep(*ray.get(answer))
                    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                        if attempt < ATTEMPTS:
                            waiting.append((cell, attempt + 1))
                            continue
                        record = self.fail(cell, f"its worker was ended {ATTEMPTS} times: {_first_line(error)}")
                    except ray.exceptions.RayError as error:
                        record = self.fail(cell, _first_line(error))
                    done += 1
                    progress("cells", done, len(cells))
                    yield record
                elapsed = ray.get(starts.elapsed.remote()) if self.timeout is not None else {}
                for answer, (cell, _attempt, number) in list(running.items()):
                    if self.timeout is not None and elapsed.get(number, 0.0) > self.timeout:
                        ray.cancel(answer, force=True)
                        running.pop(answer)
                        done += 1
                        progress("cells", done, len(cells))
                        yield self.fail(cell, f"stopped after its time of {self.timeout:g} s a cell")
        finally:
            for answer in running:
                ray.cancel(answer, force=True)

    def policy(self, cell: Cell) -> Any:
        """Where Ray keeps the file of the cell's policy: each goes to a machine once."""
        if cell.is_floor:
            return b""
        if cell.subject not in self.policies:
            path = Workspace(self.folder).policy(cell.subject)
            self.policies[cell.subject] = self.ray.put(path.read_bytes())
        return self.policies[cell.subject]

    def keep(self, record: Record, packed: bytes) -> Record:
        """The record, written here after its artifact was."""
        target = self.folder / record.artifact
        if packed and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
                with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                    archive.extractall(scratch, filter="data")
                (Path(scratch) / target.name).rename(target)
        record_file.write(record, Workspace(self.folder).records)
        return record

    def fail(self, cell: Cell, reason: str) -> Record:
        record = Record(cell, "failed", reason)
        record_file.write(record, Workspace(self.folder).records)
        return record


@final
class Starts:
    """An actor: when each attempt began. What waits for a worker, or for one to start, is not what takes its time."""

    def __init__(self) -> None:
        self._began: dict[int, float] = {}

    def begin(self, attempt: int) -> None:
        """Nothing; its time runs from now."""
        self._began[attempt] = time.monotonic()

    def elapsed(self) -> dict[int, float]:
        """Seconds by attempt."""
        return {attempt: time.monotonic() - began for attempt, began in self._began.items()}


def run_remotely(cell: Cell, policy: bytes, starts: Any, attempt: int) -> Answer:
    """The outcome of a cell on whatever machine this is, in a scratch folder of its own."""
    starts.begin.remote(attempt)
    from lilliput.study import run as cell_runner

    with tempfile.TemporaryDirectory(prefix="lilliput-") as scratch:
        folder = Path(scratch)
        if policy:
            path = Workspace(folder).policy(cell.subject)
            path.parent.mkdir()
            path.write_bytes(policy)
        record = cell_runner.run(cell, folder, _silent)
        packed = io.BytesIO()
        if record.artifact:
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                archive.add(folder / record.artifact, arcname=Path(record.artifact).name)
        return record, packed.getvalue()


def _check_reachable(address: str | None) -> None:
    """Nothing; Ray itself tries for minutes to reach an address where nobody listens.

    Raises:
        LilliputError: nobody does.
    """
    found = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or "")
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=10).close()
    except OSError as error:
        raise LilliputError(f"no Ray cluster at {address}: {error}; start one: ray start --head") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _silent(_what: str, _done: int, _total: int) -> None:
    pass
