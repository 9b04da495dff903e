"""Remarks below a table; on stderr what was guessed, and a bar with an estimate, lines where there is no terminal."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Print nothing."""


def say_guesses(guesses: Sequence[str], source: str = "") -> None:
    """Say on stderr what had to be guessed of a source, a line each; its name is for where there are several."""
    for guess in guesses:
        click.echo(f"guessed: {source and f'{source}: '}{guess}", err=True)


def say_remarks(remarks: Sequence[str]) -> None:
    """Say what the reader of a table should know, a line each, which on a terminal goes on below where it is wider.

    What has no spaces, a path say, stays whole: it is to be copied.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for remark in remarks:
        lines = [remark]
        if width:
            lines = textwrap.wrap(remark, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
        click.echo("\n".join(lines))


TIMED_LAST = "times, memory and energy are measured last, alone; --no-timings leaves them out"
"""Of a comparison: its last and often longest part."""


@contextmanager
def shown(quiet: bool, first: str = "") -> Iterator[Report]:
    """A function to report progress to; it shows nothing in the first two seconds, but what is to be said first.

    That is said when something is reported: what cannot be done at all is refused in one line before.
    """
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _bar() as report:
            yield _behind(first, report)
    else:
        yield _behind(first, _lines())


def _behind(first: str, report: Report) -> Report:
    left = [first] if first else []

    def both(what: str, done: int, total: int) -> None:
        while left:
            click.echo(left.pop(), err=True)
        report(what, done, total)

    return both


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    what, so_far, left = (TextColumn(text) for text in ("{task.description}", "so far, about", "left"))
    times = (TimeElapsedColumn(), so_far, TimeRemainingColumn(), left)
    console = Console(stderr=True)
    with Progress(what, BarColumn(), MofNCompleteColumn(), *times, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            for other, task in tasks.items():
                if other != what:
                    progress.update(task, visible=False)
            progress.update(tasks[what], completed=done, total=total, visible=True)

        yield report


def _lines() -> Report:
    started: dict[str, tuple[float, int]] = {}
    before: dict[str, int] = {}
    last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        # What an interrupted run or an earlier step had done took none of the time seen here, nor did the same of
        # another artifact, after which it is counted from the beginning again.
        if what not in started or done < before[what]:
            started[what] = (now, done)
        before[what] = done
        begun, already = started[what]
        if now - max(last, begun) >= 2 and done > already:
            last = now
            left = (now - begun) / (done - already) * (total - done)
            click.echo(f"{what}: {done} of {total}, about {left:.0f} s left", err=True)

    return report
