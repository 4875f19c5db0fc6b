"""The end of the demo: how soon each incident was noticed, what recall can prove, and queries to ClickHouse to try."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock.commands.inputs import read_policy
from interlock.demo.story import Incident, cell, injected, instant, reactions, recall_words
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.console import table
from interlock.streams.replay import Summary

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
class End:
    """What the demo leaves: a policy, a directory of chdb, what it found; `obeyed` says by a control's id how soon."""

    policy: Path
    clickhouse: Path
    summary: Summary
    found: Sequence[Incident]
    obeyed: Mapping[str, str] = field(default_factory=dict)


def tell(screen: Console, end: End) -> None:
    """Print it."""
    heading(screen, "How soon each incident was noticed")
    for incident in end.found:
        item(screen, "-", injected(incident))
        for told in reactions(incident, end.summary.controls, end.obeyed):
            item(screen, "  ->", told)
    screen.print(
        "\nCalibration needs labels: they come after 6 h, and a prediction is judged when it is 8 h old. In the last six "
        "hours of the file only labels come, so the last windows hold fewer of them."
    )
    policy = read_policy(end.policy)
    for verdict in end.summary.latest.values():
        if verdict.slo.startswith("ood_recall"):
            heading(screen, "Can the OOD detector be trusted?")
            screen.print(recall_words(verdict, policy), markup=False)
    with ClickHouseSink.connect(directory=end.clickhouse) as store:
        for incident in end.found:
            if incident.slo.startswith("ood_rate"):
                _others(screen, store, incident)
        _queries(screen, store, end.clickhouse)


def _others(screen: Console, store: ClickHouseSink, incident: Incident) -> None:
    """Show what the other offices' verdicts were from the first injected event to a day after the last."""
    heading(screen, "The other offices, from the first injected code to a day after the last")
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


def _queries(screen: Console, store: ClickHouseSink, directory: Path) -> None:
    heading(screen, f"Everything is in ClickHouse (chdb): {directory}")
    screen.print("Three queries to try, and what they print:")
    for sql in QUERIES:
        screen.print(f"\n{sql}\n", markup=False, style="cyan")
        _answer(screen, store.query(sql))
    screen.print("\nTo ask by yourself:\n")
    screen.print(_by_yourself(directory), markup=False, soft_wrap=True, style="cyan")


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


def item(screen: Console, mark: str, text: str) -> None:
    """Print a text that keeps clear of its mark when it wraps."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(mark, Text(text))
    screen.print(grid)


def heading(screen: Console, text: str) -> None:
    """Print the heading of a section."""
    screen.print(f"\n== {text} ==\n", style="bold", markup=False)
