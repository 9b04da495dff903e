"""Prints docs/cli.md: every command's help, as the command line prints it. `python docs/cli.py > docs/cli.md`."""

import click

from lilliput.cli import cli


def text() -> str:
    """The page."""
    parts = ["# Command line", "", "Made from `--help` by `python docs/cli.py > docs/cli.md`."]
    for path, command in [((), cli), *_commands(cli, ())]:
        name = " ".join(("lilliput", *path))
        context = click.Context(command, info_name=name, terminal_width=100, **cli.context_settings)
        parts += ["", f"## {name}", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join(parts) + "\n"


def _commands(group: click.Group, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in sorted(group.commands.items()):
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
    return found


if __name__ == "__main__":
    print(text(), end="")
