"""Where there is no environment: recipes judged by their actions on given observations, as a table or JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilliput.cli import progress
from lilliput.files import write_whole

if TYPE_CHECKING:
    import numpy as np

    from lilliput.policies.policy import Policy
    from lilliput.study.actions import Judged

HEADER = ("recipe", "format", "bytes", "smaller", "mean error", "largest", "flips", "on a bound")


def compare(
    policy: "Policy",
    recipes: tuple[str, ...],
    formats: tuple[str, ...],
    observations: "np.ndarray",
    seed: int,
    folder: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Judge some recipes and print what was found."""
    from lilliput.study.actions import compare_actions

    with progress.shown(quiet=as_json) as report:
        judged = compare_actions(policy, recipes, formats, observations, seed, folder, report, force=force)
    _show(judged, policy, len(observations), folder, as_json=as_json, told={"guesses": policy.provenance.guesses})


def shrink(
    policy: "Policy",
    keep: float,
    format_: str,
    observations: "np.ndarray",
    seed: int,
    folder: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Judge what needs no training and print the smallest whose actions are near enough."""
    from lilliput.shrink.by_actions import shrink_by_actions

    with progress.shown(quiet=as_json) as report:
        nearest = shrink_by_actions(policy, keep, format_, observations, seed, folder, report, force=force)
    chosen, before = nearest.chosen, policy.model_bytes
    recipe, after = ("", before) if chosen is None else (chosen.recipe, chosen.model_bytes)
    result = {"recipe": recipe, "baseline_bytes": before, "bytes": after}
    told = {"keep": keep, "guesses": policy.provenance.guesses, **result}
    _show(nearest.judged, policy, len(observations), folder, as_json=as_json, told=told)
    if as_json:
        return
    if chosen is None:
        click.echo(f"nothing smaller keeps its actions within {1 - keep:.0%} of their range")
    else:
        click.echo(
            f"{after:,} bytes instead of {before:,} ({chosen.smaller:.1f}x), its actions on average within "
            f"{1 - keep:.0%} of their range: {recipe}"
        )


def _show(
    judged: "Sequence[Judged]", policy: "Policy", n: int, folder: Path, *, as_json: bool, told: Mapping[str, Any]
) -> None:
    """Print what was found, as JSON data with what else is told or as a table; both stand in the folder."""
    from lilliput.measure.agreement import NO_RETURN

    source, table = policy.provenance.source, text(judged)
    found = {"rows": [one.to_json() for one in judged], "n_observations": n, "note": NO_RETURN, **told}
    write_whole(folder / "table.json", json.dumps(found, indent=1) + "\n")
    write_whole(folder / "table.md", f"{source}\n\n```\n{table}\n```\n\n{NO_RETURN}\n")
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{source}, actions on {n:,} observations against those of the policy as loaded\n")
    click.echo(f"{table}\n")
    progress.say_remarks((*remarks(judged), NO_RETURN))
    click.echo(f"\nartifacts and this table: {folder}")


def text(judged: "Sequence[Judged]") -> str:
    """The table; of several actions the worst stands in it, and all in the JSON."""
    from lilliput.report.table import aligned

    return aligned(HEADER, [_cells(one) for one in judged])


def remarks(judged: "Sequence[Judged]") -> list[str]:
    """Why recipes have no numbers, and what steps said of what they made, a line each."""
    why = [f"{one.recipe}: {one.status.replace('_', ' ')}: {one.reason}" for one in judged if one.reason]
    return [*why, *dict.fromkeys(f"{one.recipe}: {sentence}" for one in judged for sentence in one.said)]


def _cells(one: "Judged") -> tuple[str, ...]:
    name = one.recipe or "(as loaded)"
    found = one.agreement
    if found is None:
        return (name, one.format, one.status.replace("_", " "), *("-" for _ in HEADER[3:]))
    size = (f"{one.model_bytes:,}", f"{one.smaller:.1f}x")
    if found.flips:
        return (name, one.format, *size, "-", "-", f"{max(found.flips)} ({max(found.flips) / found.n:.2%})", "-")
    worst = max(range(len(found.mean_error)), key=lambda i: found.relative_error[i] or found.mean_error[i])
    relative = found.relative_error[worst]
    mean = f"{found.mean_error[worst]:.3g}" if relative is None else f"{relative:.3%}"
    saturated = f"{max(found.saturated):.1%}"
    return (name, one.format, *size, mean, f"{max(found.largest_error):.3g}", "-", saturated)
