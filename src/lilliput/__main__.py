"""`python -m lilliput`, and the one place where an error becomes a line on stderr and an exit code."""

import sys
import traceback

import click

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.foreign_text import printable


def main() -> None:
    """Run the command line: exit 0, 1 for an error that the user can put right, 2 for usage, 130 when interrupted."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.UsageError as error:
        more = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
        click.echo(f"Error: {printable(error.format_message())}{more}", err=True)
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (LilliputError, OSError) as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        click.echo(f"Error: {printable(str(error))}", err=True)
        code = 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: what was finished is kept; the same command goes on from there.", err=True)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
