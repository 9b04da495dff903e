"""`lilliput study`: many policies through many recipes, from one TOML file to one page."""

import contextlib
import gc
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilliput.cli import option, progress

if TYPE_CHECKING:
    from lilliput.record import Record
    from lilliput.report.files import Written
    from lilliput.study.conduct import Tally
    from lilliput.study.executor import Executor
    from lilliput.study.training import TrainingCell

_SAID = ("williams-claims", "williams-ranges", "draws-sources", "draws-split")
"""Tables that `report` prints, besides the page and the files that hold all of them."""

folder_argument = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def study() -> None:
    """Run what a study file asks for, see how far it is, and write its report.

    \b
    Example: lilliput study run study.toml -o results/
    """


@study.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", "output", type=click.Path(path_type=Path), help="Where to write; needed but with --dry-run."
)
@click.option(
    "--workers", default=os.cpu_count() or 1, show_default="cores", type=click.IntRange(min=1), help="Cells at once."
)
@click.option("--executor", default="local", show_default=True, metavar="NAME", help="What runs the cells: local, ray.")
@click.option("--address", help="Of the Ray cluster, such as auto or ray://host:10001; default: a new one here.")
@click.option("--store", help="Where machines share records, such as s3://bucket/study (fsspec): taken and put there.")
@option.device
@click.option("--dry-run", is_flag=True, help="Only say what would run: cells, time, disk.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that failed.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@option.force
@option.as_json
def run(
    file: Path,
    output: Path | None,
    workers: int,
    executor: str,
    address: str | None,
    store: str | None,
    dry_run: bool,
    retry_failed: bool,
    quiet: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Run what is missing of the study in FILE, and write its report.

    Interrupted as often as you like, the same command goes on; a changed file runs only what is new. A cell that fails
    is a result with its reason, and the others go on; at the end it makes the exit status 1.

    \b
    Examples:
      lilliput study run study.toml --dry-run
      lilliput study run study.toml -o results/
      lilliput study run study.toml -o results/ --executor ray --address auto
    """
    from lilliput.study.conduct import conduct
    from lilliput.study.document import read_study
    from lilliput.study.estimate import estimate
    from lilliput.study.executors import executor_named
    from lilliput.study.plan import plan
    from lilliput.study.store import open_store
    from lilliput.study.training import waiting

    if output is None and not dry_run:
        raise click.UsageError("Missing option '-o' / '--out'; only --dry-run writes nothing")
    kind = executor_named(executor)
    asked = read_study(file)
    at_once = click.get_current_context().get_parameter_source("workers")
    given = workers if at_once is not click.core.ParameterSource.DEFAULT else None
    chosen = kind.of(given, asked.cell_timeout, address)
    untrained = waiting(asked.trainings)
    failed = 0
    training = {"trainings": len(untrained), "training_steps": sum(cell.asked["steps"] for cell in untrained)}
    if untrained and dry_run:
        first = f"{len(untrained)} policies are trained first, {training['training_steps']:,} steps in all"
        click.echo(f"note: {first}; what is judged of them is counted once they are there", err=True)
        if len(untrained) == len(asked.trainings) and not asked.sources:
            click.echo(json.dumps(training, indent=1) if as_json else "nothing else is to be done before")
            return
    elif untrained:
        failed = _train(untrained, chosen, quiet=quiet)
    planned = plan(asked)
    for note in (*planned.notes, *planned.caveats):
        click.echo(f"note: {note}", err=True)
    if dry_run or output is None:
        expected = estimate(planned, output, workers, retry_failed=retry_failed)
        both = {**expected.to_json(), **training}
        click.echo(json.dumps(both, indent=1) if as_json else _expected(expected, workers))
        return
    text = file.read_text(encoding="utf-8")
    report = _reporter(quiet=quiet, as_json=as_json)
    shared = open_store(store) if store is not None else None
    tally = conduct(
        asked, planned, output, chosen, report, retry_failed=retry_failed, force=force, text=text, store=shared
    )
    written = _write(output)
    for note in tally.again:
        click.echo(f"note: {note}", err=True)
    if as_json:
        said = {"notes": (*planned.notes, *tally.again), "caveats": planned.caveats}
        click.echo(json.dumps({**tally.to_json(), **_paths(written), **said}, indent=1))
    else:
        click.echo(_counts(tally))
        _say(written)
    if failed:
        click.echo(f"Error: {failed} trainings failed; the same command tries them again", err=True)
    if tally.failed:
        click.echo(f"Error: {tally.failed} cells failed; see: lilliput study status {output}", err=True)
    if failed or tally.failed:
        sys.exit(1)


def _train(cells: "Sequence[TrainingCell]", executor: "Executor", *, quiet: bool) -> int:
    """How many trainings failed; what is said of each is on stderr."""
    failed = 0
    if not quiet:
        steps = sum(cell.asked["steps"] for cell in cells)
        click.echo(f"training {len(cells)} policies first, {steps:,} steps in all", err=True)
    with progress.shown(quiet) as report, _watched(cells, report):
        for done, (cell, reason) in enumerate(executor.train_all(cells), 1):
            failed += bool(reason)
            if reason:
                click.echo(f"failed: training in {cell.folder}: {reason}", err=True)
            elif not quiet:
                click.echo(f"{done} of {len(cells)} trained: {cell.policy}", err=True)
    return failed


@contextlib.contextmanager
def _watched(cells: "Sequence[TrainingCell]", report: progress.Report, every_s: float = 2.0) -> Iterator[None]:
    """While it lasts, what the trainings have done by their last checkpoints on this machine is reported."""
    from lilliput.policies.learn import curve

    over, total = threading.Event(), sum(cell.asked["steps"] for cell in cells)

    def watch() -> None:
        before = -1
        while not over.wait(every_s):
            now = sum(min(curve.steps(cell.folder), cell.asked["steps"]) for cell in cells)
            if now != before:
                report("training, steps", now, total)
            before = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@study.command()
@folder_argument
@option.as_json
def status(folder: Path, as_json: bool) -> None:
    """Show how far the study in FOLDER is, what failed, and the smallest so far that kept the return.

    \b
    Example: lilliput study status results/
    """
    from lilliput.report import summary
    from lilliput.report.label import label
    from lilliput.report.smallest import smallest
    from lilliput.report.vocabulary import words_of
    from lilliput.study.conduct import read_plan, records, tally_of

    known = list(records(folder))
    tally = tally_of(folder, known)
    rows = summary.rows_to_the_first_kept(known, read_plan(folder)["keep"])
    best = [row for row in smallest(rows) if row is not None]
    failures = {f"{label(row)}: {row.recipe or 'baseline'}": row.reason for row in rows if row.status == "failed"}
    if as_json:
        subject = words_of(row.task for row in rows).subject
        shown: list[dict[str, Any]] = [
            {subject: label(row), "recipe": row.recipe, "format": row.format, "bytes": row.model_bytes} for row in best
        ]
        click.echo(json.dumps({**tally.to_json(), "best": shown, "failures": failures}, indent=1))
        return
    click.echo(_counts(tally))
    for row in best:
        click.echo(
            f"surely kept so far: {label(row)}: {row.recipe} ({row.model_bytes:,} bytes, {row.smaller or 0:.1f}x)"
        )
    if not best:
        click.echo("surely kept so far: none")
    for name, reason in failures.items():
        click.echo(f"failed: {name}: {reason}")


@study.command()
@folder_argument
@click.option("--replay", is_flag=True, help="Put clips on the page: policies beside their smallest that kept it.")
@option.as_json
def report(folder: Path, replay: bool, as_json: bool) -> None:
    """Write the report of what the study in FOLDER has so far: the page, its data, guidelines, tables and figures.

    \b
    Example: lilliput study report results/
    """
    written = _write(folder, replay=replay)
    if as_json:
        click.echo(json.dumps(_paths(written), indent=1))
    else:
        _say(written)


def _paths(written: "Written") -> dict[str, str]:
    return {kind: str(path) for kind, path in written.files.items()}


def _say(written: "Written") -> None:
    """Prints what was found of calibration data, in short, and where everything stands."""
    width = min(shutil.get_terminal_size().columns, 120)
    for table in written.tables:
        if table.name in _SAID:
            click.echo(f"{table.text(width)}\n")
    for path in written.files.values():
        click.echo(path)


def _write(folder: Path, *, replay: bool = False) -> "Written":
    """The report, written."""
    from lilliput.report.files import write_all
    from lilliput.report.second_process import second_process
    from lilliput.study.conduct import read_plan, records
    from lilliput.study.replay import replays

    found = read_plan(folder)
    keep = found["keep"]
    with _uncollected(), second_process(len(found["cells"])) as other:
        known = list(records(folder))
        written = write_all(
            known,
            keep,
            folder,
            found["title"],
            study=found["study"],
            notes=found["notes"],
            caveats=found.get("caveats", ()),
            reproduces=found.get("reproduces", ""),
            replay=(lambda rows: replays(known, rows, keep, folder)) if replay else None,
            second=other,
        )
    for reason in written.left_out:
        click.echo(f"note: {reason}", err=True)
    return written


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Stops garbage collection: what a report makes stands to its end, and would be walked again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _expected(expected: Any, workers: int) -> str:
    return (
        f"{expected.cells} cells and {expected.timings} timings, {expected.missing} to go: about "
        f"{_time(expected.seconds)} with {workers} workers, {expected.disk_bytes / 2**20:.1f} MiB of disk"
    )


def _counts(tally: "Tally") -> str:
    left = tally.seconds_left
    parts = [f"{tally.done} of {tally.total} cells done"]
    parts += [f"{tally.not_applicable} not applicable"] if tally.not_applicable else []
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.to_go} to go"] if tally.to_go else []
    parts += [f"about {_time(left)} left"] if tally.to_go and left is not None else []
    return ", ".join(parts)


def _progress(tally: "Tally") -> str:
    """The counts, and the best so far by its mean."""
    best = tally.best_so_far.candidate
    if best is None:
        return _counts(tally)
    which = f"{best.smaller:.1f}x smaller at {best.retention:.0%}, {best.algorithm} {best.environment}: {best.recipe}"
    return f"{_counts(tally)}; best mean so far {which}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _reporter(*, quiet: bool, as_json: bool) -> "Callable[[Tally, Record | None], None]":
    """What follows a study on stderr: a line that is rewritten on a terminal, else one now and then; JSON for logs."""
    on_terminal = sys.stderr.isatty()
    last = 0.0

    def show(tally: "Tally", record: "Record | None") -> None:
        nonlocal last
        if quiet:
            return
        if as_json:
            event = {"recipe": record.cell.recipe, "status": record.status} if record is not None else {}
            click.echo(json.dumps({**tally.to_json(), **event}), err=True)
            return
        if record is not None and record.status == "failed":
            click.echo(f"{chr(13) if on_terminal else ''}failed: {record.cell.recipe}: {record.reason}", err=True)
        now = time.monotonic()
        if on_terminal:
            width = max(20, shutil.get_terminal_size().columns - 1)
            click.echo(f"\r{_progress(tally)[:width]:<{width}}", err=True, nl=tally.to_go == 0)
        elif now - last >= 5 or tally.to_go == 0:
            last = now
            click.echo(_progress(tally), err=True)

    return show
