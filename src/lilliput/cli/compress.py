"""`lilliput compress`: a recipe applied to a checkpoint."""

import json
from pathlib import Path

import click

from lilliput.cli import option, progress
from lilliput.errors import LilliputError


@click.command()
@option.source
@option.normalizer
@click.option(
    "-r", "--recipe", required=True, help="The recipe text, such as 'prune_units(ratio=0.3) | quantize(weight_bits=8)'."
)
@option.environment
@option.environment_kwargs
@option.seed
@option.output
@option.force
@option.as_json
def compress(
    source: Path,
    normalizer: Path | None,
    recipe: str,
    environment: str | None,
    environment_kwargs: str,
    seed: int,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Apply a recipe to the policy in SOURCE and write the result as a .lilliput file.

    Steps that calibrate play episodes in the environment; the others need none.

    \b
    Example: lilliput compress ppo.zip -r "half()" -o half.lilliput
    """
    from lilliput.policies import policy as policy_file
    from lilliput.policies.compress import compress as apply
    from lilliput.policies.compress import parse
    from lilliput.policies.load import load_policy
    from lilliput.study.environment import context_for

    if output.is_dir():
        raise LilliputError(f"{output} is a folder; name a file, such as {output / 'small.lilliput'}")
    if output.exists() and not force:
        raise LilliputError(f"{output} exists; choose another name or give --force")
    steps = parse(recipe)
    policy = load_policy(source, normalizer=normalizer)
    with progress.shown(quiet=as_json) as report:
        context = context_for(policy, environment, environment_kwargs, seed, report)
        policy_file.check_name(output)
        small = apply(policy, steps, context)
    output.parent.mkdir(parents=True, exist_ok=True)
    policy_file.write(small, output, force=force)
    if as_json:
        found = {
            "recipe": small.provenance.recipe,
            "baseline_bytes": policy.model_bytes,
            "bytes": small.model_bytes,
            "output": str(output),
        }
        click.echo(json.dumps(found))
    else:
        ratio = policy.model_bytes / small.model_bytes
        click.echo(f"{output}: {small.model_bytes:,} model bytes instead of {policy.model_bytes:,} ({ratio:.1f}x)")
