"""`interlock demo`: a month of real predictions with three injected incidents, and what Interlock made of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from interlock.commands.fit import fit
from interlock.commands.replay import SECRET, How, run_files, show
from interlock.demo.answers import End, heading, item, tell
from interlock.demo.events import Folder, Spans, prepare, read_days
from interlock.demo.processes import interruptible
from interlock.demo.story import Incident, incidents, injected
from interlock.sinks.console import console

PUBLIC_SECRET = "interlock-demo"  # noqa: S105 - public on purpose, and said to be so
"""Which events are audited must be the same on every machine that runs the demo."""


INTERRUPTED = 130
"""Exit code of what Ctrl-C has ended."""


def demo(
    offline: Annotated[bool, typer.Option("--offline", help="Replay files: no Kafka, nobody obeys.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for events and outputs.")] = Path("out/demo"),
    days: Annotated[str, typer.Option(metavar="DAYS", help="Only these of its 30 days, such as 9,21,27-28.")] = "",
) -> None:
    """Run real predictions with three injected incidents.

    They go through a real Kafka, on this machine alone: a worker judges them, a guard obeys, pages go out; then all of it is compared with a replay. It must run in a checkout of Interlock, takes two minutes, and downloads Apache Kafka (45 MB) the first time.

    Example: interlock demo
    """
    try:
        with interruptible():
            _demo(out, read_days(days), offline=offline)
    except KeyboardInterrupt:
        typer.echo("demo: interrupted; everything that it had started is stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _demo(out: Path, spans: Spans, *, offline: bool) -> None:
    folder, screen = Folder(out, is_cut=bool(spans)), console()
    prepare(folder, spans)
    found = incidents(folder.events / "incidents.json", folder.predictions)
    _say_what_comes(screen, folder, found)
    secret = _learn(screen, folder)
    if offline:
        summary = run_files(folder.policy, folder.files, out, How(secret=secret.encode(), events=folder.total()))
        end = End(folder.policy, out / "clickhouse", summary, found)
    else:
        from interlock.demo.run import run  # noqa: PLC0415 - Kafka and its like take a second to load

        end = run(screen, folder, found, secret)
    heading(screen, "What Interlock says")
    show(end.summary)
    tell(screen, end)
    where = f"{out}/{{verdicts,control,dead-letters}}.jsonl" if offline else f"{folder.live}, {folder.replay}"
    screen.print(f"\nVerdicts and controls as JSON lines: {where}", markup=False, soft_wrap=True)


def _say_what_comes(screen: Console, folder: Folder, found: Sequence[Incident]) -> None:
    heading(screen, "The traffic")
    people = int(pq.read_metadata(folder.predictions).num_rows)
    screen.print(
        f"{people:,} people of the US census (Massachusetts, 2016-2018) with the predictions of a real model, laid over "
        f"{'some of ' if folder.is_cut else ''}30 days and eight offices; true labels come six hours after. "
        f"{len(found)} incidents were injected:"
    )
    for incident in found:
        item(screen, "-", injected(incident))


def _learn(screen: Console, folder: Folder) -> str:
    """Fit a reference on 2015; return the secret by which audits are chosen."""
    heading(screen, "The reference, from 68,785 people of 2015")
    past = folder.events
    fit([past / "reference-predictions.parquet"], folder.out / "census.ref", [past / "reference-outcomes.parquet"])
    secret = os.environ.get(SECRET, "")
    if not secret:
        screen.print(f"audits      chosen with a public secret, for the demo only; {SECRET} sets your own")
    return secret or PUBLIC_SECRET
