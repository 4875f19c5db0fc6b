"""The command line: `interlock COMMAND`, one line per mistake, exit codes that scripts can rely on."""

import sys

import click
import typer

from interlock import __version__
from interlock.commands.check import check

from interlock.commands.fit import fit
from interlock.commands.replay import replay
from interlock.commands.schema import schema
from interlock.errors import FindingError, Unreachable, UserError

FINDING, WRONG_USE, UNREACHABLE, BUG = 1, 2, 3, 70

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Safety SLOs for machine-learning models in production, kept from event to control.",
)
for command in (check, fit, replay, schema):
    app.command()(command)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run a command; exit 0 good, 1 a finding, 2 wrong use, 3 unreachable, 4 undecided, 70 a bug of ours."""
    try:
        app()
    except FindingError as error:
        sys.exit(_say(error, FINDING))
    except Unreachable as error:
        sys.exit(_say(error, UNREACHABLE))
    except UserError as error:
        sys.exit(_say(error, WRONG_USE))
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(_say(RuntimeError("this is a bug of Interlock: please report it with the lines above"), BUG))


def _say(error: Exception, code: int) -> int:
    click.echo(str(error), err=True)
    return code


if __name__ == "__main__":
    main()
