"""One cell of a study: what was asked, and its outcome as one JSON file named by the digest of what was asked."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from lilliput import measurement
from lilliput.errors import LilliputError
from lilliput.files import Format, write_whole
from lilliput.measurement import Absent, Measurement, shared
from lilliput.task import Task

RANDOM_POLICY = "uniform-random"
"""The floor of policies: stands in a cell where a subject's digest does."""

MAX_STEPS = "max_steps"
"""Name of the setting that cuts episodes."""

REFERENCE = "reference"
"""Stands in a cell where a format does: the policy is played by its meaning, in an arithmetic that no format has."""

Status = Literal["done", "failed", "not_applicable"]


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    """A record of format 1 in the words of format 2."""
    old = dict(data["cell"])
    task = {"id": old.pop("environment")}
    task |= {new: old.pop(name) for name, new in (("environment_kwargs", "arguments"), ("wrappers", "wrappers"))}
    return {**data, "cell": {"subject": old.pop("policy"), "task": task, "items": old.pop("episode_seeds"), **old}}


FORMAT = Format("record", 2, {1: _renamed})
"""Of the file. 2: subject, task, items, floor, and the step that ended it; 1: policy, environment and episode_seeds."""


@final
@dataclass(frozen=True)
class Cell:
    """What is asked: everything that the outcome may depend on, and nothing else.

    A field with a default may be added in any version: a digest leaves out what has its default.

    Attributes:
        subject: digest of what was loaded, or the floor itself.
        recipe: its canonical text; empty for the baseline.
        task: what is judged; items: the parts of it in order, such as the seeds of the episodes.
        floor: who answers without knowing anything: retention is counted from it.
        wing: the kind of subject.
        format: onnx, c, or `REFERENCE`.
        target: host, or the processor that is emulated.
        compression_seed: of everything random in the recipe.
        quantities: what is measured.
        settings: what else the measurement depends on, as sorted (name, text) pairs.
        versions: of each step, quantity and package that the outcome depends on, as sorted (name, version) pairs.
    """

    subject: str
    recipe: str
    task: Task
    items: tuple[int | str, ...] = ()
    floor: str = RANDOM_POLICY
    format: str = "c"
    target: str = "host"
    compression_seed: int = 0
    quantities: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    wing: str = "policies"

    @property
    def is_floor(self) -> bool:
        """Whether the floor itself is measured."""
        return self.subject == self.floor

    @property
    def max_steps(self) -> int | None:
        """After how many steps episodes are cut, where that is not the usual."""
        text = dict(self.settings).get(MAX_STEPS)
        return int(text) if text else None

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of what is asked, without what has its default: the name of the record's file."""
        text = json.dumps(_asked(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _asked(part: Any) -> dict[str, Any]:
    defaults = {one.name: one.default for one in dataclasses.fields(part)}
    values = {name: getattr(part, name) for name in defaults}
    return {
        name: _asked(value) if isinstance(value, Task) else value
        for name, value in values.items()
        if value != defaults[name]
    }


@final
@dataclass(frozen=True)
class Record:
    """The outcome of one cell.

    Attributes:
        cell: what was asked.
        status: done, failed (see `reason`) or not_applicable (a step had nothing to do on this policy).
        reason: why it is not done; step: the compression step that ended it, where it was one.
        measurements: what was measured; absent: what could not be, and why.
        names: what people call things: source, algorithm, environment as trained; not part of the digest.
        artifact: the artifact's folder, relative to the study's.
        elapsed_s: how long the cell took.
        said: what the steps of the recipe said of the artifact, a sentence each; the floor's, what is said of the task.
        filed: the digest in the name of the file that it was read from, which an older format computed in another way.
    """

    cell: Cell
    status: Status
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    absent: tuple[Absent, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    artifact: str = ""
    elapsed_s: float = 0.0
    step: str = ""
    said: tuple[str, ...] = ()
    filed: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """The name of its file; the cell's digest where it was not read from one."""
        return self.filed or self.cell.digest

    @property
    def scores(self) -> tuple[float, ...]:
        """What the task is judged by, one value an item; empty where it was not measured."""
        return self.values(self.cell.task.score)

    def values(self, name: str) -> tuple[float, ...]:
        """The raw values of a quantity; empty where it was not measured."""
        return next((m.values for m in self.measurements if m.quantity == name), ())


def to_json(record: Record) -> dict[str, Any]:
    """The record as JSON data; `recipe` stands at the top as well as in the cell, where people look for it."""
    data = dataclasses.asdict(record)
    del data["filed"]
    return FORMAT.stamped({"digest": record.cell.digest, "recipe": record.cell.recipe, **data})


def from_json(data: Any) -> Record:
    """The record that `to_json` wrote, now or in an older format.

    Raises:
        LilliputError: the data is malformed or newer than this program.
    """
    return _record(FORMAT.current(data), {})


def _record(data: dict[str, Any], same: dict[Any, Any]) -> Record:
    try:
        asked = {name: _tuples(value) for name, value in data["cell"].items()}
        task = Task(**{name: _tuples(value) for name, value in asked.pop("task").items()})
        cell = Cell(task=shared(task, same), **{name: shared(value, same) for name, value in asked.items()})
        return Record(
            cell=cell,
            status=data["status"],
            reason=data["reason"],
            measurements=measurement.from_json(data["measurements"], same),
            absent=tuple(Absent(**a) for a in data["absent"]),
            names=shared(_tuples(data["names"]), same),
            artifact=data["artifact"],
            elapsed_s=float(data["elapsed_s"]),
            step=data.get("step", ""),
            said=shared(tuple(map(str, data.get("said", ()))), same),
            filed=str(data["digest"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LilliputError(f"a record is malformed: {str(error)[:80]}") from error


def _tuples(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    # Seeds come by the hundred: a call for each of them is most of the time that a record takes.
    return tuple([_tuples(one) if type(one) is list else one for one in value])


def write(record: Record, folder: Path) -> Path:
    """The file that the record was written to, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_whole(folder / f"{record.cell.digest}.json", json.dumps(to_json(record), indent=1) + "\n")


def read(path: Path) -> Record:
    """The record in a file.

    Raises:
        LilliputError: it is damaged.
    """
    (record,) = read_each([path])
    return record


def read_each(paths: Iterable[Path]) -> Iterator[Record]:
    """The records in files; what is equal in them they share, so that thousands of one study take little memory.

    Raises:
        LilliputError: one is damaged.
    """
    same: dict[Any, Any] = {}
    for path in paths:
        data = FORMAT.read(path)
        try:
            yield _record(data, same)
        except LilliputError as error:
            raise LilliputError(f"{path}: {error}") from error


def measured_again(paths: Iterable[Path]) -> list[str]:
    """A line for each of the files that is there and holds no whole record: it counts as none, and its cell runs."""
    found = []
    for path in paths:
        try:
            read(path)
        except LilliputError as error:
            if path.exists():
                found.append(f"measured again, since its record could not be read: {error}")
    return found


def read_all(folder: Path) -> Iterator[Record]:
    """Every record in a folder, in the order of the file names."""
    yield from read_each(sorted(folder.glob("*.json")))
