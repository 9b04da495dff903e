"""From a study to its cells: policies found and loaded, environments named, every combination that is not excluded."""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.measure import ON_TARGETS
from lilliput.measurement import QUANTITIES
from lilliput.policies.policy import Policy
from lilliput.record import RANDOM_POLICY, Cell
from lilliput.study import timing
from lilliput.study.compare import by_reference, episode_settings
from lilliput.study.document import Exclusion, Study
from lilliput.study.environment import elsewhere, kept
from lilliput.study.version import versions
from lilliput.task import Task


@final
@dataclass(frozen=True)
class Plan:
    """What a study will do.

    Attributes:
        policies: by digest.
        cells: of returns and sizes: random policies and baselines, in each format and by the reference, first.
        timings: pairs of a cell and the one that times its artifact, which runs alone, after all others.
        notes: what was left out, and why.
        caveats: what of the policies' sources was guessed, and which environments are not those of their training.
    """

    policies: dict[str, Policy]
    cells: tuple[Cell, ...]
    timings: tuple[tuple[Cell, Cell], ...]
    notes: tuple[str, ...]
    caveats: tuple[str, ...] = ()


def plan(study: Study) -> Plan:
    """The cells of a study, each combination once.

    Raises:
        LilliputError: a policy that cannot be loaded, one whose environment nobody names, or one that does not fit it.
    """
    notes: list[str] = []
    caveats: dict[str, None] = {}
    policies: dict[str, Policy] = {}
    random: dict[Cell, None] = {}
    references: dict[Cell, None] = {}
    baselines: dict[Cell, None] = {}
    candidates: dict[Cell, None] = {}
    used: set[Exclusion] = set()
    for path, policy in _loaded(study, notes):
        for task in _tasks(study, path, policy):
            if policy.digest in policies and any(
                cell.subject == policy.digest and cell.task == task for cell in baselines
            ):
                notes.append(f"{path}: the same policy as another file; studied once")
                continue
            found = list(_candidates(study, path, policy, task, used))
            if not found:
                notes.append(f"{path} on {task.id}: everything is excluded")
                continue
            policies[policy.digest] = policy
            said = (*elsewhere(policy.provenance.environment, task.id), *policy.provenance.guesses)
            caveats |= dict.fromkeys(f"{path}: {caveat}" for caveat in said)
            common = _common(study, task)
            asked = ("episode_return",)
            known = versions("", asked, task, "none")
            random[Cell(RANDOM_POLICY, "", format="none", quantities=asked, versions=known, **common)] = None
            references |= dict.fromkeys(by_reference(policy, _baseline(found[0])))
            for cell in found:
                baselines[_baseline(cell)] = None
                candidates[cell] = None
    for exclusion in study.exclude:
        if exclusion not in used:
            patterns = ", ".join(f'{key} = "{pattern}"' for key, pattern in exclusion.patterns)
            notes.append(f"{study.at('exclude')}: no cell matches {patterns}; nothing is left out by it")
    counted = [
        on_target(cell, target)
        for target in study.targets
        for cell in (*baselines, *candidates)
        if target != "host" and cell.format == "c"
    ]
    cells = (*random, *baselines, *references, *candidates, *counted)
    if not candidates:
        raise LilliputError(f"{study.at('recipes')}: nothing to do; " + ("; ".join(notes) or "everything is excluded"))
    asked = timing.asked(study.quantities)
    timed = [(cell, timing.cell_of(cell, asked)) for cell in (*baselines, *candidates)] if asked else []
    return Plan(policies, cells, tuple(timed), tuple(notes), tuple(caveats))


def on_target(cell: Cell, target: str) -> Cell:
    """The cell that counts the artifact of `cell` on a processor; it plays nothing."""
    known = versions(cell.recipe, ON_TARGETS, cell.task, cell.format)
    return dataclasses.replace(cell, target=target, quantities=ON_TARGETS, items=(), versions=known)


def _loaded(study: Study, notes: list[str]) -> Iterator[tuple[str, Policy]]:
    """Each policy with its path as the study's patterns see it; what only a glob found and cannot be read is noted."""
    from lilliput.policies.load import load_policy

    for text in study.policies:
        named = os.path.expandvars(text)
        if "$" in named:
            raise LilliputError(f"{study.at('policies')}: {text}: the environment variable is not set; export it first")
        full = Path(named).expanduser()
        full = full if full.is_absolute() else study.folder / full
        is_glob = any(character in named for character in "*?[")
        whole = full.absolute()
        found = (
            sorted(map(str, Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))) if is_glob else [str(full)]
        )
        if not found or (not is_glob and not full.exists()):
            raise LilliputError(f"{study.at('policies')}: nothing there is named {text} (looked in {study.folder})")
        for name in found:
            try:
                yield _short(name), load_policy(name, **_told(study, name))
            except LilliputError as error:
                if not is_glob:
                    raise LilliputError(f"{study.at('policies')}: {error}") from error
                notes.append(f"{_short(name)} is left out: {error}")


def _told(study: Study, name: str) -> dict[str, Any]:
    """What the study says of a policy where its file is silent."""
    from lilliput.study.environment import matching

    told = dict(matching(study.load, name, "") or {})
    if isinstance(beside := told.get("normalizer"), str):
        told["normalizer"] = study.folder / Path(os.path.expandvars(beside)).expanduser()
    return told


def _short(name: str) -> str:
    """The last three parts of a path: what tells policies apart, wherever they lie."""
    return "/".join(Path(name).parts[-3:])


def _tasks(study: Study, path: str, policy: Policy) -> list[Task]:
    """Where the policy plays; several environments for all policies are a choice: those that it fits."""
    from lilliput.policies.play import check_fit, make_environment, successor
    from lilliput.study.environment import behind, matching

    trained_on = policy.provenance.environment
    named = matching(study.environments, path, trained_on)
    known = kept(policy, {})
    places = list(named or ([known] if known else ()))
    if not places:
        if not trained_on:
            raise LilliputError(
                f"{study.at('environments')}: the source of {path} does not say which environment it plays; "
                f'name it: environments = {{ "{path}" = "ID" }}'
            )
        if (newer := successor(trained_on)) is not None:
            raise LilliputError(
                f"{study.at('environments')}: {path} was trained on {trained_on}, which does not run here; "
                f'name the one to play: environments = {{ "{trained_on}" = "{newer}" }}'
            )
        places = [Task(trained_on)]
    fitting, reasons = [], []
    for place in places:
        task = behind(policy, place)
        try:
            made = make_environment(task.id, wrappers=task.wrappers, environment_kwargs=task.kwargs)
        except LilliputError as error:
            raise LilliputError(f"{study.at('environments')}: {path}: {error}") from error
        try:
            check_fit(policy.observation_space, policy.action_space, made)
            fitting.append(task)
        except LilliputError as error:
            reasons.append(str(error))
        finally:
            made.close()
    if not fitting or (reasons and len(places) == 1):
        raise LilliputError(f"{study.at('environments')}: {path}: {'; '.join(reasons)}")
    return fitting


def _common(study: Study, task: Task) -> dict[str, Any]:
    from lilliput.policies.play import SeedPlan

    return {
        "task": task,
        "items": SeedPlan(study.seed).episodes("confirmation", study.episodes),
        "settings": episode_settings(study.max_steps),
    }


def _candidates(study: Study, path: str, policy: Policy, task: Task, used: set[Exclusion]) -> Iterator[Cell]:
    here = (name for name in study.quantities if name not in ON_TARGETS)
    quantities = tuple(name for name in here if not QUANTITIES[name].timing)
    common = _common(study, task)
    for format_ in study.formats:
        for recipe in study.recipes:
            names = {
                "policy": path,
                "algorithm": policy.provenance.algorithm,
                "environment": task.id,
                "recipe": recipe,
                "format": format_,
            }
            matching = {exclusion for exclusion in study.exclude if exclusion.matches(names)}
            used |= matching
            if matching:
                continue
            known = versions(recipe, quantities, task, format_)
            for seed in study.compression_seeds:
                yield Cell(
                    policy.digest,
                    recipe,
                    format=format_,
                    compression_seed=seed,
                    quantities=quantities,
                    versions=known,
                    **common,
                )


def _baseline(cell: Cell) -> Cell:
    """The one that a candidate is held against: nothing in it is random, so one does for all compression seeds."""
    known = versions("", cell.quantities, cell.task, cell.format)
    return dataclasses.replace(cell, recipe="", compression_seed=0, versions=known)
