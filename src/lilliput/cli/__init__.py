"""The command line: each command parses, calls one function and prints."""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import final

import click


@final
class _Commands(MutableMapping[str, click.Command]):
    """The commands, each imported when it is asked for: most of what one of them needs the others do not."""

    def __init__(self, *names: str) -> None:
        self._imported: dict[str, click.Command | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> click.Command:
        found = self._imported[name]
        if found is None:
            found = self._imported[name] = getattr(import_module(f"lilliput.cli.{name}"), name)
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._imported[name] = command

    def __delitem__(self, name: str) -> None:
        del self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._imported)

    def __len__(self) -> int:
        return len(self._imported)


@click.group(
    commands=_Commands("show", "compress", "export", "check", "measure", "compare", "shrink", "study", "train", "demo"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="lilliput")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Make trained reinforcement-learning policies tiny, and prove that they still do their job.

    \b
    lilliput show ppo.zip
    lilliput compare ppo.zip --env HalfCheetah-v4 -r "quantize()" -o results/
    """
