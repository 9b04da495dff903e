"""`lilliput demo`: the main job on policies that the project contains."""

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lilliput.cli import option, progress
from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.policies.load import load_checkpoint
from lilliput.task import Task

if TYPE_CHECKING:
    from lilliput.report.row import Row

RECIPES = (
    'quantize(scheme="dynamic", granularity="per_tensor")',
    'quantize(scheme="static", granularity="per_channel", input="per_dimension")',
    'quantize(scheme="weight_only", weight_bits=4, granularity="per_channel")',
    "prune_units(ratio=0.2)",
    "prune_weights(sparsity=0.5)",
)
"""The paper's two ways to quantize after training, a low-bit one, and two ways to prune."""

_SHRINK_S = 60.0

MODEL, DIGITS = "classifier.onnx", "digits.npz"
"""Of the folder `models` beside that of the policies: a classifier, and pictures that it never saw."""

MODEL_RECIPES = ("quantize()", "half()", "prune_weights(sparsity=0.5)", "prune_units(ratio=0.3, multiple=8)")


@click.command()
@click.option(
    "--policies",
    default=Path("examples/policies"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="A folder of folders named ALGORITHM-ENVIRONMENT, one a policy.",
)
@click.option(
    "--episodes", default=100, show_default=True, type=click.IntRange(min=1), help="Episodes a candidate plays."
)
@click.option(
    "-o",
    "--out",
    "output",
    default=Path("demo-output"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where to write.",
)
@option.as_json
def demo(policies: Path, episodes: int, output: Path, as_json: bool) -> None:
    """Compare five recipes on each policy of a folder, with the C format, shrink one, and compare four on a
    classifier of digits; two to four minutes on two cores.

    \b
    Example: lilliput demo --policies examples/policies
    """
    from lilliput.report import summary, table
    from lilliput.report.remarks import warnings
    from lilliput.report.vocabulary import count
    from lilliput.shrink.request import Request
    from lilliput.shrink.result import to_json
    from lilliput.shrink.run import shrink
    from lilliput.study.compare import Comparison
    from lilliput.study.compare import compare as run

    sources = sorted(path for path in policies.iterdir() if path.is_dir()) if policies.is_dir() else []
    if not sources:
        raise LilliputError(
            f"{policies} holds no policies; run this where the project was cloned, or name a folder with --policies"
        )
    start = time.monotonic()
    results: dict[str, object] = {}
    loaded = {source.name: load_checkpoint(source) for source in sources}
    for name, checkpoint in loaded.items():
        progress.say_guesses(checkpoint.provenance.guesses, name)
    for number, (name, checkpoint) in enumerate(loaded.items(), 1):
        id_ = name.partition("-")[2]
        target, policy = output / name, checkpoint.policy
        click.echo(
            f"[{number}/{len(sources)}] {policy.provenance.algorithm} on {id_}, {policy.model_bytes:,} bytes",
            err=True,
        )
        with progress.shown(quiet=as_json) as report:
            records = run(
                checkpoint, Comparison(Task(id_), RECIPES, ("c",), episodes, 0), target, os.cpu_count() or 1, report
            )
        rows = summary.rows(records, 0.95)
        write_whole(target / "table.md", table.markdown(rows))
        results[name] = table.to_json(rows)
        if not as_json:
            click.echo(f"\n{name}: {count(episodes, 'episodes')} each, on the compiled C\n\n{table.text(rows)}\n")
    name = min(loaded, key=lambda name: loaded[name].policy.model_bytes)
    click.echo(f"the smallest policy of {name} that keeps 95 %, without training: a minute at most", err=True)
    request = Request(Task(name.partition("-")[2]), within_s=_SHRINK_S, workers=os.cpu_count() or 1, train=False)
    result = shrink(loaded[name], request, output / f"{name}-shrunk", lambda said: click.echo(said, err=True))
    results["shrink"] = to_json(result)
    models = policies.parent / "models"
    if not as_json:
        click.echo(f"\n{result.sentence}\n")
    if (models / MODEL).is_file():
        rows = _model(models, output / "classifier", quiet=as_json)
        results["classifier"] = table.to_json(rows)
        if not as_json:
            said = "\n".join(warnings(rows))
            click.echo(f"\na classifier of digits, on ONNX\n\n{table.text(rows)}\n\n{said}\n")
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        click.echo(f"{time.monotonic() - start:.0f} s; artifacts, records and tables stand in {output}/")


def _model(folder: Path, target: Path, *, quiet: bool) -> "tuple[Row, ...]":
    from lilliput.report import summary, table
    from lilliput.study.compare import Comparison
    from lilliput.study.compare import compare as run
    from lilliput.study.models import MODELS

    click.echo(f"a model that is no policy: {folder / MODEL}", err=True)
    model = MODELS.load(str(folder / MODEL), {"family": "classification"})
    task = Task(f'classification(images="{folder / DIGITS}")')
    with progress.shown(quiet=quiet) as report:
        comparison = Comparison(task, MODEL_RECIPES, ("onnx",), 1 << 30, 0, wing=MODELS.NAME)
        records = run(model, comparison, target, 1, report)
    rows = summary.rows(records, 0.95)
    write_whole(target / "table.md", table.markdown(rows))
    return rows
