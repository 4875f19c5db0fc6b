"""`interlock replay`: what would this policy have said of last month?"""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from interlock.commands.inputs import read_mapping, read_policy
from interlock.errors import UserError
from interlock.policies.plan import make_plan
from interlock.sinks.console import console, timeline, verdict_table
from interlock.streams.outputs import Outputs
from interlock.streams.replay import Inputs, Summary, load_reference
from interlock.streams.replay import replay as run

SECRET = "INTERLOCK_AUDIT_SECRET"  # noqa: S105 - the name of the variable, not a secret

Files = Annotated[list[Path] | None, typer.Option(metavar="FILE")]


def replay(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    predictions: Annotated[list[Path], typer.Option(metavar="FILE", help="Prediction events; give it once per file.")],
    outcomes: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Outcome events.")] = None,
    abuse: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Abuse reports.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the outputs.")] = Path("out/replay"),
    field_map: Annotated[Path | None, typer.Option("--map", metavar="FILE", help="Names of your fields.")] = None,
    clickhouse: Annotated[bool, typer.Option(help="Also write a ClickHouse (chdb) directory.")] = True,
) -> None:
    """Run history through a policy: verdicts, controls and dead letters as JSON lines, and a ClickHouse directory.

    Exit code 1 if anything breached, 4 if nothing did but something is unknown, else 0.

    Example: interlock replay policy.yaml --predictions june.parquet --outcomes labels.csv --out out/june
    """
    files = {"predictions": predictions, "outcomes": outcomes or [], "abuse": abuse or []}
    summary = run_files(policy, files, out, (field_map, clickhouse))
    show(summary, out)
    raise typer.Exit(summary.exit_code())


def run_files(
    policy: Path, files: dict[str, list[Path]], out: Path, how: tuple[Path | None, bool] = (None, True)
) -> Summary:
    """Replay files by a policy file into a folder, with a progress bar on a terminal."""
    loaded = read_policy(policy)
    mapping, clickhouse = read_mapping(how[0]), how[1]
    reference = load_reference(loaded, policy.parent)
    secret = os.environ.get(SECRET, "").encode()
    if loaded.audits is not None and not secret:
        typer.echo(f"warning: {SECRET} is not set: whoever chooses event ids can tell which events are audited", err=True)
    missing = next((path for paths in files.values() for path in paths if not path.exists()), None)
    if missing is not None:
        raise UserError(f"{missing}: no such file")
    inputs = Inputs(files, int(time.time() * 1000), mapping, secret)
    with Outputs(out, make_plan(loaded), clickhouse=clickhouse) as outputs, _progress() as bar:
        task = bar.add_task("replaying", total=None)
        return run(loaded, reference, inputs, outputs, lambda events: bar.update(task, completed=events))


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} events"))
    return Progress(*columns, TimeElapsedColumn(), console=console(error=True), transient=True)


def show(summary: Summary, out: Path) -> None:
    """Print what a replay found."""
    screen = console()
    latest = [(summary.latest[key], summary.since[key]) for key in summary.latest]
    screen.print(verdict_table(latest, "Verdicts at the end"))
    if summary.controls:
        screen.print(timeline(summary.controls))
    counted = ", ".join(f"{name} {n:,}" for name, n in sorted(summary.counters.items()) if n)
    screen.print(f"Counted: {counted or 'nothing'}")
    screen.print(f"Written: {out}/verdicts.jsonl, control.jsonl, dead-letters.jsonl, clickhouse/")
