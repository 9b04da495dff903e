"""The command line: each command parses, calls one function and prints."""

import click

from lilliput.cli.check import check
from lilliput.cli.compare import compare
from lilliput.cli.compress import compress
from lilliput.cli.demo import demo
from lilliput.cli.export import export
from lilliput.cli.measure import measure
from lilliput.cli.show import show
from lilliput.cli.shrink import shrink
from lilliput.cli.study import study
from lilliput.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lilliput")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Make trained reinforcement-learning policies tiny, and prove that they still do their job.

    \b
    lilliput show ppo.zip
    lilliput compare ppo.zip --env HalfCheetah-v4 -r "quantize()" -r "prune_units(ratio=0.3)" -o results/
    """


for command in (show, compress, export, check, measure, compare, shrink, study, train, demo):
    cli.add_command(command)
