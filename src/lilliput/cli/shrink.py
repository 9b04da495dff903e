"""`lilliput shrink`: the smallest artifact that keeps the return."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilliput.cli import actions, duration, option, reader
from lilliput.errors import MissingDependency

if TYPE_CHECKING:
    from lilliput.shrink.result import Result


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="SOURCE...")
@click.option(
    "--teachers",
    is_flag=True,
    help="There are several SOURCEs, of one environment: the return of the best of them is what is to be kept, and the "
    "search tries which of them teaches small students best.",
)
@reader.options
@option.environment
@option.environment_kwargs
@option.observations
@option.keep
@click.option(
    "--within", default="10m", show_default=True, type=duration.Duration(), help="Time for everything: 90s, 10m, 1h."
)
@click.option(
    "--objective",
    default="model_bytes",
    show_default=True,
    type=click.Choice(["model_bytes", "flash_bytes", "ram_bytes", "n_macs", "latency_s", "instructions"]),
    help="What is made small. Flash and RAM are those of the program compiled for the target: code counts.",
)
@click.option(
    "--target",
    default="host",
    show_default=True,
    help="What it is to run on: host, cortex-m4, ...; for flash_bytes and ram_bytes cortex-m0plus where none is given.",
)
@click.option("--max-flash", type=click.IntRange(min=1), help="Bytes of flash that it may take on the target.")
@click.option("--max-ram", type=click.IntRange(min=1), help="Bytes of RAM that it may take on the target.")
@click.option(
    "--deadline", type=click.FloatRange(0, min_open=True), help="Seconds that a decision may take on the host."
)
@option.format_
@option.max_steps
@option.seed
@click.option(
    "--workers", default=os.cpu_count() or 1, show_default="cores", type=click.IntRange(min=1), help="Processes."
)
@click.option("--replay", is_flag=True, help="Put a clip on the page: the policy beside the smaller one.")
@click.option("--no-training", is_flag=True, help="Only what needs no training: seconds instead of minutes.")
@option.out
@option.force
@option.as_json
def shrink(
    sources: tuple[Path, ...],
    teachers: bool,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    observations: Path | None,
    keep: float,
    within: float,
    objective: str,
    target: str,
    max_flash: int | None,
    max_ram: int | None,
    deadline: float | None,
    format_: str,
    max_steps: int,
    seed: int,
    workers: int,
    replay: bool,
    no_training: bool,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Find the smallest policy that keeps the return of the one in SOURCE, or of the best of several, and prove it.

    It searches, exports the best candidates and confirms one on episodes that the search never saw. The output folder
    gets the artifact, the policy and the records of all that was tried; interrupted, the same command goes on.

    \b
    Examples:
      lilliput shrink ppo.zip --env HalfCheetah-v4 --keep 0.95 -o small/
      lilliput shrink --teachers sac.zip ppo.zip --env HalfCheetah-v4 -o small/
    """
    started = time.time()
    from lilliput.shrink import page
    from lilliput.shrink.request import OBJECTIVES, Request
    from lilliput.shrink.result import to_json
    from lilliput.shrink.run import shrink as run
    from lilliput.shrink.run import so_far
    from lilliput.study.environment import about_the_task, known, resolve
    from lilliput.study.replay import check_pillow

    if replay:
        check_pillow()
    if len(sources) > 1 and not teachers:
        raise click.UsageError(f"{len(sources)} sources; with --teachers they are teachers of one task, or give one")
    names = [str(source) if len(sources) > 1 else "" for source in sources]
    first, *others = (
        reader.read(source, reading, environment, environment_kwargs, named=name)
        for source, name in zip(sources, names, strict=True)
    )
    given = reader.observations(observations, first.policy)
    if given is not None and known(first.provenance, environment, environment_kwargs) is None:
        measured = (target != "host", objective != "model_bytes", max_flash, max_ram, deadline)
        if any(measured):
            raise click.UsageError(
                "--target, --objective, --max-flash, --max-ram and --deadline need an environment (--env): on "
                "observations alone only model_bytes is made small"
            )
        if others:
            raise click.UsageError("--teachers needs an environment (--env): students play it")
        actions.shrink(first.policy, keep, format_, given, seed, out, force=force, as_json=as_json)
        return
    task = resolve(first.provenance, environment, environment_kwargs)
    every = (first, *others)
    guesses, caveats = (
        tuple(f"{name and f'{name}: '}{line}" for name, lines in zip(names, told, strict=True) for line in lines)
        for told in (
            [one.provenance.guesses for one in every],
            [about_the_task(one.provenance.environment, task) for one in every],
        )
    )
    request = Request(
        task=task,
        keep=keep,
        within_s=within,
        objective=OBJECTIVES[objective],
        format=format_,
        seed=seed,
        workers=workers,
        train=not no_training,
        target=target,
        max_flash=max_flash,
        max_ram=max_ram,
        deadline_s=deadline,
        max_steps=max_steps,
    )

    def say(sentence: str) -> None:
        if not as_json:
            click.echo(f"[{time.time() - started:.0f} of {within:.0f} s] {sentence}", err=True)

    try:
        result = run(first, request, out, say, teachers=others, observations=given, force=force, started=started)
    except KeyboardInterrupt:
        if not as_json:
            click.echo("\n" + so_far(every, request, out), err=True)
        say(f"interrupted; all of this is in {out}, and the same command goes on from there")
        raise
    written = "artifact, policy and records"
    try:
        named = ", ".join(one.provenance.source for one in every)
        title = f"{named} on {task.id}, made small"
        page.write(out, result, keep, title, caveats=(*caveats, *guesses), replay=replay)
        written = "artifact, policy, records and report.html"
    except MissingDependency as error:
        click.echo(f"note: {error}", err=True)
    if as_json:
        click.echo(json.dumps({**to_json(result), "remarks": caveats, "guesses": guesses}, indent=1))
        return
    _print(result, caveats, f"{written}: {out}")


def _print(result: "Result", caveats: Sequence[str], written: str) -> None:
    from lilliput.shrink.result import table

    click.echo(table(result.frontier, result.baseline_bytes, result.objective) + "\n")
    for note in (*caveats, *result.notes):
        click.echo(f"note: {note}")
    if result.recipe:
        click.echo(
            f"worst tenth of the episodes: {result.worst_decile:.6g}, the baseline's {result.baseline_worst_decile:.6g}"
        )
    click.echo(result.sentence)
    click.echo(written)
