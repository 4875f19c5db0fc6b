"""The command line: `interlock COMMAND`, one line per mistake, exit codes that scripts can rely on."""

import os
import sys
from collections.abc import Sequence

import typer

from interlock import __version__
from interlock.commands.audits import audits
from interlock.commands.check import check
from interlock.commands.demo import demo
from interlock.commands.fit import fit
from interlock.commands.kafka import kafka
from interlock.commands.policy import policy
from interlock.commands.replay import replay
from interlock.commands.schema import schema
from interlock.commands.sink import sink
from interlock.commands.topics import topics
from interlock.commands.why import why
from interlock.commands.worker import worker
from interlock.errors import Exhausted, FindingError, Unreachable, UserError

FINDING, WRONG_USE, UNREACHABLE, BUG, AGAIN, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 70, 75, 130, 141

SEVERAL = ("--predictions", "--outcomes", "--abuse")
"""Options that take several files, `--predictions a b c`, as a shell's glob writes them."""

OPTIONAL, TOPIC = "--dead-letters", "-"
"""An option whose value may be left out, and what it means then: their topic."""

POLICY = (".yaml", ".yml")
"""Endings of policy files, which are never files of events: such a file after `--predictions a b` is the policy."""

CODES = ((FindingError, FINDING), (Unreachable, UNREACHABLE), (Exhausted, AGAIN), (UserError, WRONG_USE))
"""Exit codes of our errors; the first that fits."""

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's, of which typer keeps a copy under a name of its own."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Safety SLOs for machine-learning models in production, kept from event to control."
    "\n\nExample: interlock demo",
    epilog="Exit codes: 0 good, 1 a finding, 2 wrong use, 3 a service cannot be reached, 4 undecided, 70 a bug of ours.",
)
for command in (check, demo, fit, replay, schema, topics, why, worker):
    app.command()(command)
app.add_typer(audits, name="audits")
app.add_typer(sink, name="sink")
app.add_typer(kafka, name="kafka")
app.add_typer(policy, name="policy")


@app.command()
def version() -> None:
    """Print the version.

    Example: interlock version
    """
    typer.echo(__version__)


def main() -> None:
    """Run a command; exit 0 good, 1 a finding, 2 wrong use, 3 unreachable, 4 undecided, 70 a bug of ours."""
    try:
        code = _run(spread(sys.argv[1:]))
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    if code == BROKEN_PIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        return int(app(arguments, prog_name="interlock", standalone_mode=False) or 0)
    except SystemExit:
        return BROKEN_PIPE  # so typer and rich end what nobody reads; no command of ours exits like this
    except Exception as error:  # noqa: BLE001 - the last that can say what happened
        return _failed(error)


def _failed(error: Exception) -> int:
    """Say what went wrong, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, UsageError):
        return _say(_usage(error), WRONG_USE)
    for kind, code in CODES:
        if isinstance(error, kind):
            return _say(str(error), code)
    sys.excepthook(type(error), error, error.__traceback__)
    return _say("this is a bug of Interlock: please report it with the lines above", BUG)


def spread(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which `--predictions a b` reads `--predictions a --predictions b`; likewise for the others.

    An option, `--` or a policy file ends such a list.
    """
    spread_out: list[str] = []
    option, first = "", False  # the list that we are in, and whether its first file is still to come
    for i, argument in enumerate(arguments):
        if argument == OPTIONAL and _ends(arguments[i + 1 :]):
            spread_out.append(f"{OPTIONAL}={TOPIC}")
            option = ""
            continue
        if argument == "--":
            return [*spread_out, *arguments[i:]]
        if argument.startswith("-") and argument != "-":
            name, equals, _ = argument.partition("=")
            option, first = (name if name in SEVERAL else ""), not equals
        elif option and not first and not argument.endswith(POLICY):
            spread_out.append(option)
        elif option and first:
            first = False
        else:
            option = ""
        spread_out.append(argument)
    return spread_out


def _ends(rest: Sequence[str]) -> bool:
    """Return whether an option has no value: none follows, or what follows is another option or the policy."""
    return not rest or (rest[0].startswith("-") and rest[0] != TOPIC) or rest[0].endswith(POLICY)


def _usage(error: Exception) -> str:
    """Return one line for a wrong use, or the help where no command was given."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        return str(context.get_help())
    said = str(getattr(error, "format_message", error.__str__)()).replace("\n", " ").strip().rstrip(".")
    where = "" if context is None else f" (see `{context.command_path} --help`)"
    return f"{said}{where}"


def _say(line: str, code: int) -> int:
    typer.echo(line, err=True)
    return code
