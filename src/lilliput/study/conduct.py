"""A whole study: what is missing is run, then what is timed; and what stands in its folder at any moment."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lilliput import record as record_file
from lilliput.errors import LilliputError
from lilliput.files import Format, locked
from lilliput.record import Cell, Record
from lilliput.report.best_so_far import BestSoFar
from lilliput.study import local
from lilliput.study.document import Study
from lilliput.study.executor import Executor
from lilliput.study.plan import Plan
from lilliput.study.store import Store
from lilliput.study.workspace import Workspace, enter

FORMAT = Format("plan", 1)
"""Of the plan's file. 1: title, keep, the digests of all cells and timings, notes, the study file's text; later also
which paper it reproduces."""


@final
@dataclass
class Tally:
    """How far a study is; `again`: a line for each record that was there and could not be read."""

    total: int
    best_so_far: BestSoFar
    done: int = 0
    failed: int = 0
    not_applicable: int = 0
    began: float = field(default_factory=time.monotonic)
    ran: int = 0
    again: tuple[str, ...] = ()

    @property
    def to_go(self) -> int:
        """Cells without a record."""
        return self.total - self.done - self.failed - self.not_applicable

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this run; None before its first record."""
        return (time.monotonic() - self.began) / self.ran * self.to_go if self.ran else None

    def count(self, record: Record) -> None:
        """Count one record more."""
        self.best_so_far.follow(record)
        match record.status:
            case "done":
                self.done += 1
            case "failed":
                self.failed += 1
            case "not_applicable":
                self.not_applicable += 1

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON data."""
        left = self.seconds_left
        return {
            "cells": self.total,
            "done": self.done,
            "failed": self.failed,
            "not_applicable": self.not_applicable,
            "to_go": self.to_go,
            "seconds_left": None if left is None else round(left, 1),
            "best": self.best_so_far.candidate.to_json() if self.best_so_far.candidate else None,
        }


def conduct(
    study: Study,
    plan: Plan,
    folder: Path,
    executor: Executor,
    report: Callable[[Tally, Record | None], None],
    *,
    retry_failed: bool = False,
    force: bool = False,
    text: str = "",
    store: Store | None = None,
) -> Tally:
    """The tally at the end; each record stands in the folder as soon as it is there.

    Args:
        study: what was asked.
        plan: its cells.
        folder: new, or of this study or an earlier one: finished cells never run again.
        executor: runs the cells of returns and sizes; timings run on this machine, alone.
        report: called at the start and after each record.
        retry_failed: run cells again that failed.
        force: go on in a folder of something else.
        text: of the study file, kept beside the records.
        store: where records are taken from at the start and put as they come, for other machines to go on with.

    Raises:
        LilliputError: another run is at work in the folder, or nothing can go on (a full disk).
    """
    here = enter(folder, "study", force=force)
    with locked(folder):
        here.sweep()
        _write_plan(study, plan, here, text)
        if store is not None:
            store.pull(folder)
        for subject in plan.subjects.values():
            plan.wing.keep(subject, here)
        tally = Tally(len(plan.cells) + len(plan.timings), BestSoFar(study.keep))
        missing, done = list[Cell](), set[Cell]()
        for cell, record in local.with_records(plan.cells, folder, retry_failed=retry_failed):
            if record is None:
                missing.append(cell)
                continue
            tally.count(record)
            if record.status == "done":
                done.add(cell)
        tally.again = tuple(record_file.measured_again(here.record(cell.digest) for cell in missing))
        timings = (timed for _, timed in plan.timings)
        for _, record in local.with_records(timings, folder, retry_failed=retry_failed):
            if record is not None:
                tally.count(record)
        report(tally, None)
        for record in executor.run_all(missing, folder, _silent):
            if store is not None:
                store.push(record, folder)
            tally.ran += 1
            tally.count(record)
            if record.status == "done":
                done.add(record.cell)
            report(tally, record)
        to_time = [timed for cell, timed in plan.timings if cell in done]
        tally.total -= len(plan.timings) - len(to_time)
        beside = local.with_records(to_time, folder, retry_failed=retry_failed)
        missing = [timed for timed, record in beside if record is None]
        tally.again += tuple(record_file.measured_again(here.record(timed.digest) for timed in missing))
        for record in local.time_all(missing, folder, study.cell_timeout):
            if store is not None:
                store.push(record, folder)
            tally.ran += 1
            tally.count(record)
            report(tally, record)
    return tally


def read_plan(folder: Path) -> dict[str, Any]:
    """What the study in the folder consists of.

    Raises:
        LilliputError: there is no study.
    """
    path = Workspace(folder).plan
    if not path.is_file():
        raise LilliputError(f"{folder} holds no study; run one: lilliput study run study.toml -o {folder}")
    try:
        return FORMAT.read(path)
    except LilliputError as error:
        raise LilliputError(f"{error}; run the study again, which keeps its records") from error


def records(folder: Path) -> Iterator[Record]:
    """The records of the study as it was last asked for, in its order; those of earlier recipes are left out."""
    found = read_plan(folder)
    there = Workspace(folder).records
    names = {path.name for path in there.iterdir()} if there.is_dir() else set[str]()
    every = (f"{digest}.json" for digest in (*found["cells"], *found["timings"]))
    try:
        yield from record_file.read_each(there / name for name in every if name in names)
    except LilliputError as error:
        raise LilliputError(f"{error}; run the study again, which measures that cell anew") from error


def tally_of(folder: Path, known: Iterable[Record] | None = None) -> Tally:
    """How far the study in the folder is, its records `known` or read; timings of cells not done are not counted."""
    found = read_plan(folder)
    tally = Tally(len(found["cells"]) + len(found["timings"]), BestSoFar(found["keep"]))
    statuses = {}
    for record in records(folder) if known is None else known:
        tally.count(record)
        statuses[record.digest] = record.status
    tally.total -= sum(statuses.get(base, "done") != "done" for base in found["timings"].values())
    return tally


def _write_plan(study: Study, plan: Plan, here: Workspace, text: str) -> None:
    data = {
        "title": study.title,
        "keep": study.keep,
        "reproduces": study.reproduces,
        "cells": [cell.digest for cell in plan.cells],
        "timings": {timed.digest: cell.digest for cell, timed in plan.timings},
        "notes": list(plan.notes),
        "caveats": list(plan.caveats),
        "study": text,
    }
    FORMAT.write(here.plan, data)


def _silent(_what: str, _done: int, _total: int) -> None:
    pass
