"""`lilliput measure`: what one artifact costs, here or on a microcontroller."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilliput.cli import option, progress
from lilliput.errors import LilliputError
from lilliput.policies.artifact import read_artifact
from lilliput.task import Task

if TYPE_CHECKING:
    from lilliput.measurement import Absent, Measurement

DOES_NOT_FIT = 3
"""Exit code where an artifact fails its self-test on the target or passes a limit."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--env", "environment", help="The Gymnasium id to play; without it no return is measured.")
@option.environment_kwargs
@click.option("--episodes", default=20, show_default=True, type=click.IntRange(min=1), help="Episodes to play.")
@option.max_steps
@option.seed
@click.option("--target", default="host", show_default=True, help="host, or a processor: cortex-m4, riscv32, ...")
@click.option("--max-flash", type=click.IntRange(min=1), help="Bytes of flash that the target has for it.")
@click.option("--max-ram", type=click.IntRange(min=1), help="Bytes of RAM that the target has for it.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), help="Seconds to decide; needs --clock.")
@click.option("--clock", type=click.FloatRange(min=0, min_open=True), help="The target's clock in hertz, such as 80e6.")
@click.option("--ua-per-mhz", type=click.FloatRange(min=0, min_open=True), help="Its current; default: a known part's.")
@click.option("--volts", default=3.0, show_default=True, type=click.FloatRange(min=0, min_open=True), help="At which.")
@click.option("--cell", help="The battery: cr2032 or aa.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Decisions a second, for the battery's life.")
@option.as_json
def measure(
    folder: Path,
    environment: str | None,
    environment_kwargs: str,
    episodes: int,
    max_steps: int,
    seed: int,
    target: str,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Measure the artifact in FOLDER: size, inference time, memory, energy and, with --env, the return of its episodes.

    With --target the artifact is compiled for that processor and counted in an emulator: flash, RAM, stack,
    instructions. Time, energy and battery life are modelled from these. Ends with 3 where it does not fit a limit.

    \b
    Examples:
      lilliput measure small-c/ --env HalfCheetah-v4
      lilliput measure artifact-of-a-model/
      lilliput measure small-c/ --target cortex-m4 --max-flash 65536 \\
        --deadline 0.001 --clock 80e6
    """
    if (folder / "lilliput.json").is_file():
        if target != "host" or environment:
            raise LilliputError(
                f"{folder} is a model's artifact: it is measured on this machine, and judged by compare --task"
            )
        from lilliput.models.export import read_artifact as read_model
        from lilliput.study.artifact import measure_model

        for note in read_model(folder).provenance.said:
            click.echo(f"note: {note}", err=True)
        _say(measure_model(folder), as_json=as_json)
        return
    if target != "host":
        from lilliput.cli.measure_target import Wanted, measure_on_target

        if wanted["deadline"] is not None and wanted["clock"] is None:
            raise click.UsageError("--deadline needs --clock")
        if wanted["rate"] is not None and wanted["cell"] is None:
            raise click.UsageError("--rate needs --cell, such as cr2032")
        if not measure_on_target(folder, target, Wanted(**wanted), as_json=as_json):
            sys.exit(DOES_NOT_FIT)
        return
    given = [f"--{name.replace('_', '-')}" for name, value in wanted.items() if value is not None and name != "volts"]
    if given:
        raise click.UsageError(f"{given[0]} needs --target, such as cortex-m4")
    from lilliput.study.artifact import measure_artifact
    from lilliput.study.environment import about_the_task, keyword_arguments

    kwargs = keyword_arguments(environment_kwargs)
    if environment:
        trained_on = read_artifact(folder).manifest.environment
        for caveat in about_the_task(trained_on, Task.of(environment, kwargs)):
            click.echo(f"note: {caveat}", err=True)
    with progress.shown(quiet=as_json) as report:
        found = measure_artifact(folder, environment, kwargs, episodes, seed, report, max_steps)
    _say(found, as_json=as_json)


def _say(results: "Sequence[Measurement | Absent]", *, as_json: bool) -> None:
    """Prints a line for each; on a terminal, what is longer than that is goes on in the next."""
    from lilliput.report.table import measurement_line

    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in results], indent=1))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for one in results:
        click.echo(measurement_line(one, width))
