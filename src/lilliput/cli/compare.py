"""`lilliput compare`: some recipes on one policy, on all measures."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lilliput.cli import actions, models, option, progress, reader
from lilliput.errors import LilliputError
from lilliput.foreign_text import printable

if TYPE_CHECKING:
    import numpy as np

    from lilliput.policies.policy import Policy


@click.command()
@option.source
@reader.options
@option.environment
@option.environment_kwargs
@option.observations
@click.option("-r", "--recipe", "recipes", multiple=True, required=True, help="A recipe; give it several times.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["onnx", "c", "transformers"]),
    help="What is exported and measured [default: c; of a model onnx or transformers]; may be repeated.",
)
@click.option(
    "--episodes", default=100, show_default=True, type=click.IntRange(min=1), help="Episodes a candidate plays."
)
@click.option(
    "--keep",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the return to keep.",
)
@option.max_steps
@option.seed
@click.option(
    "--workers",
    default=os.cpu_count() or 1,
    show_default="cores",
    type=click.IntRange(min=1),
    help="Processes that play.",
)
@click.option(
    "--task", help="SOURCE is no policy but a model, judged on this, such as 'classification(images=\"val/\")'."
)
@click.option("--picture", help="How a model of pictures sees them: 'picture(size=224, mean=(0.5, 0.5, 0.5))'.")
@click.option("--module", help="What makes the network of a bare state dict: python:package.module:function.")
@click.option("--family", help="What a model answers to: language, classification, detection or generation.")
@click.option("--no-timings", is_flag=True, help="Leave out inference time, memory and energy.")
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
      lilliput compare resnet.onnx --task 'classification(images="val/")' \\
        -r "quantize()" -r "half()" -o results/
    """
    told = {"picture": picture, "module": module, "family": family}
    if task is not None:
        # Of a model --episodes is the number of the task's items, and all that there are where it is not given.
        asked = episodes if _given("episodes") else 1 << 30
        models.compare(
            source, told, task, recipes, formats, asked, keep, seed, workers, out,
            timings=not no_timings, force=force, as_json=as_json,
        )  # fmt: skip
        return
    if any(told.values()):
        raise LilliputError("--picture, --module and --family are of models, which are judged on a --task; name one")
    from lilliput.errors import MissingDependency
    from lilliput.policies.compress import format_recipe, parse
    from lilliput.report import files, page, summary, table
    from lilliput.study.compare import Comparison
    from lilliput.study.compare import compare as run
    from lilliput.study.environment import elsewhere, known, resolve

    distinct = {format_recipe(parse(text)) for text in recipes}
    if len(distinct) < len(recipes):
        click.echo(f"note: {len(recipes)} recipes are given, {len(distinct)} of them different; each is once", err=True)
    policy = reader.read(source, reading, environment, environment_kwargs)
    given = reader.observations(observations, policy)
    if given is not None and known(policy, environment, environment_kwargs) is None:
        _by_actions(policy, recipes, formats or ("c",), given, seed, out, force=force, as_json=as_json)
        return
    place = resolve(policy, environment, environment_kwargs)
    comparison = Comparison(place, recipes, formats or ("c",), episodes, seed, not no_timings, max_steps, given)
    with progress.shown(quiet=as_json) as report:
        records = run(policy, comparison, out, workers, report, force=force)
    rows = summary.rows(records, keep)
    guesses = policy.provenance.guesses
    caveats = elsewhere(policy.provenance.environment, place.id)
    remarks = [*caveats, *table.remarks(rows)]
    (out / "table.md").write_text(table.markdown(rows) + "".join(f"\n- {remark}" for remark in remarks) + "\n")
    (out / "table.json").write_text(json.dumps(table.to_json(rows), indent=1) + "\n")
    (out / "report.csv").write_text(files.csv_text(rows), encoding="utf-8")
    title = f"{policy.provenance.source} on {place.id}"
    written = "artifacts, records and this table"
    try:
        page.write_rows(rows, records, keep, out / "report.html", title, caveats=(*caveats, *guesses))
        written = "artifacts, records, this table and report.html"
    except MissingDependency as error:
        click.echo(f"note: {error}", err=True)
    failed = [record for record in records if record.status == "failed"]
    if as_json:
        found = {
            "environment": place.id,
            "keep": keep,
            "rows": table.to_json(rows),
            "remarks": remarks,
            "guesses": guesses,
        }
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(f"{policy.provenance.source} on {place.id}, {episodes} episodes a candidate, keep {keep:g}\n")
        click.echo(table.text(rows))
        click.echo("\n" + "\n".join(remarks))
        click.echo(f"\n{written}: {out}")
    if failed:
        click.echo(
            f"Error: {len(failed)} of {len(records)} cells failed; the first: {printable(failed[0].reason)}", err=True
        )
        sys.exit(1)


def _given(name: str) -> bool:
    """Whether the option stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def _by_actions(
    policy: "Policy",
    recipes: tuple[str, ...],
    formats: tuple[str, ...],
    observations: "np.ndarray",
    seed: int,
    out: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    from lilliput.study.actions import compare_actions

    with progress.shown(quiet=as_json) as report:
        judged = compare_actions(policy, recipes, formats, observations, seed, out, report, force=force)
    source, n = policy.provenance.source, len(observations)
    found = actions.write_comparison(judged, source, n, out, guesses=policy.provenance.guesses)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        actions.say(judged, source, n, out)
