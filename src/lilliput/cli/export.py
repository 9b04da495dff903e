"""`lilliput export`: a policy as something that runs."""

import json
from pathlib import Path
from typing import Any

import click

from lilliput.cli import model_files, option, reader
from lilliput.cli.format_name import FormatName
from lilliput.errors import LilliputError
from lilliput.policies.export import export as export_policy


@click.command()
@option.source
@reader.options
@option.environment
@option.environment_kwargs
@option.observations
@click.option(
    "--format",
    "format_",
    type=FormatName(of_models=True),
    help="What is exported [default: c; of a model onnx or transformers].",
)
@option.out
@click.option("--name", help="What the names of C and of its files start with; default: from the folder's name.")
@click.option(
    "--observation",
    default="float",
    show_default=True,
    type=click.Choice(["float", "int16", "q16.16"]),
    help="What C takes. Of integers it gives integers too and links no float; the header says how each number counts.",
)
@click.option(
    "--dispatch",
    is_flag=True,
    help="C for a shared library that runs elsewhere than it is built: it has kernels for several processors (x86-64: "
    "SSE2, SSE4, AVX2, AVX-VNNI, AVX-512, AVX-512 VNNI; 64-bit Arm: NEON, dot product, i8mm) and chooses there.",
)
@option.force
@model_files.options
@option.as_json
def export(
    source: Path,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    observations: Path | None,
    format_: str | None,
    out: Path,
    name: str | None,
    observation: str,
    dispatch: bool,
    force: bool,
    as_json: bool,
    **told: str | None,
) -> None:
    """Export the policy in SOURCE as an artifact: ONNX, or C99 without dependencies.

    A model that is no policy (--family) becomes ONNX, a language model a transformers folder.

    The artifact takes the raw observation and gives the environment's action. It is opened and must reproduce its
    golden examples, or nothing is written.

    \b
    Example: lilliput export small.lilliput --format c -o small-c/
    For a robot's SD card or a wheel:
      lilliput export small.lilliput -o small-c/ --dispatch
      make -C small-c test
    """
    if model_files.is_model(source, told):
        if observation != "float" or dispatch:
            raise LilliputError("--observation and --dispatch are of policies")
        _model(source, told, format_, out, name, force=force, as_json=as_json)
        return

    policy = reader.read(source, reading, environment, environment_kwargs).policy
    met = reader.observations(observations, policy)
    artifact = export_policy(
        policy,
        format_ or "c",
        out,
        observations=met,
        force=force,
        name=name,
        observation=observation,
        dispatch=dispatch,
    )
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


def _model(
    source: Path,
    told: dict[str, str | None],
    format_: str | None,
    out: Path,
    name: str | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    if name is not None or force:
        raise LilliputError("--name and --force are of policies; a model's artifact goes into a new folder")
    from lilliput.models.model import has_blocks

    model = model_files.load(source, told)
    usual = "transformers" if has_blocks(model) else "onnx"
    artifact = model_files.export(model, format_ or usual, out)
    if as_json:
        found = {
            "folder": str(artifact.folder),
            "format": artifact.format,
            "model_bytes": artifact.model_bytes,
            "file_bytes": artifact.file_bytes,
            "guesses": model.provenance.guesses,
        }
        click.echo(json.dumps(found))
    else:
        click.echo(
            f"{artifact.folder}: {artifact.model_bytes:,} model bytes in {artifact.file_bytes:,} bytes of files; "
            "it gives its golden answers"
        )
