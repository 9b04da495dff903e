"""`lilliput measure`: what one artifact costs here."""

import json
from pathlib import Path
from typing import Any

import click

from lilliput.cli import option, progress


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option.environment
@option.environment_kwargs
@click.option("--episodes", default=20, show_default=True, type=click.IntRange(min=1), help="Episodes to play.")
@option.seed
@option.as_json
def measure(
    folder: Path, environment: str | None, environment_kwargs: str, episodes: int, seed: int, as_json: bool
) -> None:
    """Measure the artifact in FOLDER: size, inference time, memory, energy and, with --env, the return of its episodes.

    \b
    Example: lilliput measure small-c/ --env HalfCheetah-v4
    """
    from lilliput.study.artifact import measure_artifact

    with progress.shown(quiet=as_json) as report:
        found = measure_artifact(folder, environment, json.loads(environment_kwargs), episodes, seed, report)
    if as_json:
        click.echo(json.dumps([_data(m) for m in found], indent=1))
        return
    from lilliput.report.table import measurement_line

    for measurement in found:
        click.echo(measurement_line(measurement))


def _data(measurement: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(measurement)
