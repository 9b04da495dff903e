"""From a study to its cells: policies found and loaded, environments named, every combination that is not excluded."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.measure.table import meters_of
from lilliput.measurement import QUANTITIES
from lilliput.record import REFERENCE, Cell
from lilliput.study import timing
from lilliput.study.document import Exclusion, Study
from lilliput.study.environment import matching
from lilliput.study.version import versions
from lilliput.study.wing import Subject, Wing
from lilliput.task import Task


@final
@dataclass(frozen=True)
class Plan:
    """What a study will do.

    Attributes:
        wing: of all subjects.
        subjects: by digest.
        cells: of scores and sizes: floors and baselines, in each format and by the subject itself, first.
        timings: pairs of a cell and the one that times its artifact, which runs alone, after all others.
        notes: what was left out, and why.
        caveats: what a reader of the results has to know.
    """

    wing: Wing
    subjects: dict[str, Subject]
    cells: tuple[Cell, ...]
    timings: tuple[tuple[Cell, Cell], ...]
    notes: tuple[str, ...]
    caveats: tuple[str, ...] = ()


def plan(study: Study) -> Plan:
    """The cells of a study, each combination once.

    Raises:
        LilliputError: a subject that cannot be loaded, one whose task nobody names, or one that does not fit it.
    """
    wing = study.wing
    notes: list[str] = []
    caveats: dict[str, None] = {}
    subjects: dict[str, Subject] = {}
    floors: dict[Cell, None] = {}
    meanings: dict[Cell, None] = {}
    baselines: dict[Cell, None] = {}
    candidates: dict[Cell, None] = {}
    used: set[Exclusion] = set()
    trained = {_short(str(cell.policy)) for cell in study.trainings}
    for path, subject in _loaded(study, notes):
        for task in _tasks(study, path, subject):
            if subject.digest in subjects and any(
                cell.subject == subject.digest and cell.task == task for cell in baselines
            ):
                notes.append(f"{path}: the same {wing.SUBJECT} as another file; studied once")
                continue
            found = list(_candidates(study, path, subject, task, used))
            own = found
            if not found and path in trained:  # it was trained to be judged, as it is at least
                everything = dataclasses.replace(study, exclude=())
                own = list(_candidates(everything, path, subject, task, used))[:1]
            if not own:
                notes.append(f"{path} on {task.id}: everything is excluded")
                continue
            subjects[subject.digest] = subject
            caveats |= dict.fromkeys(f"{path}: {caveat}" for caveat in wing.caveats(subject, task))
            floors[floor_of(wing, own[0])] = None
            meanings |= dict.fromkeys(by_meaning(wing, subject, _baseline(wing, own[0])))
            baselines |= dict.fromkeys(_baseline(wing, cell) for cell in own)
            candidates |= dict.fromkeys(found)
    is_whole = all(cell.is_there for cell in study.trainings)
    for exclusion in study.exclude:
        if is_whole and exclusion not in used:  # it may be of what is not trained yet
            patterns = ", ".join(f'{key} = "{pattern}"' for key, pattern in exclusion.patterns)
            notes.append(f"{study.at('exclude')}: no cell matches {patterns}; nothing is left out by it")
    counted = [
        on_target(wing, cell, target)
        for target in study.targets
        for cell in (*baselines, *candidates)
        if target != "host" and any(cell.format in meter.FORMATS for meter in wing.meters if meter.ON_TARGET)
    ]
    cells = (*floors, *_side_by_side(wing, baselines), *meanings, *_side_by_side(wing, candidates), *counted)
    if not baselines:
        raise LilliputError(f"{study.at('recipes')}: nothing to do; " + ("; ".join(notes) or "everything is excluded"))
    asked = timing.asked(study.quantities, wing.meters)
    timed = [(cell, timing.cell_of(cell, asked)) for cell in (*baselines, *candidates)] if asked else []
    return Plan(wing, subjects, cells, tuple(timed), tuple(notes), tuple(caveats))


def _side_by_side(wing: Wing, cells: Iterable[Cell]) -> Iterator[Cell]:
    """The cells; where an artifact serves every task, those of one stand together, so that it is opened once.

    Then the first draw of all recipes comes before the second, so that a report half-way compares them all.
    """
    if wing.CALIBRATES_ON_TASK:
        yield from cells
        return
    found: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.compression_seed):
        found[cell.subject, cell.recipe, cell.format, cell.compression_seed].append(cell)
    for alike in found.values():
        yield from alike


def floor_of(wing: Wing, cell: Cell) -> Cell:
    """The cell of the floor on the same items."""
    asked = (cell.task.score,)
    known = versions(wing, "", asked, cell.task, "none")
    return Cell(
        wing.FLOOR, "", cell.task, cell.items, wing.FLOOR, "none", quantities=asked, settings=cell.settings,
        versions=known, wing=wing.NAME,
    )  # fmt: skip


def by_meaning(wing: Wing, subject: Subject, baseline: Cell) -> tuple[Cell, ...]:
    """The cell of the subject itself, by another arithmetic: the floor of the noise; none where that is slow."""
    if baseline.task.score not in baseline.quantities or not wing.can_answer(subject):
        return ()
    (meter,) = meters_of((baseline.task.score,), wing.meters)
    asked = tuple(name for name in meter.QUANTITIES if name not in meter.ALWAYS)
    known = versions(wing, "", asked, baseline.task, REFERENCE)
    return (dataclasses.replace(baseline, format=REFERENCE, quantities=asked, compression_seed=0, versions=known),)


def on_target(wing: Wing, cell: Cell, target: str) -> Cell:
    """The cell that counts the artifact of `cell` on a processor; it plays nothing."""
    counted = tuple(name for meter in wing.meters if meter.ON_TARGET for name in meter.QUANTITIES)
    known = versions(wing, cell.recipe, counted, cell.task, cell.format)
    return dataclasses.replace(cell, target=target, quantities=counted, items=(), versions=known)


def _loaded(study: Study, notes: list[str]) -> Iterator[tuple[str, Subject]]:
    """Each subject with its path as the study's patterns see it; what only a glob found and cannot be read is noted."""
    key = study.wing.NAME
    for cell in study.trainings:
        name = str(cell.policy)
        if cell.is_there:
            yield _short(name), study.wing.load(name, _told(study, name))
        else:
            notes.append(f"{cell.folder} is left out: it is not trained yet, or its training failed")
    for text in study.sources:
        named = os.path.expandvars(text)
        if "$" in named:
            raise LilliputError(f"{study.at(key)}: {text}: the environment variable is not set; export it first")
        if study.wing.is_named(named) and not (study.folder / named).exists():
            try:
                yield named, study.wing.load(named, _told(study, named))
            except LilliputError as error:
                raise LilliputError(f"{study.at(key)}: {error}") from error
            continue
        full = Path(named).expanduser()
        full = full if full.is_absolute() else study.folder / full
        is_glob = any(character in named for character in "*?[")
        whole = full.absolute()
        found = (
            sorted(map(str, Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))) if is_glob else [str(full)]
        )
        if not found or (not is_glob and not full.exists()):
            raise LilliputError(f"{study.at(key)}: nothing there is named {text} (looked in {study.folder})")
        for name in found:
            try:
                yield _short(name), study.wing.load(name, _told(study, name))
            except LilliputError as error:
                if not is_glob:
                    raise LilliputError(f"{study.at(key)}: {error}") from error
                notes.append(f"{_short(name)} is left out: {error}")


def _told(study: Study, name: str) -> dict[str, Any]:
    """What the study says of a policy where its file is silent."""
    told = dict(matching(study.load, name, "") or {})
    if isinstance(beside := told.get("normalizer"), str):
        told["normalizer"] = study.folder / Path(os.path.expandvars(beside)).expanduser()
    return told


def _short(name: str) -> str:
    """The last three parts of a path: what tells policies apart, wherever they lie."""
    return "/".join(Path(name).parts[-3:])


def _tasks(study: Study, path: str, subject: Subject) -> tuple[Task, ...]:
    """What the subject is judged on; several tasks for all subjects are a choice: those that it fits."""
    trained_on = dict(study.wing.names(subject)).get("trained_on", "")
    named = matching(study.tasks, path, trained_on)
    try:
        return study.wing.tasks(subject, path, tuple(named or ()))
    except LilliputError as error:
        raise LilliputError(f"{study.at(study.wing.TASKS)}: {error}") from error


def _candidates(study: Study, path: str, subject: Subject, task: Task, used: set[Exclusion]) -> Iterator[Cell]:
    wing = study.wing
    on_targets = {name for meter in wing.meters if meter.ON_TARGET for name in meter.QUANTITIES}
    quantities = tuple(name for name in study.quantities if not QUANTITIES[name].timing and name not in on_targets)
    common: dict[str, Any] = {
        "task": task,
        "items": wing.items(task, study.seed, study.n_items),
        "settings": wing.settings(dict(study.settings)),
        "floor": wing.FLOOR,
        "wing": wing.NAME,
    }
    for format_ in study.formats:
        for recipe in study.recipes:
            names = {
                wing.SUBJECT: path,
                "algorithm": dict(wing.names(subject)).get("algorithm", ""),
                wing.TASK: task.id,
                "recipe": recipe,
                "format": format_,
            }
            matched = {exclusion for exclusion in study.exclude if exclusion.matches(names)}
            used |= matched
            if matched:
                continue
            try:
                wing.check(subject, recipe, task)
            except LilliputError as error:
                others = "; leave it out by an [[exclude]] where it is for others" if len(study.sources) > 1 else ""
                raise LilliputError(f"{study.at('recipes')}: {path}: {error}{others}") from error
            known = versions(wing, recipe, quantities, task, format_)
            for seed in study.compression_seeds:
                yield Cell(
                    subject.digest,
                    recipe,
                    format=format_,
                    compression_seed=seed,
                    quantities=quantities,
                    versions=known,
                    **common,
                )


def _baseline(wing: Wing, cell: Cell) -> Cell:
    """The one that a candidate is held against: nothing in it is random, so one does for all compression seeds."""
    known = versions(wing, "", cell.quantities, cell.task, cell.format)
    return dataclasses.replace(cell, recipe="", compression_seed=0, versions=known)
