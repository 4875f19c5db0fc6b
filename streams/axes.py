"""The order in which an SLO's panes are judged: by arrival, or by the age of their predictions' labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from interlock.policies.context import Context
from interlock.policies.machine import Machine, Moment, Said
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.streams.feed import Feed, Legend, Part, Rows, by_slice
from interlock.streams.tally import COHORT, COUNT, VERSION, Ints

NOTHING: dict[str, Ints] = {}

Read = Callable[[Sequence[Part]], Mapping[str, Ints]]
"""Adds up the rows of a pane by what the machine counts by: slices, or model versions."""


def margin(context: Context) -> int:
    """Return after how many empty panes an SLO can change no more, so that empty time may be jumped over."""
    return max(context.window_panes, context.stale_panes) + context.block + context.maturity_panes


class ArrivalAxis:
    """Judges by arrival pane: what needs no labels."""

    def __init__(self, machine: Machine | NeverMachine, feed: Feed, read: Read) -> None:
        """Start before the model's first pane."""
        self.machine, self.feed, self._read = machine, feed, read
        self._next: int | None = None
        self._busy, self._said = 0, False

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
        self._busy = pane if parts else self._busy
        self.machine.judge(pane, self._read(parts) if parts else NOTHING)
        for one in sorted(self.feed.causes.pop(pane, [])):
            self.machine.explain(one)
        boundary = (pane + 1) % self.machine.context.block == 0
        first, self._said = not self._said, True
        return [self.machine.conclude(Moment(pane, pane))] if parts or boundary or first or self.machine.pending else []

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        place = {"next": self._next, "busy": self._busy, "said": self._said}
        return {"machine": self.machine.snapshot(), "feed": self.feed.snapshot()} | place

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        self.machine.restore(saved["machine"])
        self.feed.restore(saved["feed"])
        self._next, self._busy, self._said = saved["next"], saved["busy"], saved["said"]


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

    def __init__(self, machine: Machine | P95Machine, made: Feed, joined: Feed) -> None:
        """Start before the model's first pane."""
        self.machine = machine
        self.made, self.joined = made, joined
        self.cohorts: dict[int, Cohort] = {}
        self.past_maturity = 0
        self._next: int | None = None
        self._cohort, self._busy, self._said = 0, 0, False

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
                ahead = min(
                    (p for p in (self.made.next(pane), self.joined.next(pane)) if p is not None), default=last + 1
                )
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
        for part in joined:
            self._labelled(*part)
        judged = self._judge(pane)
        boundary = (pane + 1) % self.machine.context.block == 0
        first, self._said = not self._said, True
        return [self.machine.conclude(Moment(pane, self._cohort - 1))] if judged or boundary or first else []

    def _predicted(self, pane: int, parts: Sequence[Part]) -> None:
        slices = by_slice(parts, self.machine)
        cohort = self.cohorts.setdefault(pane, Cohort())
        cohort.add(slices)
        self.machine.seen(pane, slices)
        for table, legend in parts:
            for code, n in zip(table[VERSION].tolist(), table[COUNT].tolist(), strict=True):
                version = legend.versions[code]
                cohort.versions[version] = cohort.versions.get(version, 0) + n

    def _labelled(self, table: Ints, legend: Legend) -> None:
        cohorts = table[COHORT] // self.made.ratio
        for cohort in np.unique(cohorts).tolist():
            mine = table[:, cohorts == cohort]
            if cohort >= self._cohort:
                self.cohorts.setdefault(cohort, Cohort()).add(by_slice([(mine, legend)], self.machine))
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
        table = (
            np.stack(list(cohort.slices.values()))
            if cohort.slices
            else np.zeros((1, self.machine.measure.width), np.int64)
        )
        due, found = self.machine.measure.labels(table)
        return int(due.sum()), int(found.sum())

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        cohorts = {pane: (dict(cohort.slices), dict(cohort.versions)) for pane, cohort in self.cohorts.items()}
        place = {"next": self._next, "cohort": self._cohort, "busy": self._busy, "said": self._said}
        parts = {"machine": self.machine.snapshot(), "made": self.made.snapshot(), "joined": self.joined.snapshot()}
        return parts | place | {"cohorts": cohorts, "past_maturity": self.past_maturity}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        self.machine.restore(saved["machine"])
        self.made.restore(saved["made"])
        self.joined.restore(saved["joined"])
        self.cohorts = {pane: Cohort(dict(slices), dict(made)) for pane, (slices, made) in saved["cohorts"].items()}
        self._next, self._cohort, self._busy = saved["next"], saved["cohort"], saved["busy"]
        self._said, self.past_maturity = saved["said"], saved["past_maturity"]


Axis = ArrivalAxis | CohortAxis
