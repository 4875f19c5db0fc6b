"""What a replay found, as people read it: a table of SLOs and the controls on a time line, within 120 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock.records import Control, Verdict

WIDTH = 120
"""Columns where there is no terminal."""

COLOURS = {
    "met": "green",
    "at_risk": "yellow",
    "breached": "bold red",
    "insufficient": "cyan",
    "unidentified": "magenta",
    "no_data": "dim",
}

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def when(ts: int) -> str:
    """Return event time as text, UTC."""
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _short(times: Sequence[int]) -> str:
    """Return a format for these times: without the year where they share one."""
    years = {datetime.fromtimestamp(ts / 1000, UTC).year for ts in times}
    return "%b %d %H:%M" if len(years) == 1 else "%Y-%m-%d %H:%M"


def _shown(ts: int, form: str) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).strftime(form)


def span(ms: int) -> str:
    """Return a duration as people say it, in its two largest units: `20 min`, `14 h 40 min`, `2 d 22 h`."""
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))
    parts = [(ms // size % (units[i - 1][0] // size if i else ms + 1), name) for i, (size, name) in enumerate(units)]
    first = next((i for i, (n, _) in enumerate(parts) if n), len(parts) - 1)
    shown = [f"{n} {name}" for n, name in parts[first : first + 2] if n]
    return " ".join(shown if first < 2 else shown[:1]) or "0 s"  # noqa: PLR2004 - seconds beside minutes say nothing


def scope_text(scope: Mapping[str, str]) -> str:
    """Return a scope as text."""
    return ", ".join(value if key == "slice" else f"{key} {value}" for key, value in sorted(scope.items())) or "all"


def number_text(value: float | None) -> str:
    """Return a value with the digits that people need, `-` for None."""
    return "-" if value is None else f"{value:.3g}"


def interval_text(lower: float | None, upper: float | None) -> str:
    """Return an interval as text; a side without a bound is `-`."""
    return "-" if lower is None and upper is None else f"{number_text(lower)} to {number_text(upper)}"


def table(title: str, columns: Iterable[str], right: Sequence[str] = ()) -> Table:
    """Return an empty table in our style; the columns of `right` are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    made.pad_edge, made.padding = False, (0, 1, 0, 0)
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in right else "left")
    return made


def verdict_table(latest: Sequence[tuple[Verdict, int]], title: str) -> Table:
    """Return the last verdict of every scope, each with the event time since when its state stands."""
    names = ("SLO", "scope", "target", "value", "interval", "n", "state", "since (UTC)")
    made = table(title, names, right=("value", "n"))
    form = _short([verdict.ts for verdict, _ in latest] + [since for _, since in latest])
    for verdict, since in sorted(latest, key=lambda one: (one[0].model, one[0].slo, sorted(one[0].scope.items()))):
        state = Text(verdict.state, style=COLOURS[verdict.state])
        interval = interval_text(verdict.lower, verdict.upper)
        cells = (verdict.slo, scope_text(verdict.scope), verdict.target, number_text(verdict.value), interval)
        made.add_row(*(Text(cell) for cell in cells), f"{verdict.n:,}", state, _shown(since, form))
    return made


def reasons(latest: Sequence[Verdict]) -> list[str]:
    """Return a line for each verdict that lacks something: what."""
    told = (
        f"{v.slo}, {scope_text(v.scope)}: {v.state}, {v.evidence['reason']}" for v in latest if "reason" in v.evidence
    )
    return sorted(told)


def timeline(controls: Sequence[Control]) -> Table:
    """Return the transitions of controls in order of event time."""
    form = _short([control.ts for control in controls])
    year = _shown(controls[0].ts, " in %Y") if "%Y" not in form else ""
    made = table(f"Controls by event time{year}", ("when (UTC)", "control", "scope", "SLO", "why"))
    for control in controls:
        style = "bold red" if control.state == "engaged" else "green"
        again = f" #{control.epoch}" if control.epoch > 1 else ""
        transition = Text(f"{control.state} {control.mode}{again}", style=style)
        row = (scope_text(control.scope), control.slo, _why(control))
        made.add_row(_shown(control.ts, form), transition, *(Text(cell) for cell in row))
    return made


def _why(control: Control) -> str:
    """Return the cause without what the other columns say."""
    stretch = control.evidence.get("stretch")
    if control.state == "engaged" and isinstance(stretch, dict) and isinstance(stretch.get("value"), float):
        return f"{number_text(stretch['value'])} over a stretch"
    if "is proven to keep" in control.cause:
        return "proven to keep its target"
    return control.cause.removeprefix("never-event ")


def console(*, error: bool = False) -> Console:
    """Return a console as wide as the terminal, or wide enough for tables where there is none."""
    found = Console(stderr=error, highlight=False)
    if not found.is_terminal:
        found.width = WIDTH
    return found
