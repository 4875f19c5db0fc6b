"""What was written, read back as records: from ClickHouse's tables."""

import json
from collections.abc import Mapping
from typing import Any

from interlock.records import Control, Count, Verdict, canonical_json
from interlock.sinks.clickhouse import ClickHouseSink

_TIMES = frozenset({"ts", "window_start", "window_end", "issued_at"})
_TEXTS = frozenset({"scope", "evidence", "parameters"})
_MS = "_ms"
"""Ends the name under which a time is asked for in ms: its own name would hide the column."""


def _columns(names: Mapping[str, object]) -> str:
    return ", ".join(f"toUnixTimestamp64Milli({name}) AS {name}{_MS}" if name in _TIMES else name for name in names)


VERDICTS = f"SELECT {_columns(Verdict.model_fields)} FROM interlock.verdicts FINAL"  # noqa: S608 - our own names
CONTROLS = f"SELECT {_columns(Control.model_fields)} FROM interlock.controls FINAL"  # noqa: S608 - our own names

SAME = "WHERE model = {model:String} AND slo = {slo:String} AND scope = {scope:String}"

_SPANS = {
    False: "pane_start >= {0} AND pane_start < {1}",
    True: "pane_start >= {0} AND pane_start < {2} AND cohort_start >= {0} AND cohort_start < {1}",
}
"""Panes that count between two times (0, 1): by arrival, or by cohort as far as it was known at a third (2)."""

COUNTS = """SELECT series, slice, model_version AS version, cell, toInt64(sum(count)) AS total
FROM interlock.tallies FINAL
WHERE model = {{model:String}} AND splitByChar(' ', series)[1] = {{kind:String}} AND {span}
GROUP BY series, slice, version, cell ORDER BY series, slice, version, cell"""


class StoredTables:
    """Verdicts, controls and counts of a ClickHouse; every method raises Unreachable if it does not answer."""

    def __init__(self, sink: ClickHouseSink) -> None:
        """Read through an open connection, which stays the caller's."""
        self._sink = sink

    def ids(self, prefix: str, most: int) -> list[str]:
        """Return the first ids of verdicts that begin so, sorted."""
        sql = "SELECT DISTINCT verdict_id FROM interlock.verdicts WHERE startsWith(verdict_id, {prefix:String})"
        found = self._sink.ask(sql + " ORDER BY verdict_id LIMIT {most:Int64}", {"prefix": prefix, "most": most})
        return [row["verdict_id"] for row in found]

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Return a verdict by its whole id."""
        found = self._verdicts("WHERE verdict_id = {id:String} ORDER BY ts DESC LIMIT 1", {"id": verdict_id})
        return found[0] if found else None

    def path(self, verdict: Verdict, most: int) -> list[Verdict]:
        """Return the last verdicts of the same SLO and scope up to a verdict, oldest first."""
        until = f"{SAME} AND ts <= fromUnixTimestamp64Milli({{ts:Int64}})"
        values = {"ts": verdict.ts, "most": most} | _scope(verdict)
        return self._verdicts(f"{until} ORDER BY ts DESC, verdict_id DESC LIMIT {{most:Int64}}", values)[::-1]

    def newest(self, verdict: Verdict) -> Verdict:
        """Return the last verdict of the same SLO and scope."""
        found = self._verdicts(f"{SAME} ORDER BY ts DESC, verdict_id DESC LIMIT 1", _scope(verdict))
        return found[0] if found else verdict

    def latest(self) -> list[Verdict]:
        """Return the last verdict of every SLO and scope."""
        return self._verdicts("ORDER BY model, slo, scope, ts DESC, verdict_id DESC LIMIT 1 BY model, slo, scope", {})

    def controls(self) -> list[Control]:
        """Return all transitions of controls, by event time."""
        found = self._sink.ask(f"{CONTROLS} ORDER BY ts, issued_at, epoch, state", {})
        return [Control.model_validate(_fields(row)) for row in found]

    def counts(self, verdict: Verdict, kind: str, start: int, *, cohorts: bool) -> list[Count] | None:
        """Return the counts of a kind of series from `start` (ms) to a verdict's window's end, as it knew them.

        With `cohorts` they are those of predictions made in that time, else of what arrived in it.
        """
        times = ("{start:Int64}", "{end:Int64}", "{said:Int64}")
        span = _SPANS[cohorts].format(*(f"fromUnixTimestamp64Milli({time})" for time in times))
        values = {"model": verdict.model, "kind": kind, "start": start, "end": verdict.window_end, "said": verdict.ts}
        return [Count(*row.values()) for row in self._sink.ask(COUNTS.format(span=span), values)]

    def _verdicts(self, where: str, values: Mapping[str, object]) -> list[Verdict]:
        return [Verdict.model_validate(_fields(row)) for row in self._sink.ask(f"{VERDICTS} {where}", values)]


def _scope(verdict: Verdict) -> dict[str, object]:
    return {"model": verdict.model, "slo": verdict.slo, "scope": canonical_json(verdict.scope)}


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values under the names of a record's fields."""
    named = {name.removesuffix(_MS): value for name, value in row.items()}
    return {name: json.loads(value) if name in _TEXTS else value for name, value in named.items()}
