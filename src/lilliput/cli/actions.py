"""Where there is no environment: recipes judged by their actions on given observations, as a table or JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lilliput.study.actions import Judged

HEADER = ("recipe", "format", "bytes", "smaller", "mean error", "largest", "flips", "on a bound")


def write_comparison(judged: "Sequence[Judged]", source: str, n: int, folder: Path, **more: Any) -> dict[str, Any]:
    """What was found as JSON data, which stands in the folder beside its table."""
    from lilliput.measure.agreement import NO_RETURN

    found = {"rows": [one.to_json() for one in judged], "n_observations": n, "note": NO_RETURN, **more}
    (folder / "table.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "table.md").write_text(f"{source}\n\n```\n{text(judged)}\n```\n\n{NO_RETURN}\n")
    return found


def text(judged: "Sequence[Judged]") -> str:
    """The table; of several actions the worst stands in it, and all in the JSON."""
    from lilliput.report.table import aligned

    return aligned(HEADER, [_cells(one) for one in judged])


def remarks(judged: "Sequence[Judged]") -> list[str]:
    """Why recipes have no numbers, and what steps said of what they made, a line each."""
    why = [f"{one.recipe}: {one.status.replace('_', ' ')}: {one.reason}" for one in judged if one.reason]
    return [*why, *dict.fromkeys(f"{one.recipe}: {sentence}" for one in judged for sentence in one.said)]


def say(judged: "Sequence[Judged]", source: str, n: int, folder: Path) -> None:
    """Print the table and the words that it is of no return."""
    from lilliput.measure.agreement import NO_RETURN

    click.echo(f"{source}, actions on {n:,} observations against those of the policy as loaded\n")
    click.echo(text(judged))
    click.echo("\n" + "\n".join((*remarks(judged), NO_RETURN)))
    click.echo(f"\nartifacts and this table: {folder}")


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
