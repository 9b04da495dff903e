"""`lilliput export`: a policy as something that runs."""

import json
from pathlib import Path
from typing import Any

import click

from lilliput.cli import option, reader


@click.command()
@option.source
@reader.options
@option.environment
@option.environment_kwargs
@option.format_
@option.out
@click.option("--name", help="What the names of C and of its files start with; default: from the folder's name.")
@option.force
@option.as_json
def export(
    source: Path,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    format_: str,
    out: Path,
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Export the policy in SOURCE as an artifact: ONNX, or C99 without dependencies.

    The artifact takes the raw observation and gives the environment's action. It is opened and must reproduce its
    golden
    examples, or nothing is written.

    \b
    Example: lilliput export small.lilliput --format c -o small-c/
    """
    from lilliput.policies.export import export as export_policy

    policy = reader.read(source, reading, environment, environment_kwargs)
    artifact = export_policy(policy, format_, out, force=force, name=name)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "folder": str(artifact.folder),
                    "name": artifact.manifest.name,
                    "symbol": artifact.manifest.symbol,
                    "model_bytes": artifact.manifest.model_bytes,
                    "files": artifact.manifest.files,
                    "guesses": artifact.manifest.guesses,
                }
            )
        )
    else:
        called = f"; it is called {artifact.manifest.symbol}" if artifact.manifest.symbol else ""
        files = ", ".join(sorted(artifact.manifest.files))
        click.echo(
            f"{artifact.folder}: {artifact.manifest.model_bytes:,} model bytes; it reproduces its golden "
            f"examples{called}\n{files}"
        )
