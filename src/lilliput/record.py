"""One cell of a study: what was asked, and its outcome as one JSON file named by the digest of what was asked."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from lilliput import measurement
from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.measurement import Absent, Measurement

FORMAT = 1
"""Version of the record file. 1: the first."""

RANDOM_POLICY = "uniform-random"
"""Stands in a cell where a policy's digest does."""

Status = Literal["done", "failed", "not_applicable"]


@final
@dataclass(frozen=True)
class Cell:
    """What is asked: everything that the outcome may depend on, and nothing else.

    Attributes:
        policy: digest of the policy as loaded.
        recipe: its canonical text; empty for the baseline.
        environment: the id; environment_kwargs: its arguments as sorted JSON text; wrappers: the environment side's.
        format: onnx or c.
        target: host, or the processor that is emulated.
        compression_seed: of everything random in the recipe.
        episode_seeds: the seeds that are played, in order.
        quantities: what is measured.
        settings: what else the measurement depends on, as sorted (name, text) pairs.
        versions: the version of each step, quantity and environment package, as sorted (name, version) pairs.
    """

    policy: str
    recipe: str
    environment: str
    environment_kwargs: str = "{}"
    wrappers: tuple[str, ...] = ()
    format: str = "c"
    target: str = "host"
    compression_seed: int = 0
    episode_seeds: tuple[int, ...] = ()
    quantities: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of what is asked: the name of the record's file."""
        text = json.dumps(vars(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


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

    def values(self, name: str) -> tuple[float, ...]:
        """The raw values of a quantity; empty where it was not measured."""
        return next((m.values for m in self.measurements if m.quantity == name), ())


def to_json(record: Record) -> dict[str, Any]:
    """The record as JSON data; `recipe` stands at the top as well as in the cell, where people look for it."""
    data = dataclasses.asdict(record)
    return {"record_format": FORMAT, "digest": record.cell.digest, "recipe": record.cell.recipe, **data}


def from_json(data: dict[str, Any]) -> Record:
    """The record that `to_json` wrote.

    Raises:
        LilliputError: the data is malformed or newer than this program.
    """
    try:
        if data["record_format"] != FORMAT:
            raise LilliputError(
                f"a record of format {data['record_format']!r}; this version reads {FORMAT}: update lilliput"
            )
        cell = Cell(**{name: _tuples(value) for name, value in data["cell"].items()})
        return Record(
            cell=cell,
            status=data["status"],
            reason=data["reason"],
            measurements=measurement.from_json(data["measurements"]),
            absent=tuple(Absent(**a) for a in data["absent"]),
            names=_tuples(data["names"]),
            artifact=data["artifact"],
            elapsed_s=float(data["elapsed_s"]),
            step=data.get("step", ""),
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
    try:
        return from_json(json.loads(path.read_bytes()))
    except ValueError as error:
        raise LilliputError(f"{path} is not a record: {str(error)[:80]}") from error
    except LilliputError as error:
        raise LilliputError(f"{path}: {error}") from error


def read_all(folder: Path) -> Iterator[Record]:
    """Every record in a folder, in the order of the file names."""
    for path in sorted(folder.glob("*.json")):
        yield read(path)
