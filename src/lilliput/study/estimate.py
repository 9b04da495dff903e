"""What a study will cost, before it runs: time from a few items that each subject answers, disk by such files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.measure.table import meters_of
from lilliput.record import REFERENCE, Cell
from lilliput.study import local
from lilliput.study.plan import Plan
from lilliput.task import Task

RECORD_BYTES = 6_000
BYTES_AN_ITEM = 60
BYTES_A_TIMING = 90_000

TRAINS_S = 10.0
"""What takes longer to build trains: what other recipes took says nothing of it."""


@final
@dataclass(frozen=True)
class Estimate:
    """What is to run: `seconds` with so many workers, and what it adds to the disk."""

    cells: int
    timings: int
    missing: int
    seconds: float
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON data."""
        return {
            "cells": self.cells + self.timings,
            "timings": self.timings,
            "to_go": self.missing,
            "seconds": round(self.seconds),
            "disk_bytes": self.disk_bytes,
        }


def estimate(plan: Plan, folder: Path | None, workers: int, *, retry_failed: bool) -> Estimate:
    """Cells, time and disk of what is missing in `folder`, of everything without one.

    Some items of each task are answered by each subject.
    """
    wing = plan.wing
    timings, known = [cell for _, cell in plan.timings], dict[tuple[str, Task], float]()
    if folder is None:
        missing, timed = list(plan.cells), timings
    else:
        missing = []
        for cell, record in local.with_records(plan.cells, folder, retry_failed=retry_failed):
            if record is None:
                missing.append(cell)
            elif record.status == "done" and cell.recipe:
                known[_alike(cell)] = record.elapsed_s
        beside = local.with_records(timings, folder, retry_failed=retry_failed)
        timed = [cell for cell, record in beside if record is None]
    item: dict[tuple[str, Task], float] = {}
    seconds = 0.0
    disk = 0
    for cell in missing:
        disk += RECORD_BYTES + BYTES_AN_ITEM * len(cell.items)
        if cell.target != "host":  # its artifact is the host's
            seconds += sum(meter.SECONDS for meter in wing.meters if meter.ON_TARGET)
            continue
        key = _alike(cell)
        if key not in item:
            item[key] = wing.item_s(plan.subjects.get(cell.subject), cell)
        building = 0.0 if cell.is_floor or cell.format == REFERENCE else wing.build_s(cell)
        played = len(cell.items) + wing.calibration_items(cell.recipe)
        alike = known.get(key) if building < TRAINS_S else None
        seconds += alike if alike is not None else item[key] * played + building
        if building:
            disk += wing.artifact_bytes(plan.subjects[cell.subject])
    seconds /= max(1, workers)
    for cell in timed:
        for meter in meters_of(cell.quantities, wing.meters):
            if not meter.lacks():
                seconds += meter.SECONDS
                # Where a meter says how long it takes, it plays as long as that.
                seconds += 0.0 if meter.SECONDS or not meter.PLAYS else item.get(_alike(cell), 0.0) * len(cell.items)
    disk += len(timed) * BYTES_A_TIMING
    return Estimate(len(plan.cells), len(plan.timings), len(missing) + len(timed), seconds, disk)


def _alike(cell: Cell) -> tuple[str, Task]:
    return cell.subject, cell.task
