"""What a replay found, as people read it: a table of SLOs and the controls on a time line."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from interlock.records import Control, Verdict

COLOURS = {
    "met": "green",
    "at_risk": "yellow",
    "breached": "bold red",
    "insufficient": "cyan",
    "unidentified": "magenta",
    "no_data": "dim",
}


def when(ts: int) -> str:
    """Return event time as text, UTC."""
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def scope_text(scope: Mapping[str, str]) -> str:
    """Return a scope as text."""
    return ", ".join(value if key == "slice" else f"{key} {value}" for key, value in sorted(scope.items())) or "all"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def verdict_table(latest: Sequence[tuple[Verdict, int]], title: str) -> Table:
    """Return the last verdict of every scope, each with the event time since when its state stands."""
    table = Table(title=title, title_justify="left")
    for name in ("SLO", "scope", "target", "value", "interval", "n", "state", "since", "why"):
        table.add_column(name, overflow="fold", justify="right" if name in ("value", "n") else "left")
    for verdict, since in latest:
        span = "-" if verdict.lower is None else f"{_number(verdict.lower)} to {_number(verdict.upper)}"
        state = f"[{COLOURS[verdict.state]}]{verdict.state}[/]"
        why = str(verdict.evidence.get("reason", ""))
        cells = (verdict.slo, scope_text(verdict.scope), verdict.target, _number(verdict.value), span, str(verdict.n))
        table.add_row(*cells, state, when(since), why)
    return table


def timeline(controls: Sequence[Control]) -> Table:
    """Return the transitions of controls in order of event time."""
    table = Table(title="Controls (event time, UTC)", title_justify="left")
    for name in ("when", "transition", "mode", "scope", "SLO", "epoch", "cause"):
        table.add_column(name, overflow="fold")
    for control in controls:
        colour = "bold red" if control.state == "engaged" else "green"
        scope = scope_text(control.scope)
        row = (control.mode, scope, control.slo, str(control.epoch), control.cause)
        table.add_row(when(control.ts), f"[{colour}]{control.state}[/]", *row)
    return table


def console(*, error: bool = False) -> Console:
    """Return a console as wide as the terminal, or wide enough for tables where there is none."""
    found = Console(stderr=error, highlight=False)
    if not found.is_terminal:
        found.width = 160
    return found
