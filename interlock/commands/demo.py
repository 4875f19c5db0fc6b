"""`interlock demo`: a month of real predictions with three injected incidents, and what Interlock made of them."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock.commands.demo_story import Incident, cell, incidents, injected, instant, reactions, recall_words
from interlock.commands.fit import fit
from interlock.commands.inputs import read_policy
from interlock.commands.replay import SECRET, How, run_files, show
from interlock.errors import UserError
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.console import console, table
from interlock.streams.replay import Summary

EXAMPLE = Path("examples") / "census"

PUBLIC_SECRET = "interlock-demo"  # noqa: S105 - public on purpose, and said to be so
"""Which events are audited must be the same on every machine that runs the demo."""

QUERIES = (
    """SELECT slo, JSONExtractString(scope, 'slice') AS slice, mode, engaged_at, released_at
FROM interlock.v_incidents ORDER BY engaged_at, slice""",
    """SELECT day, events, flagged, round(100 * flagged / scored, 1) AS percent, labels
FROM interlock.v_daily WHERE slice = 'office=springfield' AND day BETWEEN '2026-10-25' AND '2026-10-29' ORDER BY day""",
    """SELECT model_version AS version, sum(n) AS labels, round(sum(n * mean_score) / sum(n), 3) AS said,
  round(sum(n * observed) / sum(n), 3) AS was_true
FROM interlock.v_calibration WHERE mean_score >= 0.9 GROUP BY version ORDER BY version""",
)
"""What was done; a slice by day; what became of scores of .9 and more, per version."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the demo keeps its files."""

    out: Path

    @property
    def events(self) -> Path:
        """The event files, and what was injected into them."""
        return self.out / "events"

    @property
    def policy(self) -> Path:
        """The example's policy, beside the reference that it names."""
        return self.out / "policy.yaml"

    @property
    def clickhouse(self) -> Path:
        """The directory of chdb."""
        return self.out / "clickhouse"


def demo(
    offline: Annotated[bool, typer.Option("--offline", help="Replay files; the only way there is so far.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for events and outputs.")] = Path("out/demo"),
) -> None:
    """Replay real predictions with injected incidents.

    A month of real predictions, three incidents, and what was noticed of them. It must run in a checkout of Interlock, where examples/census lies, and takes less than a minute.

    Example: interlock demo --offline
    """
    example = _example()
    if not offline:
        typer.echo("The live demo on Kafka comes with the worker; this one replays files (as with --offline).\n")
    folder, screen = Folder(out), console()
    _prepare(example, folder)
    found = incidents(folder.events / "incidents.json", folder.events / "predictions.parquet")
    _say_what_comes(screen, found)
    summary = _run(folder, screen)
    _heading(screen, "What Interlock says")
    show(summary)
    _tell(screen, folder, summary, found)


def _example() -> Path:
    """Return the example's folder; UserError if this is not a checkout."""
    if not (EXAMPLE / "prepare.py").is_file():
        raise UserError(f"{EXAMPLE}/prepare.py is not here: run `interlock demo` in a checkout of Interlock")
    return EXAMPLE


def _prepare(example: Path, folder: Folder) -> None:
    """Write the event files by the example's own script, and put the policy beside the reference that it names."""
    command = [sys.executable, str(example / "prepare.py"), str(folder.events)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    if made.returncode:
        raise UserError(f"{example}/prepare.py failed: {(made.stderr.strip() or 'no reason given').splitlines()[-1]}")
    shutil.copyfile(example / "policy.yaml", folder.policy)


def _say_what_comes(screen: Console, found: Sequence[Incident]) -> None:
    _heading(screen, "The traffic")
    screen.print(
        "208,892 people of the US census (Massachusetts, 2016-2018) with the predictions of a real model, laid over 30 days "
        "and eight offices; true labels come six hours after. Three incidents were injected:"
    )
    for incident in found:
        _item(screen, "-", injected(incident))


def _run(folder: Folder, screen: Console) -> Summary:
    """Fit a reference on 2015, then replay 2016 to 2018."""
    _heading(screen, "The reference, from 68,785 people of 2015")
    past, events = folder.events / "reference-predictions.parquet", folder.events / "predictions.parquet"
    fit([past], folder.out / "census.ref", [folder.events / "reference-outcomes.parquet"])
    secret = os.environ.get(SECRET, "")
    if not secret:
        screen.print(f"audits      chosen with a public secret, for the demo only; {SECRET} sets your own")
    files = {"predictions": [events], "outcomes": [folder.events / "outcomes.parquet"]}
    total = sum(int(pq.read_metadata(path).num_rows) for paths in files.values() for path in paths)
    how = How(secret=(secret or PUBLIC_SECRET).encode(), events=total)
    return run_files(folder.policy, files, folder.out, how)


def _tell(screen: Console, folder: Folder, summary: Summary, found: Sequence[Incident]) -> None:
    _heading(screen, "How soon each incident was noticed")
    for incident in found:
        _item(screen, "-", injected(incident))
        for told in reactions(incident, summary.controls):
            _item(screen, "  ->", told)
    screen.print(
        "\nCalibration needs labels: they come after 6 h, and a prediction is judged when it is 8 h old. In the last six "
        "hours of the file only labels come, so the last windows hold fewer of them."
    )
    policy = read_policy(folder.policy)
    for verdict in summary.latest.values():
        if verdict.slo.startswith("ood_recall"):
            _heading(screen, "Can the OOD detector be trusted?")
            screen.print(recall_words(verdict, policy), markup=False)
    with ClickHouseSink.connect(directory=folder.clickhouse) as store:
        _others(screen, store, found[-1])
        _queries(screen, store, folder)


def _others(screen: Console, store: ClickHouseSink, incident: Incident) -> None:
    """Show what the other offices' verdicts were from the first injected event to a day after the last."""
    _heading(screen, "The other offices, from the first injected code to a day after the last")
    start, end = instant(incident.times[0]), instant(incident.times[-1] + 86_400_000)
    rows = store.query(f"""
        SELECT JSONExtractString(scope, 'slice') AS slice, count() AS verdicts, groupUniqArray(state) AS states,
          max(value) AS highest_rate, max(upper) AS highest_upper_end
        FROM interlock.verdicts FINAL
        WHERE slo = '{incident.slo}' AND ts BETWEEN {start} AND {end} AND position(scope, '{incident.offices}') = 0
        GROUP BY slice ORDER BY slice""")  # noqa: S608 - our own names
    _answer(screen, rows)
    if all(row["states"] == ["met"] for row in rows):
        screen.print(f"Each kept its target throughout: only {incident.offices} went to human review.", markup=False)


def _queries(screen: Console, store: ClickHouseSink, folder: Folder) -> None:
    _heading(screen, f"Everything is in ClickHouse (chdb): {folder.clickhouse}")
    screen.print("Three queries to try, and what they print:")
    for sql in QUERIES:
        screen.print(f"\n{sql}\n", markup=False, style="cyan")
        _answer(screen, store.query(sql))
    screen.print("\nTo ask by yourself:\n")
    screen.print(_by_yourself(folder.clickhouse), markup=False, soft_wrap=True, style="cyan")
    screen.print("\nVerdicts, controls and dead letters as JSON lines: ", end="")
    screen.print(f"{folder.out}/{{verdicts,control,dead-letters}}.jsonl", markup=False, soft_wrap=True)


def _answer(screen: Console, rows: Sequence[dict[str, object]]) -> None:
    """Print the answer of a query."""
    names = list(rows[0]) if rows else ["(no rows)"]
    numbers = [name for name in names if rows and isinstance(rows[0][name], int | float)]
    shown: Table = table("", names, right=numbers)
    shown.title = None
    for row in rows:
        shown.add_row(*(Text(cell(value)) for value in row.values()))
    screen.print(shown)


def _by_yourself(directory: Path) -> str:
    """Return a shell command that asks the directory a question."""
    asked = ", ".join(
        json.dumps(text) for text in ("SELECT slo, scope, state, value FROM interlock.v_slo_now", "Pretty")
    )
    script = f"import chdb; print(chdb.query({asked}, path={json.dumps(str(directory))}))"
    return f"{_python()} -c {shlex.quote(script)}"


def _python() -> str:
    """Return the interpreter as one would type it here."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _item(screen: Console, mark: str, text: str) -> None:
    """Print a text that keeps clear of its mark when it wraps."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(mark, Text(text))
    screen.print(grid)


def _heading(screen: Console, text: str) -> None:
    screen.print(f"\n== {text} ==\n", style="bold", markup=False)
