"""`interlock replay`: what would this policy have said of last month?"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Told
from interlock.commands.inputs import read_changes, read_mapping, read_policy
from interlock.commands.refeed import Asked, feed_again, write_events
from interlock.errors import UserError
from interlock.policies.model import Policy
from interlock.policies.planning import make_plan
from interlock.sinks.console import console, reasons, timeline, verdict_table, when
from interlock.streams.outputs import Outputs
from interlock.streams.replay import Inputs, Summary, load_reference
from interlock.streams.replay import replay as run

SECRET = "INTERLOCK_AUDIT_SECRET"  # noqa: S105 - the name of the variable, not a secret


def replay(  # noqa: PLR0913, PLR0917 - the options of a command
    policy: Annotated[
        Path | None, typer.Argument(metavar="POLICY", help="Policy file; not with --dead-letters back to Kafka.")
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Prediction events; one or more files.")
    ] = None,
    outcomes: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Outcomes; one or more files.")] = None,
    abuse: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Abuse reports; one or more files.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the outputs.")] = Path("out/replay"),
    field_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="YAML: our field names to yours.")
    ] = None,
    sort: Annotated[
        bool,
        typer.Option("--sort", help="Order each topic's events by ts, in memory; else files are read as they are."),
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--policy-change", metavar="FILE@TIME", help="A policy that follows from a time on; repeatable."),
    ] = None,
    clickhouse: Annotated[bool, typer.Option(help="Also write a ClickHouse (chdb) directory.")] = True,
    dead_letters: Annotated[
        Path | None,
        typer.Option(metavar="[FILE]", help="Feed dead letters again: of a file, or without FILE of their topic."),
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send them back to their topics; else it only says what it would do.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also send those that cannot be read yet, as they are.")
    ] = False,
    settings: File = None,
    sets: Sets = None,
) -> None:
    """Run history through a policy; or feed dead letters again.

    It writes verdicts, controls, audits that are due and dead letters as JSON lines, and a ClickHouse (chdb) directory. Exit code 1 if anything breached, 4 if nothing did but something is unknown, else 0. With --dead-letters and no POLICY, the events of dead letters go back to their topics in Kafka, each once however often it is repeated; exit code 1 if some could not.

    Example: interlock replay policy.yaml --predictions june/*.parquet
    """
    kafka = Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings)
    letters = None if dead_letters is None else Asked(dead_letters, kafka, field_map, send, anyway, policy is None)
    if policy is None:
        feed_again(letters)
        return
    if send or anyway:
        raise UserError("--send and --anyway bring dead letters back to Kafka, where no POLICY is given")
    files = {"predictions": predictions or [], "outcomes": outcomes or [], "abuse": abuse or []}
    if not any(files.values()) and letters is None:
        raise UserError("what is to be replayed? Give --predictions, or --dead-letters")
    refed = {} if letters is None else write_events(letters, read_policy(policy), out)
    summary = run_files(policy, files, out, How(field_map, clickhouse, sort=sort, changes=changes or (), refed=refed))
    show(summary)
    console().print(f"Written: {_written(out, clickhouse)}", soft_wrap=True)
    raise typer.Exit(summary.exit_code())


@dataclass(frozen=True, slots=True)
class How:
    """How to replay: a field mapping, whether to write ClickHouse, the audit secret (None: from the environment).

    `events` is how many there are, for the progress bar; None: nobody knows. `sort`: each topic's events by their `ts`.
    `changes`: policies that follow, FILE@TIME.
    """

    field_map: Path | None = None
    clickhouse: bool = True
    secret: bytes | None = None
    events: int | None = None
    sort: bool = False
    changes: Sequence[str] = ()
    refed: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """Files of events in our names that come after those of their topic: dead letters that are fed again."""


def run_files(policy: Path, files: dict[str, list[Path]], out: Path, how: How = How()) -> Summary:
    """Replay files by a policy file into a folder, with a progress bar on a terminal."""
    loaded = read_policy(policy)
    changes = read_changes(loaded, how.changes, "--policy-change")
    mapping = read_mapping(how.field_map)
    reference = load_reference(loaded, policy.parent)
    secret = audit_secret(loaded) if how.secret is None else how.secret
    missing = next((path for paths in files.values() for path in paths if not path.exists()), None)
    if missing is not None:
        raise UserError(f"{missing}: no such file")
    inputs = Inputs(files, int(time.time() * 1000), mapping, secret, how.sort, changes, how.refed)  # noqa: TID251 - a driver: when the files were read
    with Outputs(out, make_plan(loaded, changes), clickhouse=how.clickhouse) as outputs, _progress() as bar:
        task = bar.add_task("replaying", total=how.events)
        return run(loaded, reference, inputs, outputs, lambda events: bar.update(task, completed=events))


def audit_secret(policy: Policy) -> bytes:
    """Return the audit secret of the environment; say so when there is none and one is needed."""
    secret = os.environ.get(SECRET, "").encode()
    warn_of_no_secret(policy, secret)
    return secret


def warn_of_no_secret(policy: Policy, secret: bytes) -> None:
    """Say that audits are chosen without a secret, where any are chosen."""
    if policy.audits is not None and not secret:
        typer.echo(f"warning: {SECRET} is not set: whoever chooses event ids can tell which are audited", err=True)


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} events"),
    )
    screen = console(error=True)
    return Progress(*columns, TimeElapsedColumn(), console=screen, transient=True, disable=not screen.is_terminal)


def show(summary: Summary) -> None:
    """Print what a replay found."""
    screen = console()
    latest = [(verdict, summary.since[key]) for key, verdict in summary.latest.items()]
    end = max((verdict.ts for verdict, _ in latest), default=0)
    screen.print(verdict_table(latest, f"SLOs at {when(end)} UTC") if latest else "No verdicts.")
    for line in reasons([verdict for verdict, _ in latest]):
        screen.print(f"  {line}", markup=False, soft_wrap=True)
    if summary.controls:
        screen.print()
        screen.print(timeline(summary.controls))
    counted = ", ".join(f"{name} {n:,}" for name, n in sorted(summary.counters.items()) if n)
    screen.print(f"\nCounted: {counted or 'nothing'}", soft_wrap=True)


def _written(out: Path, clickhouse: bool) -> str:
    names = [
        "verdicts.jsonl",
        "control.jsonl",
        "audits.jsonl",
        "dead-letters.jsonl",
        *(["clickhouse/"] if clickhouse else []),
    ]
    return f"{out}/{{{','.join(names)}}}"
