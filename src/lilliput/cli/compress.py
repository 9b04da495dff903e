"""`lilliput compress`: a recipe applied to a checkpoint."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from lilliput.cli import model_files, option, progress, reader
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies.compress import compress as apply
from lilliput.policies.compress import parse
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.reference import act_episode


@click.command()
@option.source
@reader.options
@click.option(
    "-r", "--recipe", required=True, help="The recipe text, such as 'prune_units(ratio=0.3) | quantize(weight_bits=8)'."
)
@option.environment
@option.environment_kwargs
@option.observations
@option.max_steps
@option.seed
@option.device
@option.out
@option.force
@model_files.options
@option.as_json
def compress(
    source: Path,
    reading: dict[str, Any],
    recipe: str,
    environment: str | None,
    environment_kwargs: str,
    observations: Path | None,
    max_steps: int,
    seed: int,
    out: Path,
    force: bool,
    as_json: bool,
    **told: str | None,
) -> None:
    """Apply a recipe to the policy in SOURCE and write the result as a .lilliput file.

    Of a model that is no policy (--family) the result is an ONNX file, of a language model a transformers folder.

    Steps that calibrate play episodes in the environment; the others need none.

    \b
    Examples:
      lilliput compress ppo.zip -r "half()" -o half.lilliput
      lilliput compress resnet.onnx --family classification -r "half()" \\
        -o half.onnx
    """
    if model_files.is_model(source, told):
        _model(source, told, recipe, seed, out, force=force, as_json=as_json)
        return

    from lilliput.measure.agreement import NO_RETURN, agreement, lines
    from lilliput.study.environment import context_for, named

    if out.is_dir():
        raise LilliputError(f"{out} is a folder; name a file, such as {out / 'small.lilliput'}")
    if out.exists() and not force:
        raise LilliputError(f"{out} exists; choose another name or give --force")
    steps = parse(recipe)
    checkpoint = reader.read(source, reading, environment, environment_kwargs)
    policy = checkpoint.policy
    given = reader.observations(observations, policy)
    notes: list[str] = []
    with progress.shown(quiet=as_json) as report:
        context = context_for(checkpoint, environment, environment_kwargs, seed, report, max_steps, given)
        policy_file.check_name(out)
        small = apply(policy, steps, replace(context, say=notes.append))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    taught = Checkpoint(small, Learner(action_std=checkpoint.learner.action_std))  # a critic judges other actions
    policy_file.write(named(taught, environment, environment_kwargs), out, force=force)
    acted = None
    if given is not None:  # with a memory, one episode in its order
        acted = agreement(policy.action_space, *(act_episode(one, given) for one in (policy, small)))
    if as_json:
        result = {
            "recipe": small.provenance.recipe,
            "baseline_bytes": policy.model_bytes,
            "bytes": small.model_bytes,
            "output": str(out),
            "guesses": policy.provenance.guesses,
            "notes": notes,
        }
        click.echo(json.dumps(result | ({} if acted is None else {"actions": asdict(acted), "note": NO_RETURN})))
    else:
        ratio = policy.model_bytes / small.model_bytes
        click.echo(f"{out}: {small.model_bytes:,} model bytes instead of {policy.model_bytes:,} ({ratio:.1f}x)")
        for line in () if acted is None else lines(acted):
            click.echo(line)


def _model(
    source: Path, told: dict[str, str | None], recipe: str, seed: int, out: Path, *, force: bool, as_json: bool
) -> None:
    if out.exists() and not force:
        raise LilliputError(f"{out} exists; choose another name or give --force")
    model, small = model_files.compress(source, told, recipe, seed, out)
    if as_json:
        written = {
            "recipe": small.provenance.recipe,
            "baseline_bytes": model.model_bytes,
            "bytes": small.model_bytes,
            "output": str(out),
            "guesses": model.provenance.guesses,
            "notes": small.provenance.said,
        }
        click.echo(json.dumps(written))
    else:
        ratio = model.model_bytes / small.model_bytes
        click.echo(f"{out}: {small.model_bytes:,} model bytes instead of {model.model_bytes:,} ({ratio:.1f}x)")
