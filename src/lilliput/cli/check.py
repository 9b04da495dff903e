"""`lilliput check`: does an artifact still do what it did when it was exported?"""

import json
from pathlib import Path

import click

from lilliput.cli import option
from lilliput.errors import LilliputError
from lilliput.policies.export import check as check_artifact
from lilliput.policies.export import describe, failures


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option.as_json
def check(folder: Path, as_json: bool) -> None:
    """Run the artifact in FOLDER on its golden examples, on this machine.

    \b
    Example: lilliput check small-c/
    """
    if (folder / "lilliput.json").is_file():
        from lilliput.models.export import TOLERANCE
        from lilliput.models.export import check as check_model

        missed = check_model(folder)
        if as_json:
            click.echo(json.dumps({"ok": True, "largest_difference": missed, "tolerance": TOLERANCE}))
        else:
            click.echo(f"{folder}: golden answers reproduced; largest difference {missed:.3g}, allowed {TOLERANCE:g}")
        return

    result = check_artifact(folder)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "ok": result.ok,
                    "n_examples": result.n_examples,
                    "largest_difference": result.largest_difference,
                    "tolerance": result.tolerance,
                    "flips": result.flips,
                    "batch_is_exact": result.batch_is_exact,
                    "failures": failures(result),
                }
            )
        )
    if not result.ok:
        raise LilliputError(f"{folder}: {describe(result)}")
    if not as_json:
        click.echo(
            f"{folder}: {result.n_examples} golden examples reproduced; largest difference "
            f"{result.largest_difference:.3g}, allowed {result.tolerance:.3g}"
        )
