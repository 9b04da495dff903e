"""One cell: compress, export, open what was exported and measure it there. The outcome is always a Record."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lilliput import record as record_file
from lilliput.compiler import cache_folder
from lilliput.errors import LilliputError, NotApplicable
from lilliput.files import has_space, is_out_of_space
from lilliput.measure.meter import Bench, Meter, Room
from lilliput.measure.table import meters_of
from lilliput.measurement import Absent, Measurement
from lilliput.record import REFERENCE, Cell, Record
from lilliput.study.observations import SETTING
from lilliput.study.table import wing_of
from lilliput.study.version import check_here
from lilliput.study.wing import Progress, Subject
from lilliput.study.workspace import Workspace


def record_of(folder: Path, cell: Cell) -> Record | None:
    """The cell's record where there is one; a damaged one counts as none."""
    path = Workspace(folder).record(cell.digest)
    with contextlib.suppress(LilliputError, OSError):
        return record_file.read(path)
    return None


def run(cell: Cell, folder: Path, progress: Progress) -> Record:
    """The record of the cell, which also stands in the folder; a failure is one too.

    Args:
        cell: of returns and sizes; timings are taken by `timing.measure`.
        folder: the study's, with the subject under its digest.
        progress: called with what is being done, how much is done, and of how much.
    """
    start = time.perf_counter()
    (record,) = attempt([cell], folder, lambda: (_done(cell, folder, progress),))
    record = dataclasses.replace(record, elapsed_s=round(time.perf_counter() - start, 3))
    record_file.write(record, Workspace(folder).records)
    return record


def attempt(cells: Sequence[Cell], folder: Path, work: Callable[[], tuple[Record, ...]]) -> tuple[Record, ...]:
    """What `work` makes of the cells; where it fails, a record of each says so: a result, and the study goes on."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whatever it is, it is a cell's result
        return tuple(failure(cell, error, folder) for cell in cells)


def _done(cell: Cell, folder: Path, progress: Progress) -> Record:
    check_here(cell)
    wing, here = wing_of(cell.wing), Workspace(folder)
    if cell.is_floor:
        return Record(cell, "done", "", wing.floor(cell, progress), said=wing.doubts(cell))
    subject = wing.read(here, cell.subject)
    if cell.format == REFERENCE:
        return Record(cell, "done", "", wing.answer(subject, cell, progress), names=wing.names(subject))
    path = built(cell, subject, here, progress)
    room = Room(
        (Bench(path, cell),),
        observations=lambda: wing.observations(subject, cell),
        progress=lambda done, total: progress(wing.ITEMS, done, total),
    )
    meters = meters_of(cell.quantities, (m for m in wing.meters if (cell.target != "host") == m.ON_TARGET))
    found = [one for meter in meters for one in meter.measure(room)[0]]
    measurements, absent = split(found, cell.quantities, meters)
    said = wing.said(subject, path) if cell.recipe else ()
    where = str(path.relative_to(folder))
    return Record(cell, "done", "", measurements, absent, wing.names(subject), where, said=said)


def failure(cell: Cell, error: Exception, folder: Path) -> Record:
    """The record of a cell that ended in an error.

    Raises:
        LilliputError: the disk is full: that is no result of the cell's.
    """
    # A compiler says only in words that the disk was full.
    if is_out_of_space(error) or not all(map(has_space, (folder, Path(tempfile.gettempdir()), cache_folder()))):
        raise LilliputError(f"{error}; free some space and run the same command to go on") from error
    names: tuple[tuple[str, str], ...] = ()
    with contextlib.suppress(LilliputError, OSError):
        wing = wing_of(cell.wing)
        names = wing.names(wing.read(Workspace(folder), cell.subject))
    if isinstance(error, NotApplicable):
        return Record(cell, "not_applicable", str(error), names=names, step=error.step)
    if isinstance(error, LilliputError):
        return Record(cell, "failed", str(error), names=names, step=error.step)
    return Record(cell, "failed", f"{type(error).__name__}: {error}", names=names)


def artifact_name(cell: Cell) -> str:
    """The name of the folder that the cell's artifact stands in: a digest of all that it is made from."""
    steps = [pair for pair in cell.versions if pair[0].startswith("step.")]
    # A recipe that calibrates plays the environment, so that is a part of what it is made from.
    made_from = [cell.subject, cell.recipe, cell.format, cell.compression_seed, steps]
    on_task = bool(cell.recipe) and wing_of(cell.wing).CALIBRATES_ON_TASK
    made_from += [cell.task.id, cell.task.arguments, list(cell.task.wrappers)] if on_task else []
    made_from += [cell.max_steps] if cell.recipe and cell.max_steps else []
    given = [list(pair) for pair in cell.settings if pair[0] == SETTING]
    made_from += given if cell.recipe else []
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


def built(cell: Cell, subject: Subject, here: Workspace, progress: Progress) -> Path:
    """The folder of the cell's artifact, made unless it is there already."""
    wing = wing_of(cell.wing)
    path = here.artifacts / artifact_name(cell)
    if path.exists():
        if wing.is_sound(path):
            return path
        shutil.rmtree(path)
    try:
        wing.build(subject, cell, here, path, progress)
    except (LilliputError, OSError):
        # Another process may have put the same one there meanwhile: a baseline serves several tasks.
        if not path.exists():
            raise
    return path


def split(
    results: Iterable[Measurement | Absent], quantities: Sequence[str], meters: Iterable[Meter]
) -> tuple[tuple[Measurement, ...], tuple[Absent, ...]]:
    """What was measured and what was not, of the quantities asked for, in their order, and what goes with them."""
    names = [*quantities, *(name for meter in meters for name in meter.ALWAYS if name not in quantities)]
    asked = sorted((m for m in results if m.quantity in names), key=lambda m: names.index(m.quantity))
    return tuple(m for m in asked if isinstance(m, Measurement)), tuple(m for m in asked if isinstance(m, Absent))
