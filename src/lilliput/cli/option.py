"""Options and arguments that several commands share, each defined once."""

import os
from pathlib import Path
from typing import Any, final

import click

from lilliput.cli.format_name import FormatName


@final
class _Source(click.Path):
    """A file or a folder; or, where none is called so, what only a model can be: a hub id, a name of a library."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not Path(value).exists():
            from lilliput.models.load import is_named

            if is_named(str(value)):
                return Path(value)
        return super().convert(value, param, ctx)


source = click.argument("source", type=_Source(exists=True, path_type=Path))
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
force = click.option("--force", is_flag=True, help="Replace an output that exists.")
seed = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Everything random follows from it."
)


def _placed(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del context, parameter
    if value is not None:
        from lilliput.models.device import DEVICE, device

        os.environ[DEVICE] = value
        device()


device = click.option(
    "--device",
    metavar="NAME",
    expose_value=False,
    callback=_placed,
    help="Of language models: where torch computes, cpu or cuda [default: cpu, or what LILLIPUT_DEVICE names].",
)
keep = click.option(
    "--keep",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the return to keep.",
)
out = click.option("-o", "--out", "out", required=True, type=click.Path(path_type=Path), help="Where to write.")
environment = click.option(
    "--env", "environment", help="The Gymnasium id, such as HalfCheetah-v4; default: what the source names."
)
environment_kwargs = click.option(
    "--env-kwargs", "environment_kwargs", default="{}", show_default=True, help="Its arguments, as JSON."
)
observations = click.option(
    "--observations",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Raw observations to calibrate on instead of episodes, such as a robot's log: .npz, .npy or .csv. Where there "
    "is no environment, the actions on them are compared.",
)
format_ = click.option(
    "--format", "format_", type=FormatName(), default="c", show_default=True, help="What is exported."
)
max_steps = click.option(
    "--max-steps",
    default=100_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Cut an episode after so many steps, on top of the environment's own limit.",
)
