"""`lilliput compare` of a model that is no policy: judged on a task that is named."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lilliput.cli import progress
from lilliput.cli.progress import say_guesses
from lilliput.errors import MissingDependency
from lilliput.foreign_text import printable
from lilliput.task import Task


def compare(
    source: Path,
    told: Mapping[str, Any],
    task: str,
    recipes: tuple[str, ...],
    formats: tuple[str, ...],
    n_items: int,
    keep: float,
    seed: int,
    workers: int,
    out: Path,
    *,
    timings: bool,
    energy: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Says what the recipes do to the model, and writes the records, the table and the page."""
    from lilliput.models.model import has_blocks
    from lilliput.models.task import parse_task
    from lilliput.record import measured_again
    from lilliput.report import files, page, summary, table
    from lilliput.report.remarks import remarks
    from lilliput.study.compare import Comparison
    from lilliput.study.compare import compare as run
    from lilliput.study.models import MODELS
    from lilliput.study.workspace import Workspace

    asked = parse_task(task)
    given = {name: value for name, value in told.items() if value}
    model = MODELS.load(str(source), {**given, "asked": asked.FAMILY})
    guesses = MODELS.caveats(model, Task(task))
    say_guesses(guesses)
    usual = "transformers" if has_blocks(model) else "onnx"
    comparison = Comparison(
        Task(task), recipes, formats or (usual,), n_items, seed, timings=timings, wing=MODELS.NAME, energy=energy
    )
    again = measured_again(Workspace(out).records.glob("*.json"))
    with progress.shown(quiet=as_json, first=progress.TIMED_LAST if timings else "") as report:
        records = run(model, comparison, out, workers, report, force=force)
    rows = summary.rows(records, keep)
    said = [*remarks(rows), *again]
    files.write_table(rows, said, out)
    title = f"{source.name} on {task}"
    written = "this table and report.html"
    try:
        page.write_rows(rows, records, keep, out / "report.html", title, caveats=guesses)
    except MissingDependency as error:
        click.echo(f"note: {error}", err=True)
        written = "this table"
    if as_json:
        found = {"task": task, "keep": keep, "rows": table.to_json(rows), "remarks": said}
        click.echo(json.dumps(found | {"guesses": guesses}, indent=1))
    else:
        click.echo(f"{title}, keep {keep:g}\n\n{table.text(rows)}\n")
        progress.say_remarks(said)
        click.echo(f"\nartifacts, records and {written}: {out}")
    if failed := [record for record in records if record.status == "failed"]:
        click.echo(
            f"Error: {len(failed)} of {len(records)} cells failed; the first: {printable(failed[0].reason)}", err=True
        )
        sys.exit(1)
