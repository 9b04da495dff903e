"""Options and arguments that several commands share, each defined once."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

source = click.argument("source", type=click.Path(exists=True, path_type=Path))
_READING = {
    "normalizer": click.option(
        "--normalizer",
        type=click.Path(exists=True, path_type=Path),
        help="The observation statistics, where they do not stand beside the source: vecnormalize.pkl, .npz or .json.",
    ),
    "output": click.option(
        "--output", metavar="NAME", help="Which output of an ONNX file is the action, where its name does not tell."
    ),
    "action": click.option(
        "--action",
        type=click.Choice(["discrete", "continuous"]),
        help="Whether an ONNX file gives a number a choice (logits, Q-values) or the action itself.",
    ),
}


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of how its source is read, which it gets together: keywords of `load_policy`."""

    @functools.wraps(command)
    def with_reading(**given: Any) -> None:
        command(reading={name: given.pop(name) for name in _READING}, **given)

    for one in reversed(_READING.values()):
        with_reading = one(with_reading)
    return with_reading


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
force = click.option("--force", is_flag=True, help="Replace an output that exists.")
seed = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Everything random follows from it."
)
out = click.option("-o", "--out", "out", required=True, type=click.Path(path_type=Path), help="Where to write.")
environment = click.option(
    "--env", "environment", help="The Gymnasium id, such as HalfCheetah-v4; default: what the source names."
)
environment_kwargs = click.option(
    "--env-kwargs", "environment_kwargs", default="{}", show_default=True, help="Its arguments, as JSON."
)
format_ = click.option(
    "--format", "format_", type=click.Choice(["onnx", "c"]), default="c", show_default=True, help="What is exported."
)
