"""`lilliput compare`: some recipes on one policy, on all measures."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lilliput.cli import actions, models, option, progress, reader
from lilliput.cli.format_name import FormatName
from lilliput.compare import compare as run
from lilliput.errors import LilliputError
from lilliput.foreign_text import printable
from lilliput.policies.compress import format_recipe, parse


@click.command()
@option.source
@reader.options
@option.environment
@option.environment_kwargs
@option.observations
@click.option(
    "-r",
    "--recipe",
    "recipes",
    multiple=True,
    help="A recipe; give it several times. Without any the policy is judged as it is.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=FormatName(of_models=True),
    help="What is exported and measured [default: c; of a model onnx or transformers]; may be repeated.",
)
@click.option(
    "--episodes", default=100, show_default=True, type=click.IntRange(min=1), help="Episodes a candidate plays."
)
@option.keep
@option.max_steps
@option.seed
@option.device
@click.option(
    "--workers",
    default=os.cpu_count() or 1,
    show_default="cores",
    type=click.IntRange(min=1),
    help="Processes that play.",
)
@click.option(
    "--task",
    help="SOURCE is no policy but a model, judged on this: images:val/, or 'classification(images=\"val/\", n=500)'.",
)
@click.option("--picture", help="How a model of pictures sees them: 'picture(size=224, mean=(0.5, 0.5, 0.5))'.")
@click.option("--module", help="What makes the network of a bare state dict: python:FILE.py:function, timm:NAME.")
@click.option("--family", help="What a model answers to: language, classification, detection or generation.")
@click.option("--no-timings", is_flag=True, help="Leave out inference time, memory and energy.")
@click.option("--no-energy", is_flag=True, help="Leave out energy alone.")
@option.out
@option.force
@option.as_json
def compare(
    source: Path,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    observations: Path | None,
    recipes: tuple[str, ...],
    formats: tuple[str, ...],
    episodes: int,
    keep: float,
    max_steps: int,
    seed: int,
    workers: int,
    task: str | None,
    picture: str | None,
    module: str | None,
    family: str | None,
    no_timings: bool,
    no_energy: bool,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Compare what recipes do to the policy in SOURCE: return, size, inference time, memory, energy.

    Every number is measured on the exported artifact. The baseline and all candidates play the same episodes. Artifacts
    and records stay in the output folder, and the same command goes on where it was interrupted. With other recipes,
    episodes or seeds a folder keeps all records; its table and page are of the last command alone. Ends with 1 where a
    candidate failed.

    \b
    Example:
      lilliput compare ppo.zip --env HalfCheetah-v4 \\
        -r "quantize()" -r "prune_units(ratio=0.3)" -o results/
      lilliput compare resnet.onnx --task images:val/ \\
        -r "quantize()" -r "half()" -o results/
    """
    told = {"picture": picture, "module": module, "family": family}
    if task is not None:
        # Of a model --episodes is the number of the task's items, and all that there are where it is not given.
        asked = episodes if _given("episodes") else 1 << 30
        models.compare(
            source, told, task, recipes, formats, asked, keep, seed, workers, out,
            timings=not no_timings, energy=not no_energy, force=force, as_json=as_json,
        )  # fmt: skip
        return
    if not source.exists():
        raise LilliputError(f"{source} does not exist; a model's hub id is judged on a --task; name one")
    if any(told.values()):
        raise LilliputError("--picture, --module and --family are of models, which are judged on a --task; name one")
    from lilliput.report.vocabulary import count
    from lilliput.study.environment import keyword_arguments, known

    distinct = {format_recipe(parse(text)) for text in recipes}
    if len(distinct) < len(recipes):
        click.echo(f"note: {len(recipes)} recipes are given, {len(distinct)} of them different; each is once", err=True)
    checkpoint = reader.read(source, reading, environment, environment_kwargs)
    policy, origin = checkpoint.policy, checkpoint.provenance
    given = reader.observations(observations, policy)
    if given is not None and known(origin, environment, environment_kwargs) is None:
        actions.compare(policy, recipes, formats or ("c",), given, seed, out, force=force, as_json=as_json)
        return
    with progress.shown(quiet=as_json, first="" if no_timings else progress.TIMED_LAST) as report:
        compared = run(
            checkpoint,
            recipes,
            out,
            environment,
            environment_kwargs=keyword_arguments(environment_kwargs),
            formats=formats or ("c",),
            episodes=episodes,
            keep=keep,
            seed=seed,
            timings=not no_timings,
            energy=not no_energy,
            max_steps=max_steps,
            observations=given,
            workers=workers,
            progress=report,
            force=force,
        )
    if compared.left_out:
        click.echo(f"note: {compared.left_out}", err=True)
    if as_json:
        said = {"remarks": compared.remarks, "guesses": origin.guesses}
        click.echo(
            json.dumps({"environment": compared.task.id, "keep": keep, "rows": compared.to_json(), **said}, indent=1)
        )
    else:
        name = f"{origin.source} on {compared.task.id}"
        click.echo(f"{name}, {count(episodes, 'episodes')} a candidate, keep {keep:g}\n")
        click.echo(f"{compared.table()}\n")
        progress.say_remarks(compared.remarks)
        written = "this table" if compared.left_out else "this table and report.html"
        click.echo(f"\nartifacts, records{' and' if compared.left_out else ','} {written}: {out}")
    if compared.failed:
        first = printable(compared.failed[0].reason)
        click.echo(
            f"Error: {len(compared.failed)} of {len(compared.records)} cells failed; the first: {first}", err=True
        )
        sys.exit(1)


def _given(name: str) -> bool:
    """Whether the option stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT
