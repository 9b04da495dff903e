"""What a study will cost, before it runs: time from a few episodes of each policy, disk by what such files take."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import MissingDependency
from lilliput.record import Cell
from lilliput.report.recipe_text import calibration, steps
from lilliput.study import local
from lilliput.study.plan import Plan
from lilliput.study.run import seeds_of
from lilliput.study.run import task as task_of
from lilliput.task import Task

BUILD_S = {"onnx": 0.5, "c": 4.0}
"""Compressing without training, exporting and checking one artifact; C is compiled. Measured on two cores."""

COUNTING_S = 3.0
"""Compiling one artifact for a target and counting there."""

CALIBRATION_EPISODES = 10
"""Observations come from as many at least."""

TIMING_S = {"latency_s": 2.0, "peak_memory_bytes": 1.5, "energy_j": 30.0, "episode_energy_j": 30.0}
"""One artifact's; energy only where a counter can be read, without which it takes no time. Times of episodes come from
the pilot."""

TRAINING = {"distill": (0.006, 36_000), "finetune": (0.006, 12_000)}
"""Seconds a step, and the steps where a recipe does not say; measured 0.003 for 64 units a layer and 0.011 for 256."""

EVOLVING_S = 300.0

RECORD_BYTES = 6_000
BYTES_AN_EPISODE = 60
BYTES_A_TIMING = 90_000
ARTIFACT_BYTES = 60_000
BYTES_A_PARAMETER = 9
"""Of the constants of a C artifact, as text and as an object, and of its golden examples."""

PILOT_EPISODES = 3


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

    It plays some episodes of each policy in each environment.
    """
    timings = [cell for _, cell in plan.timings]
    if folder is None:
        finished, missing, timed = [], plan.cells, timings
    else:
        finished, missing = local.split(plan.cells, folder, retry_failed=retry_failed)
        _, timed = local.split(timings, folder, retry_failed=retry_failed)
    known = {_episode_key(r.cell): r.elapsed_s for r in finished if r.status == "done" and r.cell.recipe}
    episode: dict[tuple[str, Task], float] = {}
    seconds = 0.0
    disk = 0
    for cell in missing:
        if cell.target != "host":  # its artifact is the host's
            seconds += COUNTING_S
            disk += RECORD_BYTES
            continue
        key = _episode_key(cell)
        if key not in episode:
            episode[key] = _episode_s(plan, cell)
        trains = _training_s(cell.recipe)
        alike = known.get(key) if not trains else None
        played = len(cell.items) + (CALIBRATION_EPISODES if calibration(cell.recipe) else 0)
        seconds += alike if alike is not None else episode[key] * played + BUILD_S.get(cell.format, 0.0) + trains
        disk += RECORD_BYTES + BYTES_AN_EPISODE * len(cell.items)
        if not cell.is_floor and cell.format in BUILD_S:
            disk += ARTIFACT_BYTES + BYTES_A_PARAMETER * plan.policies[cell.subject].n_parameters
    seconds /= max(1, workers)
    counted = _has_counter()
    for cell in timed:
        asked = [name for name in cell.quantities if counted or not name.endswith("energy_j")]
        seconds += sum(TIMING_S.get(name, 0.0) for name in asked)
        if "episode_time_s" in asked:
            seconds += episode.get(_episode_key(cell), 0.0) * len(cell.items)
    disk += len(timed) * BYTES_A_TIMING
    return Estimate(len(plan.cells), len(plan.timings), len(missing) + len(timed), seconds, disk)


def _has_counter() -> bool:
    from lilliput.measure.rapl import open_counter

    with contextlib.suppress(MissingDependency):
        open_counter()
        return True
    return False


def _episode_key(cell: Cell) -> tuple[str, Task]:
    return cell.subject, cell.task


def _episode_s(plan: Plan, cell: Cell) -> float:
    """Wall seconds of one episode, after one that was not timed."""
    from lilliput.policies.play import episode_returns, random_returns

    settings = task_of(cell)
    start = 0.0
    for seeds in (seeds_of(cell)[:1], seeds_of(cell)[:PILOT_EPISODES]):
        start = time.perf_counter()
        if cell.is_floor:
            random_returns(cell.task.id, seeds, **settings)
        else:
            episode_returns(plan.policies[cell.subject], cell.task.id, seeds, **settings)
    return (time.perf_counter() - start) / len(seeds)


def _training_s(recipe: str) -> float:
    seconds = 0.0
    for step in steps(recipe):
        if step.name in TRAINING:
            each, usual = TRAINING[step.name]
            seconds += each * (step.get("steps") or usual)
        elif step.name == "evolve":
            seconds += EVOLVING_S
    return seconds
