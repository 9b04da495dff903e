"""Cells on a Ray cluster: policies go out and records and artifacts come back through Ray; no disk is shared."""

import contextlib
import importlib
import io
import itertools
import logging
import os
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
from lilliput.study.table import wing_of
from lilliput.study.training import DONE_NAME, TrainingCell
from lilliput.study.wing import Progress
from lilliput.study.workspace import Workspace

ATTEMPTS = 2
LOSSES = 8
"""So many nodes may die under one cell, which is not its fault; if it is, it ends all the same."""

_POLL_S = 0.5
_FETCH_S = 300.0
Answer = tuple[Record, bytes]
"""The record, and its artifact's folder as a tar file; no bytes where there is none."""


@final
@dataclass(frozen=True)
class Ray(Executor):
    """The workers of a Ray cluster, whose nodes may come and go while a study runs, but for the one it is run from.

    Attributes:
        workers: how many cells at once; 0: one for each core that the cluster has at the time.
        timeout: seconds a cell.
        address: of the cluster, as `ray.init` takes it; None: a new one on this machine.
    """

    workers: int = 0
    timeout: float | None = None
    address: str | None = None

    @classmethod
    def of(cls, workers: int | None, timeout: float | None, address: str | None) -> "Ray":
        """See `Executor.of`."""
        return cls(workers or 0, timeout, address)

    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        """The records of the cells as they come; see `Executor.run_all`."""
        with self._cluster() as ray:
            yield from _Dispatch(ray, folder, self.workers, self.timeout).run(cells, progress)

    def train_all(self, cells: Sequence[TrainingCell]) -> Iterator[tuple[TrainingCell, str]]:
        """Each training as it ends; see `Executor.train_all`. Ray begins it anew where its node is lost."""
        with self._cluster() as ray:
            remote = ray.remote(num_cpus=1, max_retries=LOSSES)(train_remotely)
            running = {remote.remote(cell): cell for cell in cells}
            while running:
                (answer,), _ = ray.wait(list(running), num_returns=1)
                cell = running.pop(answer)
                try:
                    reason, packed = ray.get(answer)
                except ray.exceptions.RayTaskError as error:
                    reason, packed = _first_line(error), b""
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                    reason, packed = f"its worker was ended {LOSSES + 1} times: {_first_line(error)}", b""
                if packed:
                    cell.folder.mkdir(parents=True, exist_ok=True)
                    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                        archive.extractall(cell.folder, filter="data")
                yield cell, reason

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[Any]:
        """The module `ray` while it is connected.

        Raises:
            LilliputError: there is no cluster at the address, or it is gone.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at the import
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise MissingDependency(
                "--executor ray needs the package ray; install it with: pip install 'lilliput[ray]'"
            ) from error
        here = self.address is None
        _check_reachable(self.address)
        ours = not ray.is_initialized()
        try:
            if ours:
                ray.init(
                    address=self.address or "local",  # None would join a cluster that this machine happens to run
                    num_cpus=(self.workers or None) if here else None,
                    include_dashboard=False if here else None,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
        except Exception as error:  # what of Ray does not start in time raises no class of its own
            if ours:
                ray.shutdown()  # what of it did start
            where = "starts here" if here else f"at {self.address}"
            raise LilliputError(
                f"no Ray cluster {where}: {_first_line(error)[:160]}; the same command goes on"
            ) from error
        try:
            with _quiet():
                yield ray
        except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.RpcError) as error:
            raise LilliputError(
                f"the Ray cluster is gone ({_first_line(error)}); the same command goes on from what is recorded"
            ) from error
        finally:
            if ours:
                ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts Ray does not print what it has to say of nodes that come and go: 30 lines a node, on our stdout.

    `log_to_driver=False` does not stop it (Ray 2.60).
    """
    worker: Any = importlib.import_module("ray._private.worker")
    before = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@final
@dataclass(frozen=True)
class _Asked:
    """A cell that Ray was asked for: the attempt's number, how many attempts it was, how many nodes died under it."""

    cell: Cell
    number: int
    attempt: int = 1
    losses: int = 0


@dataclass
class _Dispatch:
    """A run under way. `ray` is the module, which only this file's callers may lack."""

    ray: Any
    folder: Path
    workers: int
    timeout: float | None
    policies: dict[str, Any] = field(default_factory=dict)
    began: dict[int, "_Beginning"] = field(default_factory=dict)

    def run(self, cells: Sequence[Cell], progress: Progress) -> Iterator[Record]:
        ray = self.ray
        numbers = itertools.count()
        waiting = deque(_Asked(cell, next(numbers)) for cell in cells)
        running: dict[Any, _Asked] = {}
        # max_retries=0: a second attempt is ours to count, so that a cell that kills its worker ends as a record.
        remote = ray.remote(num_cpus=1, max_retries=0)(run_remotely)
        starts = self.starts()
        done = 0
        try:
            while waiting or running:
                for _ in range(self.at_once() - len(running)):
                    if waiting:
                        task = waiting.popleft()
                        running[remote.remote(task.cell, self.policy(task.cell), starts, task.number)] = task
                if not running:  # the cluster has no core at the moment: nodes may join
                    time.sleep(_POLL_S)
                    continue
                ready, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_S)
                # What began while we looked elsewhere is known before a crash is judged.
                self.look(starts)
                found: list[Record] = []
                for answer in ready:
                    task = running.pop(answer)
                    outcome = self.outcome(answer, task, next(numbers))
                    if isinstance(outcome, _Asked):
                        waiting.append(outcome)
                    else:
                        found.append(outcome)
                for answer in [answer for answer, task in running.items() if self.is_late(task)]:
                    self.cancel(answer)
                    found.append(
                        self.fail(running.pop(answer).cell, f"stopped after its time of {self.timeout:g} s a cell")
                    )
                for record in found:
                    done += 1
                    progress("cells", done, len(cells))
                    yield record
        finally:
            for answer in running:
                self.cancel(answer)

    def starts(self) -> Any:
        """The actor that knows when an attempt began, on the node that the study is run from: no other is needed."""
        ray = self.ray
        scheduling = importlib.import_module("ray.util.scheduling_strategies")
        here = scheduling.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        return ray.remote(**options)(Starts).remote()

    def at_once(self) -> int:
        """How many cells the cluster is to have at a time, with the nodes that it has now."""
        cores = int(self.ray.cluster_resources().get("CPU", 0))
        return min(self.workers, cores) if self.workers else cores

    def look(self, starts: Any) -> None:
        """Takes up which attempts have begun, on which nodes; a moment without an answer loses nothing."""
        with contextlib.suppress(self.ray.exceptions.RayActorError, self.ray.exceptions.GetTimeoutError):
            now = time.monotonic()
            for number, (node, elapsed) in self.ray.get(starts.elapsed.remote(), timeout=30).items():
                self.began.setdefault(number, _Beginning(node, now - elapsed))

    def is_late(self, task: _Asked) -> bool:
        """Whether the time of its attempt is over, which begins where a worker takes it up."""
        begun = self.began.get(task.number)
        return self.timeout is not None and begun is not None and time.monotonic() - begun.at > self.timeout

    def outcome(self, answer: Any, task: _Asked, number: int) -> "Record | _Asked":
        """The record, or what is to be tried again."""
        errors = self.ray.exceptions
        try:
            return self.keep(*self.ray.get(answer, timeout=_FETCH_S))
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.LocalRayletDiedError) as error:
            what = error
        except (errors.ObjectLostError, errors.GetTimeoutError) as error:
            what = error
        except errors.RayError as error:
            return self.fail(task.cell, _first_line(error))
        begun = self.began.get(task.number)
        lost = begun is None or begun.node not in self.nodes() or isinstance(what, errors.ObjectLostError)
        if lost and task.losses < LOSSES:
            return _Asked(task.cell, number, task.attempt, task.losses + 1)
        if not lost and task.attempt < ATTEMPTS:
            return _Asked(task.cell, number, task.attempt + 1, task.losses)
        if lost:
            return self.fail(task.cell, f"its node was lost {LOSSES + 1} times: {_first_line(what)}")
        return self.fail(task.cell, f"its worker was ended {ATTEMPTS} times: {_first_line(what)}")

    def nodes(self) -> set[str]:
        """The ids of the nodes that are alive."""
        return {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}

    def cancel(self, answer: Any) -> None:
        """Ends a cell under way."""
        with contextlib.suppress(self.ray.exceptions.RayError, ConnectionError, ValueError):
            self.ray.cancel(answer, force=True)

    def policy(self, cell: Cell) -> Any:
        """Where Ray keeps the file of the cell's policy: each goes to a machine once."""
        if cell.is_floor:
            return b""
        if cell.subject not in self.policies:
            path = wing_of(cell.wing).file(Workspace(self.folder), cell.subject)
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
@dataclass(frozen=True)
class _Beginning:
    """On which node an attempt began, and when by the clock of the driver."""

    node: str
    at: float


@final
class Starts:
    """An actor: when each attempt began. What waits for a worker, or for one to start, is not what takes its time."""

    def __init__(self) -> None:
        self._began: dict[int, tuple[str, float]] = {}

    def begin(self, attempt: int, node: str) -> None:
        """Its time runs from now."""
        self._began[attempt] = node, time.monotonic()

    def elapsed(self) -> dict[int, tuple[str, float]]:
        """Node and seconds by attempt."""
        return {attempt: (node, time.monotonic() - began) for attempt, (node, began) in self._began.items()}


def run_remotely(cell: Cell, policy: bytes, starts: Any, attempt: int) -> Answer:
    """The outcome of a cell on whatever machine this is, in a scratch folder of its own."""
    import ray

    # Waited for: a crash right after it is then known to be the cell's.
    ray.get(starts.begin.remote(attempt, ray.get_runtime_context().get_node_id()))
    from lilliput.study import run as cell_runner

    with tempfile.TemporaryDirectory(prefix="lilliput-") as scratch:
        folder = Path(scratch)
        if policy:
            path = wing_of(cell.wing).file(Workspace(folder), cell.subject)
            path.parent.mkdir()
            path.write_bytes(policy)
        record = cell_runner.run(cell, folder, _silent)
        packed = io.BytesIO()
        if record.artifact:
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                archive.add(folder / record.artifact, arcname=Path(record.artifact).name)
        return record, packed.getvalue()


def train_remotely(cell: TrainingCell) -> tuple[str, bytes]:
    """Why the training failed on whatever machine this is, and its folder without the replay buffer as a tar file."""
    with tempfile.TemporaryDirectory(prefix="lilliput-") as scratch:
        reason = TrainingCell(Path(scratch), cell.asked).train()
        packed = io.BytesIO()
        if not reason:
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                for path in sorted(Path(scratch).iterdir(), key=lambda path: (path.name == DONE_NAME, path.name)):
                    if path.is_file():
                        archive.add(path, arcname=path.name)
        return reason, packed.getvalue()


def _check_reachable(address: str | None) -> None:
    """Check that somebody listens there; Ray itself tries for minutes to reach an address where nobody listens.

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
