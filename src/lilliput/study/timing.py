"""Inference time, memory and energy of artifacts that stand in a study.

Measured alone, and interleaved with each other.
"""

import dataclasses
import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from lilliput import record as record_file
from lilliput.measure.meter import Bench, Meter, Room
from lilliput.measure.table import meters_of
from lilliput.measurement import QUANTITIES
from lilliput.record import Cell, Record
from lilliput.study.run import attempt, built, record_of, split
from lilliput.study.table import wing_of
from lilliput.study.wing import Progress
from lilliput.study.workspace import Workspace

TIMED_ITEMS = 5

IN_TURNS = 12
"""Artifacts that are timed in one run beside their baseline: more would spread a ratio's two sides over minutes."""


def asked(quantities: Sequence[str], meters: Sequence[Meter]) -> tuple[str, ...]:
    """Those that must be measured alone, with what is measured with them, in the order of QUANTITIES."""
    alone = [name for name in quantities if QUANTITIES[name].timing]
    wanted = {name for meter in meters_of(alone, meters) for name in meter.QUANTITIES}
    return tuple(name for name in QUANTITIES if name in wanted)


def cell_of(cell: Cell, quantities: tuple[str, ...]) -> Cell:
    """The cell that times the artifact of `cell`."""
    kept = [pair for pair in cell.versions if not pair[0].startswith("quantity.")]
    measured = [(f"quantity.{name}", str(QUANTITIES[name].version)) for name in quantities]
    items = cell.items[:TIMED_ITEMS]
    return dataclasses.replace(cell, quantities=quantities, items=items, versions=tuple(sorted([*kept, *measured])))


def groups(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """The cells that are measured in one run: of one policy, environment, format and set of quantities."""
    by_run: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_run[cell.subject, cell.task, cell.format, cell.quantities].append(cell)
    return tuple(tuple(group[n : n + IN_TURNS]) for group in by_run.values() for n in range(0, len(group), IN_TURNS))


def run_all(cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
    """The records of timing cells, in order; those of one policy and format that are missing are measured in one run.

    Each of them is interleaved with the baseline of its policy and format, which is what its ratio is taken against.
    """
    records = {cell: record_of(folder, cell) for cell in cells}
    missing = [cell for cell, record in records.items() if record is None or record.status == "failed"]
    for group in groups(missing):
        records |= {record.cell: record for record in measure(group, folder, progress)}
    yield from (record for record in records.values() if record is not None)


def measure_or_record(cells: Sequence[Cell], folder: Path, progress: Progress) -> tuple[Record, ...]:
    """The records of one group; where it fails, each cell's says so."""
    records = attempt(cells, folder, lambda: measure(cells, folder, progress))
    for record in records:
        if record.status != "done":
            record_file.write(record, Workspace(folder).records)
    return records


def measure(cells: Sequence[Cell], folder: Path, progress: Progress) -> tuple[Record, ...]:
    """The records of one group of cells, measured in turns with their baseline; they stand in the folder too."""
    first, here = cells[0], Workspace(folder)
    wing = wing_of(first.wing)
    subject = wing.read(here, first.subject)
    unpressed = tuple(pair for pair in first.versions if not pair[0].startswith("step."))
    baseline = dataclasses.replace(first, recipe="", compression_seed=0, versions=unpressed)
    artifacts = [built(cell, subject, here, progress) for cell in (baseline, *cells)]
    meters = meters_of(first.quantities, wing.meters)
    records = []
    progress("timing", 0, len(cells))
    with tempfile.TemporaryDirectory() as scratch:
        room = Room(
            tuple(map(Bench, artifacts[1:], cells)),
            functools.cache(lambda: wing.observations(subject, first)),
            artifacts[0],
            functools.cache(lambda: wing.identity(subject, first.format, Path(scratch))),
        )
        start = time.perf_counter()
        together = {meter.NAME: meter.measure(room) for meter in meters if meter.IN_TURNS}
        spent = (time.perf_counter() - start) / len(cells)
        for number, (cell, bench) in enumerate(zip(cells, room.benches, strict=True)):
            progress("timing", number, len(cells))
            start = time.perf_counter()
            alone = dataclasses.replace(room, benches=(bench,))
            measured = [
                one
                for meter in meters
                for one in (together[meter.NAME][number] if meter.IN_TURNS else meter.measure(alone)[0])
            ]
            done, absent = split(measured, cell.quantities, meters)
            elapsed = round(spent + time.perf_counter() - start, 3)
            place = str(bench.folder.relative_to(folder))
            record = Record(cell, "done", "", done, absent, wing.names(subject), place, elapsed)
            record_file.write(record, here.records)
            records.append(record)
    progress("timing", len(cells), len(cells))
    return tuple(records)
