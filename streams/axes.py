"""The order in which an SLO's panes are judged: by arrival, or by the age of their predictions' labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from interlock.policies.context import Context
from interlock.policies.machine import Machine, Moment, Said
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine

from interlock.streams.tally import CELL, COHORT, COUNT, PANE, SERIES, SLICE, VERSION, Exemplar, Ints

NOTHING: dict[str, Ints] = {}


@dataclass(frozen=True, slots=True)
class Rows:
    """Counts of whole ticks, int64[7, n], with what version and slice codes stand for, and causing events."""

    table: Ints
    versions: Sequence[str]
    slices: Sequence[str]
    exemplars: Sequence[Exemplar] = ()


@dataclass(slots=True)
class Feed:
    """Rows of some series, put into an SLO's panes."""

    places: tuple[int, ...]
    ratio: int
    parts: dict[int, list[tuple[Ints, Rows]]] = field(default_factory=dict)
    causes: dict[int, list[Exemplar]] = field(default_factory=dict)

    def put(self, rows: Rows) -> None:
        """Add rows; a pane may come in several parts."""
        mine = rows.table[:, np.isin(rows.table[SERIES], self.places)]
        pane = mine[PANE] // self.ratio
        order = np.argsort(pane, kind="stable")
        mine, pane = mine[:, order], pane[order]
        starts = np.flatnonzero(np.diff(pane, prepend=pane[:1] - 1)).tolist()
        for start, end in pairwise([*starts, len(pane)]):
            self.parts.setdefault(int(pane[start]), []).append((mine[:, start:end], rows))
        for one in rows.exemplars:
            if one.series in self.places:
                self.causes.setdefault(one.pane // self.ratio, []).append(one)

    def next(self, pane: int) -> int | None:
        """Return the first pane from here on that has rows."""
        return min((p for p in self.parts if p >= pane), default=None)

    def take(self, pane: int) -> list[tuple[Ints, Rows]]:
        """Take out the rows of a pane."""
        return self.parts.pop(pane, [])


def by_slice(parts: Sequence[tuple[Ints, Rows]], machine: Machine | P95Machine) -> dict[str, Ints]:
    """Return the counts of each slice, int64[width]."""
    found: dict[str, Ints] = {}
    for table, rows in parts:
        cells, places = np.unique(table[CELL], return_inverse=True)
        columns = np.array([machine.measure.column(int(cell)) for cell in cells], np.int64)[places]
        codes, row = np.unique(table[SLICE], return_inverse=True)
        counts = np.zeros((len(codes), machine.measure.width), np.int64)
        np.add.at(counts, (row, columns), table[COUNT])
        for code, count in zip(codes.tolist(), counts, strict=True):
            name = rows.slices[code]
            found[name] = found[name] + count if name in found else count
    return found


def margin(context: Context) -> int:
    """Return after how many empty panes an SLO can change no more, so that empty time may be jumped over."""
    return max(context.window_panes, context.stale_panes) + context.block + context.maturity_panes


class ArrivalAxis:
    """Judges by arrival pane: what needs no labels."""

    def __init__(self, machine: Machine, places: tuple[int, ...], ratio: int) -> None:
        """Start before the model's first pane."""
        self.machine, self.feed = machine, Feed(places, ratio)
        self._next: int | None = None
        self._busy = 0

    def put(self, predictions: Rows, joined: Rows) -> None:  # noqa: ARG002 - labels are not waited for
        """Take in counts."""
        self.feed.put(predictions)

    def advance(self, start: int, through: int, joined: int) -> list[Said]:  # noqa: ARG002 - see put
        """Judge the panes that ticks up to `through` complete; `start` is the model's first tick."""
        if self._next is None:
            self._next = self._busy = start // self.feed.ratio
        said = []
        last = (through + 1) // self.feed.ratio - 1
        while self._next <= last:
            pane = self._next
            if pane not in self.feed.parts and pane > self._busy + margin(self.machine.context):
                ahead = self.feed.next(pane)
                self._next = last + 1 if ahead is None else min(ahead, last + 1)
                continue
            said += self._step(pane)
            self._next += 1
        return said

    def _step(self, pane: int) -> list[Said]:
        parts = self.feed.take(pane)
        slices = by_slice(parts, self.machine) if parts else NOTHING
        self._busy = pane if parts else self._busy
        self.machine.judge(pane, slices)
        explain(self.machine, pane, self.feed.causes.pop(pane, []))
        boundary = (pane + 1) % self.machine.context.block == 0
        return [self.machine.conclude(Moment(pane, pane))] if parts or boundary or self.machine.changes else []


def explain(machine: Machine, pane: int, causes: Sequence[Exemplar]) -> None:
    """Hand causing events to a machine."""
    for one in sorted(causes):
        machine.explain(pane, one.slice, [(one.key, one.event_id, one.reason)])


@dataclass(slots=True)
class Cohort:
    """What is known of one pane's predictions: counts by slice, and which version made how many."""

    slices: dict[str, Ints] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, slices: Mapping[str, Ints]) -> None:
        """Add counts."""
        for name, row in slices.items():
            self.slices[name] = self.slices[name] + row if name in self.slices else row

    def leader(self) -> str | None:
        """Return the version with most predictions, the smallest name of equals."""
        return min(self.versions, key=lambda v: (-self.versions[v], v), default=None)


class CohortAxis:
    """Judges by cohort pane, in order: when all its labels are in, or at the age of maturity (VERDICTS.md §1)."""

    def __init__(self, machine: Machine | P95Machine, places: tuple[int, ...], ratio: int) -> None:
        """Start before the model's first pane."""
        self.machine = machine
        self.made, self.joined = Feed(places, ratio), Feed(places, ratio)
        self.cohorts: dict[int, Cohort] = {}
        self.past_maturity = 0
        self._next: int | None = None
        self._cohort = self._busy = 0

    def put(self, predictions: Rows, joined: Rows) -> None:
        """Take in counts of both chains."""
        self.made.put(predictions)
        self.joined.put(joined)

    def advance(self, start: int, through: int, joined: int) -> list[Said]:  # noqa: ARG002 - labels set the pace
        """Judge what the joined ticks up to `joined` settle; `start` is the model's first tick."""
        ratio = self.made.ratio
        if self._next is None:
            self._next = self._cohort = self._busy = start // ratio
        said = []
        last = (joined + 1) // ratio - 1
        while self._next <= last:
            pane = self._next
            if self._resting(pane):
                ahead = min((p for p in (self.made.next(pane), self.joined.next(pane)) if p is not None), default=last + 1)
                self._next = self._cohort = min(ahead, last + 1)
                continue
            said += self._step(pane)
            self._next += 1
        return said

    def _resting(self, pane: int) -> bool:
        quiet = pane not in self.made.parts and pane not in self.joined.parts and not self.cohorts
        return quiet and pane > self._busy + margin(self.machine.context)

    def _step(self, pane: int) -> list[Said]:
        made, joined = self.made.take(pane), self.joined.take(pane)
        self._busy = pane if made or joined else self._busy
        if made:
            self._predicted(pane, made)
        for table, rows in joined:
            self._labelled(table, rows)
        judged = self._judge(pane)
        boundary = (pane + 1) % self.machine.context.block == 0
        return [self.machine.conclude(Moment(pane, self._cohort - 1))] if judged or boundary else []

    def _predicted(self, pane: int, parts: Sequence[tuple[Ints, Rows]]) -> None:
        slices = by_slice(parts, self.machine)
        cohort = self.cohorts.setdefault(pane, Cohort())
        cohort.add(slices)
        self.machine.seen(pane, slices)
        for table, rows in parts:
            for code, n in zip(table[VERSION].tolist(), table[COUNT].tolist(), strict=True):
                version = rows.versions[code]
                cohort.versions[version] = cohort.versions.get(version, 0) + n

    def _labelled(self, table: Ints, rows: Rows) -> None:
        cohorts = table[COHORT] // self.made.ratio
        for cohort in np.unique(cohorts).tolist():
            mine = table[:, cohorts == cohort]
            if cohort >= self._cohort:
                self.cohorts.setdefault(cohort, Cohort()).add(by_slice([(mine, rows)], self.machine))
            else:
                self.past_maturity += 1

    def _judge(self, pane: int) -> bool:
        """Judge the cohorts that this arrival pane settles; say whether any had events."""
        busy = False
        while self._cohort <= pane:
            cohort = self.cohorts.get(self._cohort)
            if cohort is not None and pane - self._cohort < self.machine.context.maturity_panes:
                due, found = self._labels(cohort)
                if found < due:
                    break
            if cohort is not None:
                busy = True
                del self.cohorts[self._cohort]
                leader = cohort.leader()
                if leader is not None and self._restarts():
                    self.machine.lead(leader, self._cohort - 1)
            self.machine.judge(self._cohort, cohort.slices if cohort else NOTHING)
            self._cohort += 1
        return busy

    def _restarts(self) -> bool:
        return self.machine.context.slo.resolved_indicator.startswith("decision_ece")

    def _labels(self, cohort: Cohort) -> tuple[int, int]:
        table = np.stack(list(cohort.slices.values())) if cohort.slices else np.zeros((1, self.machine.measure.width), np.int64)
        due, found = self.machine.measure.labels(table)
        return int(due.sum()), int(found.sum())


class NeverAxis:
    """Judges never-events by arrival pane, per model version."""

    def __init__(self, machine: NeverMachine, places: tuple[int, ...], ratio: int) -> None:
        """Start before the model's first pane."""
        self.machine, self.feed = machine, Feed(places, ratio)
        self._places = places
        self._next: int | None = None
        self._busy = 0

    def put(self, predictions: Rows, joined: Rows) -> None:  # noqa: ARG002 - labels are not waited for
        """Take in counts."""
        self.feed.put(predictions)

    def advance(self, start: int, through: int, joined: int) -> list[Said]:  # noqa: ARG002 - see put
        """Judge the panes that ticks up to `through` complete."""
        if self._next is None:
            self._next = self._busy = start // self.feed.ratio
        said = []
        last = (through + 1) // self.feed.ratio - 1
        while self._next <= last:
            pane = self._next
            if pane not in self.feed.parts and pane > self._busy + margin(self.machine.context):
                ahead = self.feed.next(pane)
                self._next = last + 1 if ahead is None else min(ahead, last + 1)
                continue
            said += self._step(pane)
            self._next += 1
        return said

    def _step(self, pane: int) -> list[Said]:
        parts = self.feed.take(pane)
        self._busy = pane if parts else self._busy
        self.machine.judge(pane, self._by_version(parts))
        for one in sorted(self.feed.causes.pop(pane, [])):
            self.machine.explain(one.version[1], one.ts, one.event_id, one.reason)
        boundary = (pane + 1) % self.machine.context.block == 0
        return [self.machine.conclude(Moment(pane, pane))] if parts or boundary else []

    def _by_version(self, parts: Sequence[tuple[Ints, Rows]]) -> dict[str, Ints]:
        found: dict[str, Ints] = {}
        for table, rows in parts:
            for series, code, cell, n in table[[SERIES, VERSION, CELL, COUNT]].T.tolist():
                counts = found.setdefault(rows.versions[code], np.zeros((len(self._places), 3), np.int64))
                counts[self._places.index(series), cell] += n
        return found


Axis = ArrivalAxis | CohortAxis | NeverAxis
