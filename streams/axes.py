"""The order in which an SLO's panes are judged: by arrival, or by the age of their predictions' labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from interlock.policies.context import Context
from interlock.policies.machine import Machine
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.said import Moment, Said
from interlock.streams.axes_base import SloAxis
from interlock.streams.feed import Feed, Part, Rows, by_slice
from interlock.streams.tally import COHORT, COUNT, NO_COHORT, PANE, VERSION, Ints, fewest

NOTHING: dict[str, Ints] = {}

Read = Callable[[Sequence[Part]], Mapping[str, Ints]]
"""Adds up the rows of a pane by what the machine counts by: slices, or model versions."""


def margin(context: Context) -> int:
    """Return after how many empty panes an SLO can change no more, so that empty time may be jumped over."""
    return max(context.window_panes, context.stale_panes) + context.block + context.maturity_panes


def soonest(after: int, *panes: int | None) -> int:
    """Return the first of some panes; `after` if there is none before it."""
    return min([after, *(pane for pane in panes if pane is not None)])


class ArrivalAxis(SloAxis):
    """Judges by arrival pane: what needs no labels."""

    def __init__(self, machine: Machine | NeverMachine | DriftMachine, feed: Feed, read: Read) -> None:
        """Start before the model's first pane."""
        super().__init__(machine)
        self.machine, self.feed, self._read = machine, feed, read

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
            if self._resting(self._next):
                self._next = soonest(last + 1, self._ahead(self._next), self.voice.next())
            if self._next <= last:
                said += self._step(self._next)
                self._next += 1
        return said

    def _resting(self, pane: int) -> bool:
        return pane not in self.feed.parts and pane > self._busy + margin(self.machine.context)

    def _ahead(self, pane: int) -> int | None:
        """Return the first pane from here on that has counts."""
        return self.feed.next(pane)

    def _step(self, pane: int) -> list[Said]:
        parts = self.feed.take(pane)
        self._busy = pane if parts else self._busy
        self.machine.judge(pane, self._read(parts) if parts else NOTHING)
        causes = self.feed.causes.pop(pane, [])
        if self.machine.context.slo.compare is not None:  # a variant's events, not those it is compared with
            causes = [one for one in causes if one.series == self.feed.places[0]]
        if causes:
            self.machine.explain(pane, fewest(causes))
        return self._said(pane, news=bool(parts) or self.machine.pending)

    def _said(self, pane: int, *, news: bool) -> list[Said]:
        return self.voice.say(Moment(pane, pane), news=news)

    def feeds(self) -> tuple[Feed, ...]:
        """Return what feeds it."""
        return (self.feed,)

    def reached(self, through: int, joined: int) -> int:  # noqa: ARG002 - see put
        """Return the tick up to which it can judge: labels are not waited for."""
        return through

    def _judged(self) -> int:
        return (self._next or 0) - 1

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        place = {"next": self._next, "busy": self._busy}
        return {"voice": self.voice.snapshot(), "feed": self.feed.snapshot()} | place

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        self.voice.restore(saved["voice"])
        self.feed.restore(saved["feed"])
        self._next, self._busy = saved["next"], saved["busy"]


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


def arrived(rows: Rows) -> Rows:
    """Return counts as of the pane of their arrival."""
    table = rows.table.copy()
    table[COHORT] = np.where(table[COHORT] == NO_COHORT, NO_COHORT, table[PANE])
    return Rows(table, rows.legend, rows.exemplars)


class CohortAxis(SloAxis):
    """Judges by cohort pane, in order: when all its labels are in, or at the age of maturity (VERDICTS.md §1)."""

    def __init__(self, machine: Machine | P95Machine, made: Feed, joined: Feed) -> None:
        """Start before the model's first pane."""
        super().__init__(machine)
        self.machine = machine
        self.made, self.joined = made, joined
        self.cohorts: dict[int, Cohort] = {}
        self.past_maturity = 0
        self._cohort = 0

    def put(self, predictions: Rows, joined: Rows) -> None:
        """Take in counts of both chains; predictions that come behind keep their pane if labels are still awaited there.

        Judged by arrival, whatever arrives is of the pane in which it does, as if it had been predicted there.
        """
        if self.machine.context.by_arrival:
            predictions, joined = arrived(predictions), arrived(joined)
        own = predictions.table[COHORT]
        behind = own != NO_COHORT
        if self._next is not None and behind.any():
            table = predictions.table.copy()
            table[PANE] = np.where(behind, np.maximum(own, self._next * self.made.ratio), table[PANE])
            predictions = Rows(table, predictions.legend, predictions.exemplars)
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
                ahead = soonest(last + 1, self.made.next(pane), self.joined.next(pane), self.voice.next())
                self._next = self._cohort = ahead
            if self._next <= last:
                said += self._step(self._next)
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
        restated = self._labelled(joined)
        news = self._judge(pane)
        return self.voice.say(Moment(pane, self._cohort - 1), news=news or restated)

    def feeds(self) -> tuple[Feed, ...]:
        """Return what feeds it."""
        return self.made, self.joined

    def reached(self, through: int, joined: int) -> int:  # noqa: ARG002 - labels set the pace
        """Return the tick up to which it can judge."""
        return joined

    def begin(self, tick: int) -> None:
        """Start with the pane of a tick, where another policy has stopped."""
        super().begin(tick)
        self._cohort = self._busy

    def _judged(self) -> int:
        return self._cohort - 1

    def _predicted(self, pane: int, parts: Sequence[Part]) -> None:
        """Take in predictions: they arrive now, and belong to this cohort, or to their own if they come behind."""
        for own, mine in self._by_cohort(pane, parts):
            slices = by_slice(mine, self.machine, self.made.places)
            self.machine.seen(pane, slices)
            if own < self._cohort:
                self.past_maturity += 1
                continue
            cohort = self.cohorts.setdefault(own, Cohort())
            cohort.add(slices)
            for table, legend in mine:
                for code, n in zip(table[VERSION].tolist(), table[COUNT].tolist(), strict=True):
                    version = legend.versions[code]
                    cohort.versions[version] = cohort.versions.get(version, 0) + n

    def _by_cohort(self, pane: int, parts: Sequence[Part]) -> list[tuple[int, Sequence[Part]]]:
        if all((table[COHORT] == NO_COHORT).all() for table, _ in parts):
            return [(pane, parts)]
        split: dict[int, list[Part]] = {}
        for table, legend in parts:
            own = np.where(table[COHORT] == NO_COHORT, pane, table[COHORT] // self.made.ratio)
            for cohort in np.unique(own).tolist():
                split.setdefault(cohort, []).append((table[:, own == cohort], legend))
        return sorted(split.items())

    def _labelled(self, parts: Sequence[Part]) -> bool:
        """Add labels, and what they correct, to their cohorts; of those that are judged only the sums that are shown move.

        A pane's parts of all shards are added up first, so that what one corrects and another brings meet. Whether any moved.
        """
        by_cohort: dict[int, list[Part]] = {}
        for table, legend in parts:
            cohorts = table[COHORT] // self.made.ratio
            for cohort in np.unique(cohorts).tolist():
                by_cohort.setdefault(cohort, []).append((table[:, cohorts == cohort], legend))
        restated = False
        for cohort, mine in sorted(by_cohort.items()):
            slices = by_slice(mine, self.machine, self.made.places)
            if cohort >= self._cohort:
                self.cohorts.setdefault(cohort, Cohort()).add(slices)
            else:
                self.past_maturity += 1
                restated |= self.machine.restate(cohort, slices)
        return restated

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
        due, found = self.machine.measure.awaited(table)
        return int(due.sum()), int(found.sum())

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        cohorts = {pane: (dict(cohort.slices), dict(cohort.versions)) for pane, cohort in self.cohorts.items()}
        place = {"next": self._next, "cohort": self._cohort, "busy": self._busy}
        parts = {"voice": self.voice.snapshot(), "made": self.made.snapshot(), "joined": self.joined.snapshot()}
        return parts | place | {"cohorts": cohorts, "past_maturity": self.past_maturity}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        self.voice.restore(saved["voice"])
        self.made.restore(saved["made"])
        self.joined.restore(saved["joined"])
        self.cohorts = {pane: Cohort(dict(slices), dict(made)) for pane, (slices, made) in saved["cohorts"].items()}
        self._next, self._cohort, self._busy = saved["next"], saved["cohort"], saved["busy"]
        self.past_maturity = saved["past_maturity"]


Axis = ArrivalAxis | CohortAxis
