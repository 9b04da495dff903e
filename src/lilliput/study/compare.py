"""A small study: one policy, some recipes, all measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.files import locked
from lilliput.measurement import QUANTITIES
from lilliput.record import MAX_STEPS, Cell, Record
from lilliput.study import local, timing
from lilliput.study.observations import SETTING, digest_of, keep_observations
from lilliput.study.plan import by_meaning, floor_of
from lilliput.study.table import WINGS, wing_of
from lilliput.study.version import versions
from lilliput.study.wing import Progress, Subject, Wing
from lilliput.study.workspace import Workspace, enter
from lilliput.task import Task


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared.

    Attributes:
        task: what the subject is judged on.
        recipes: canonical texts, without the baseline.
        formats: of the artifacts.
        n_episodes: how many, the same seeds for all.
        seed: calibration, episodes and everything random follow from it.
        timings: whether inference time, memory and energy are measured too.
        max_steps: after which an episode is cut; None: the usual.
        observations: raw ones to calibrate on, instead of episodes.
        wing: of the subject.
        energy: whether energy is among them.
    """

    task: Task
    recipes: tuple[str, ...]
    formats: tuple[str, ...] = ("c",)
    n_episodes: int = 100
    seed: int = 0
    timings: bool = True
    max_steps: int | None = None
    observations: np.ndarray | None = None
    wing: str = "policies"
    energy: bool = True


def compare(
    subject: Subject, comparison: Comparison, folder: Path, workers: int, progress: Progress, *, force: bool = False
) -> tuple[Record, ...]:
    """The records of baseline, candidates and floor; what the folder has already is not measured again.

    Raises:
        LilliputError: the task cannot be had or does not fit the subject, a recipe does not parse, or the folder holds
            something else, or what another subject was compared in, and `force` is not given. Then nothing was written.
    """
    wing = wing_of(comparison.wing)
    played = cells(subject, comparison)
    here = enter(folder, "comparison", force=force)
    with locked(folder):
        if not force and (other := _another(wing, here, subject.digest)):
            raise LilliputError(
                f"{folder} holds the comparison of another {other}, whose table and page this one would replace; "
                f"choose another folder, or give --force to keep the records of both in it"
            )
        wing.keep(subject, here)
        if comparison.observations is not None:
            keep_observations(folder, comparison.observations)
        finished, missing = local.split(played, folder, retry_failed=True)
        records = [*finished, *local.Local(workers if len(missing) > 1 else 1).run_all(missing, folder, progress)]
        by_cell = {record.cell.digest: record for record in records}
        ordered = [by_cell[cell.digest] for cell in played]
        if comparison.timings:
            timed = [
                timing.cell_of(record.cell, timings_of(wing, energy=comparison.energy))
                for record in ordered
                if record.status == "done" and record.artifact
            ]
            ordered += timing.run_all(timed, folder, progress)
    return tuple(ordered)


def cells(subject: Subject, comparison: Comparison) -> tuple[Cell, ...]:
    """The cells that play: the floor, each format's baseline and candidates, the subject itself."""
    wing = wing_of(comparison.wing)
    source = dict(wing.names(subject)).get("source", "")
    (task,) = wing.tasks(subject, source or wing.SUBJECT, (comparison.task,))
    for format_ in comparison.formats:
        if format_ not in wing.formats:
            raise LilliputError(f"format {format_!r} is none of a {wing.SUBJECT}; it has: {', '.join(wing.formats)}")
    recipes = {"": None}
    for text in comparison.recipes:
        found = wing.canonical(text)
        if not found:
            raise LilliputError(
                f"recipe {text!r} has no step; drop it: the {wing.SUBJECT} as loaded is always compared"
            )
        wing.check(subject, found, task)
        recipes[found] = None
    given = {} if comparison.max_steps is None else {MAX_STEPS: comparison.max_steps}
    common: dict[str, Any] = {
        "task": task,
        "items": wing.items(task, comparison.seed, comparison.n_episodes),
        "settings": wing.settings(given),
        "floor": wing.FLOOR,
        "wing": wing.NAME,
    }
    observed = comparison.observations
    setting = () if observed is None else ((SETTING, digest_of(observed)),)
    calibrated: dict[str, Any] = common | {"settings": tuple(sorted((*common["settings"], *setting)))}
    found = [
        Cell(
            subject.digest,
            recipe,
            format=format_,
            compression_seed=comparison.seed,
            quantities=wing.QUANTITIES,
            versions=versions(wing, recipe, wing.QUANTITIES, task, format_),
            **(calibrated if recipe else common),
        )
        for format_ in comparison.formats
        for recipe in recipes
    ]
    return (floor_of(wing, found[0]), *found, *by_meaning(wing, subject, found[0]))


def _another(wing: Wing, here: Workspace, digest: str) -> str:
    """What a folder's comparison is of, where it is of none with this digest; empty: of this, or of nothing yet."""
    kept = {one.SUBJECT: one.file(here, digest) for one in (wing, *WINGS.values())}
    if kept[wing.SUBJECT].exists():
        return ""
    return next((subject for subject, path in kept.items() if path.parent.is_dir() and any(path.parent.iterdir())), "")


def timings_of(wing: Wing, *, energy: bool) -> tuple[str, ...]:
    """All that is measured alone, joules only where they are asked for."""
    wanted = [name for name, one in QUANTITIES.items() if one.timing and (energy or one.unit != "J")]
    return timing.asked(wanted, wing.meters)
