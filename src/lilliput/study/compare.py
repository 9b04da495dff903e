"""A small study: one policy, some recipes, all measures."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.policy import Policy
from lilliput.record import MAX_STEPS, RANDOM_POLICY, REFERENCE, Cell, Record
from lilliput.study import local, timing
from lilliput.study.environment import behind, check
from lilliput.study.observations import SETTING, digest_of, keep_observations
from lilliput.study.run import Progress, keep_policy
from lilliput.study.version import versions
from lilliput.study.workspace import enter, locked
from lilliput.task import Task

SIZES = ("model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters", "n_macs")
TIMINGS = (
    "latency_s", "baseline_latency_s", "peak_memory_bytes", "identity_memory_bytes", "interpreter_memory_bytes",
    "energy_j", "gross_energy_j", "episode_energy_j", "episode_time_s",
)  # fmt: skip

LARGEST_BY_REFERENCE = 2_000_000
"""Multiply-accumulates of a decision: for more numpy takes milliseconds, hours for the episodes of an Atari game."""


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared.

    Attributes:
        task: where the policy plays, behind its own wrappers.
        recipes: canonical texts, without the baseline.
        formats: onnx, c or both.
        n_episodes: how many, the same seeds for all.
        seed: calibration, episodes and everything random follow from it.
        timings: whether inference time, memory and energy are measured too.
        max_steps: after which an episode is cut; None: the usual.
        observations: raw ones to calibrate on, instead of episodes.
    """

    task: Task
    recipes: tuple[str, ...]
    formats: tuple[str, ...] = ("c",)
    n_episodes: int = 100
    seed: int = 0
    timings: bool = True
    max_steps: int | None = None
    observations: np.ndarray | None = None


def compare(
    policy: Policy, comparison: Comparison, folder: Path, workers: int, progress: Progress, *, force: bool = False
) -> tuple[Record, ...]:
    """The records of baseline, candidates and random policy; what the folder has already is not measured again.

    Raises:
        LilliputError: the environment cannot be made or does not fit the policy, a recipe does not parse, or the folder
            holds something else and `force` is not given. Then nothing was written.
    """
    check(policy, comparison.task)
    played = cells(policy, comparison)
    enter(folder, "comparison", force=force)
    with locked(folder):
        keep_policy(folder, policy)
        if comparison.observations is not None:
            keep_observations(folder, comparison.observations)
        finished, missing = local.split(played, folder, retry_failed=True)
        records = [*finished, *local.Local(workers if len(missing) > 1 else 1).run_all(missing, folder, progress)]
        by_cell = {record.cell.digest: record for record in records}
        ordered = [by_cell[cell.digest] for cell in played]
        if comparison.timings:
            timed = [
                timing.cell_of(record.cell, TIMINGS)
                for record in ordered
                if record.status == "done" and record.artifact
            ]
            ordered += timing.run_all(timed, folder, progress)
    return tuple(ordered)


def cells(policy: Policy, comparison: Comparison) -> tuple[Cell, ...]:
    """The cells of returns and sizes: the random policy, each format's baseline and candidates, the reference."""
    from lilliput.policies.compress import format_recipe, parse
    from lilliput.policies.play import SeedPlan

    recipes = {"": None}
    for text in comparison.recipes:
        found = format_recipe(parse(text))
        if not found:
            raise LilliputError(f"recipe {text!r} has no step; drop it: the policy as loaded is always compared")
        recipes[found] = None
    seeds = SeedPlan(comparison.seed).episodes("confirmation", comparison.n_episodes)
    quantities = ("episode_return", "episode_length", *SIZES)
    common: dict[str, Any] = {
        "task": behind(policy, comparison.task),
        "items": seeds,
        "settings": episode_settings(comparison.max_steps),
    }
    given = comparison.observations
    setting = () if given is None else ((SETTING, digest_of(given)),)
    calibrated: dict[str, Any] = common | {"settings": tuple(sorted((*common["settings"], *setting)))}
    task, played = common["task"], ("episode_return",)
    known = versions("", played, task, "none")
    found = [Cell(RANDOM_POLICY, "", format="none", quantities=played, versions=known, **common)]
    for format_ in comparison.formats:
        for recipe in recipes:
            found.append(
                Cell(
                    policy.digest,
                    recipe,
                    format=format_,
                    compression_seed=comparison.seed,
                    quantities=quantities,
                    versions=versions(recipe, quantities, task, format_),
                    **(calibrated if recipe else common),
                )
            )
    return (*found, *by_reference(policy, found[1]))


def by_reference(policy: Policy, baseline: Cell) -> tuple[Cell, ...]:
    """The cell that plays the baseline by another arithmetic, for the floor of the noise; none where that is slow."""
    if policy.n_macs > LARGEST_BY_REFERENCE or "episode_return" not in baseline.quantities:
        return ()
    played = ("episode_return", "episode_length")
    known = versions("", played, baseline.task, REFERENCE)
    return (dataclasses.replace(baseline, format=REFERENCE, quantities=played, compression_seed=0, versions=known),)


def episode_settings(max_steps: int | None) -> tuple[tuple[str, str], ...]:
    """What of the episodes is not as usual, as a cell's settings."""
    from lilliput.policies.play import MAX_STEPS as USUAL

    return () if max_steps in (None, USUAL) else ((MAX_STEPS, str(max_steps)),)
