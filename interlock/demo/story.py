"""What the demo says of its incidents: when they were noticed, who was left alone, and what recall can prove."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interlock.detectors.recall import interval
from interlock.policies.model import Policy, Slo
from interlock.policies.scalars import show_duration
from interlock.records import Control, Verdict
from interlock.sinks.console import number_text, scope_text, span, when

RATES = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
"""Audit rates that the paragraph on recall considers."""

MOST = 100_000
"""Confirmed events beyond which it says nothing."""

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Incident:
    """What was injected: `times` (ms, sorted) are those of its events, `slo` is which SLO must see it."""

    name: str
    what: str
    slo: str
    offices: str
    times: Sequence[int]


def incidents(records: Path, predictions: Path) -> list[Incident]:
    """Read what was injected, and find its events among the predictions; those without any are left out."""
    found = []
    for record in json.loads(records.read_text("utf-8")):
        offices = ", ".join(record["offices"]) if isinstance(record["offices"], list) else "all offices"
        times = _times(predictions, record["where"])
        found.append(Incident(record["name"], record["what"], record["slo"], offices, times))
    return [incident for incident in found if incident.times]


def _times(predictions: Path, where: Mapping[str, str]) -> list[int]:
    """Return the sorted times of the events whose columns have these values."""
    table: Any = pq.read_table(predictions, columns=["ts", *where])
    compute: Any = pc
    for column, value in where.items():
        table = table.filter(compute.equal(table[column], value))
    return sorted(table["ts"].to_pylist())


def injected(incident: Incident) -> str:
    """Return one line on what was injected, where and when."""
    first, last, count = incident.times[0], incident.times[-1], len(incident.times)
    period = when(first) if count == 1 else f"{when(first)} to {when(last)}"
    events = "1 event" if count == 1 else f"{count:,} events"
    return f"{period}, {incident.offices}, {events}: {incident.what}."


def reactions(incident: Incident, controls: Sequence[Control], obeyed: Mapping[str, str] = NOTHING) -> list[str]:
    """Return lines for each control that its SLO engaged since it began, with the delay in time and in events.

    `obeyed` has what else there is to say of a control, by its id.
    """
    first = incident.times[0]
    own = [control for control in controls if control.slo == incident.slo and control.ts >= first]
    engaged = [control for control in own if control.state == "engaged"]
    told = [(_reaction(incident, control, own), obeyed.get(control.control_id)) for control in engaged]
    return [f"{text},\n{more}." if more else f"{text}." for text, more in told] or [
        "nothing engaged: it went unnoticed."
    ]


def noticed(incident: Incident, control: Control) -> str:
    """Return how long after an incident began a control engaged, in event time and in events."""
    seen = sum(ts <= control.ts for ts in incident.times)
    delay = control.ts - incident.times[0]
    return "on arrival" if delay == 0 else f"{span(delay)} and {seen:,} events after the first injected event"


def _reaction(incident: Incident, control: Control, own: Sequence[Control]) -> str:
    end = next((c for c in own if c.control_id == control.control_id and c.state == "released"), None)
    after = noticed(incident, control)
    return f"{control.mode} for {scope_text(control.scope)}: {after},\n{_ended(incident, control, end)}"


def _ended(incident: Incident, control: Control, end: Control | None) -> str:
    if end is not None:
        return f"released {span(end.ts - incident.times[-1])} after the last"
    return "still in force" + (": only a person ends a kill switch" if control.action == "kill_switch" else "")


def recall_words(verdict: Verdict, policy: Policy) -> str:
    """Return a paragraph on what the OOD recall shows, and whether it can prove its target yet."""
    slo = next(slo for slo in policy.slos if slo.name == verdict.slo)
    counted, rate = verdict.evidence, 0.0 if policy.audits is None else policy.audits.rate
    if verdict.value is None or verdict.lower is None or verdict.upper is None or not rate:
        return f"{verdict.slo} has no value: {counted.get('reason', verdict.state)}."
    return (
        f"{verdict.slo} is {number_text(verdict.value)}, with an interval from {verdict.lower:.2f} to "
        f"{verdict.upper:.2f}; the target is {verdict.target}. In the {show_duration(slo.window_ms)} to "
        f"{when(verdict.window_end)}, {counted['flagged']:,} events were flagged and {counted['reviewed']:,} of them looked at: "
        f"truly unfamiliar {counted['hits']:,}. Of the events not flagged, {counted['audits_due']:,} were drawn for audit "
        f"({rate:.0%}) and {counted['audits_settled']:,} looked at: truly unfamiliar {counted['audited_misses']:,}. "
        f"{_proof(verdict, slo, rate)}"
    )


def _proof(verdict: Verdict, slo: Slo, rate: float) -> str:
    if verdict.lower is None or verdict.upper is None:
        return ""
    bound, weight = slo.target.value, round(1 / rate)
    if verdict.lower >= bound:
        return "The whole interval attains the target: it is proven."
    if verdict.upper < bound:
        return "The whole interval misses the target."
    return (
        f"That does not prove the target: each audited miss stands for {weight}, and misses can hide among the events that "
        f"nobody looked at. {_would(int(verdict.evidence['hits']), bound, rate)}"
    )


def _would(hits: int, bound: float, rate: float) -> str:
    """Return what would have proven the target, had there been no audited miss."""
    needed = next((n for n in _steps(hits) if _lower(n, rate) >= bound), None)
    denser = next((r for r in RATES if r > rate and _lower(hits, r) >= bound), None)
    more = f"About {needed:,} confirmed events without a miss in one window" if needed else "More confirmed events"
    audits = f", or the same {hits:,} with audits of {denser:.0%} of the unflagged," if denser else ""
    return f"{more}{audits} would."


def _steps(hits: int) -> list[int]:
    """Return numbers of confirmed events to try: hundreds, then thousands."""
    return [n for n in (*range(100, 5_000, 100), *range(5_000, MOST, 1_000)) if n > hits]


def _lower(hits: int, rate: float) -> float:
    lower, _ = interval(np.array([hits]), np.zeros((1, 1), np.int64), (rate,))
    return float(lower[0])


def instant(ts: int) -> str:
    """Return a time as ClickHouse reads it."""
    return f"fromUnixTimestamp64Milli({ts}, 'UTC')"


def cell(value: object) -> str:
    """Return a value of a query's answer as text."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(cell(one) for one in value)
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
