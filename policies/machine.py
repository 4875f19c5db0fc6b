"""One SLO of one model, judged pane by pane: slots, evidence, alarms, window; verdicts and controls out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.alarm import Alarms, Change, Transition
from interlock.policies.causes import Exemplar
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls
from interlock.policies.measures import Estimate, Measure
from interlock.policies.slots import OTHER, POOL, Slots
from interlock.policies.states import Facts, decide
from interlock.policies.story import Story, evidence, sentence
from interlock.policies.window import PaneWindow
from interlock.records import Control, State, Verdict

Ints = NDArray[np.int64]
Slices = Mapping[str, Ints]
"""Counts of one pane by slice name, int64[width] each."""


PARTS = ("slots", "measure", "alarms", "window", "controls")
"""What a machine is made of, each with a snapshot of its own."""


@dataclass(slots=True)
class Said:
    """What judging yields."""

    verdicts: list[Verdict] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when a verdict speaks: the arrival pane, and the last judged pane of the SLO's own axis."""

    pane: int
    judged: int


class Machine:
    """Judges one SLO. Panes are given in order of its axis: arrival for predictions, cohorts for labels."""

    def __init__(self, context: Context, measure: Measure, *, pool: str = OTHER) -> None:
        """Start before the first pane."""
        self.context, self.measure, self.pool = context, measure, pool
        self.pooled = np.zeros(0, np.int64)
        """Slots whose evidence counts in the pool: endpoints with too few labels to be tested alone."""
        self.slots = Slots(context.cap)
        self.bank = measure.bank(context.thresholds, context.stale_panes)
        self.alarms = Alarms(len(self.slots), self.bank)
        self.window = PaneWindow(len(self.slots), measure.width, context.window_panes)
        self.controls = Controls(context.owner)
        self.shown: dict[int, State] = {}
        self.exemplars: dict[int, list[tuple[int, int, str, str]]] = {}
        self.changes: list[Transition] = []
        self._led: set[str] = set()

    # -- evidence ----------------------------------------------------------------------------------------------------

    def judge(self, pane: int, slices: Slices) -> None:
        """Take in the next judged pane."""
        counted = {name: int(self.measure.seen(row[None])[0]) for name, row in slices.items()}
        if not any(row.any() for row in slices.values()):
            self._idle(pane)
            return
        self.slots.admit({name: n for name, n in counted.items() if n} if self.context.cap else {})
        for name in counted:
            self.slots.seen(self.slots.slot(name), pane)
        table = self.table(slices)
        tested = self.pool_up(table)
        told = tested * self._labelled(tested)[:, None]
        log_bad = self.measure.log_bad(pane, told)
        nonempty = told.any(axis=1)
        self.window.add(pane, table, log_bad)
        self.changes += self.alarms.step(pane, log_bad, nonempty, lambda slot: self.measure.log_good(told[slot]))

    def table(self, slices: Slices) -> Ints:
        """Return the counts of a pane by slot, int64[S, width]."""
        table = np.zeros((len(self.slots), self.measure.width), np.int64)
        for name, row in slices.items():
            table[self.slots.slot(name)] += row
        return table

    def pool_up(self, table: Ints) -> Ints:
        """Return a table int64[S, width] with the rows of pooled slots added to the pool."""
        if not len(self.pooled):
            return table
        moved = table.copy()
        moved[POOL] += table[self.pooled].sum(axis=0)
        moved[self.pooled] = 0
        return moved

    def lead(self, version: str, pane: int) -> None:
        """Say which model version had most predictions in a pane: the first time one leads, label evidence restarts.

        Only the leader counts, so that junk version names cannot keep evidence from growing.
        """
        if version not in self._led:
            self._led.add(version)
            if len(self._led) > 1:
                everyone = np.ones(len(self.slots), np.bool_)
                self.alarms.restart(everyone, pane)
                self.measure.restart(everyone)

    def seen(self, pane: int, slices: Slices) -> None:
        """Admit the slices of an arrival pane, and remember which slots had predictions: silence is news."""
        counted = {name: n for name, row in slices.items() if (n := int(self.measure.seen(row[None])[0]))}
        if self.context.cap:
            self.slots.admit(counted)
        for name in counted:
            self.slots.seen(self.slots.slot(name), pane)

    def _labelled(self, table: Ints) -> Ints:
        due, found = self.measure.labels(table)
        return (found >= self.context.policy.labels.coverage * due).astype(np.int64)

    def _idle(self, pane: int) -> None:
        self.changes += self.alarms.idle(pane)
        if pane % self.context.block == 0:
            self.alarms.age(pane, len(self.slots))
        self.window.expire(pane)
        self.measure.expire(pane)

    # -- verdicts ----------------------------------------------------------------------------------------------------

    def conclude(self, moment: Moment) -> Said:
        """Return the verdicts and controls as of an arrival pane, once all that it settles has been judged."""
        said = Said()
        changes, self.changes = self.changes, []
        due = (moment.pane + 1) % self.context.block == 0
        taken = self.slots.taken()
        estimate = self.measure.estimate(self.window.sums[taken])
        for place, (slot, state) in enumerate(zip(taken, self._states(moment, taken, estimate), strict=True)):
            moved = [c.change for c in changes if c.slot == slot]
            if due or moved or self.shown.get(slot) != state:
                self.shown[slot] = state
                self._say(self.verdict(slot, moment, (float(estimate.value[place]), int(estimate.n[place]), state)), moved, said)
        if due:
            self.free(moment)
        return said

    def _say(self, verdict: Verdict, moved: list[Change], said: Said) -> None:
        said.verdicts.append(verdict)
        for change in moved:
            said.controls += self._control(change, verdict)

    def _control(self, change: Change, verdict: Verdict) -> list[Control]:
        cause = Cause(verdict.ts, verdict.verdict_id, sentence(verdict, change), verdict.evidence)
        if change in (Change.ENGAGED, Change.ENGAGED_AGAIN):
            return [self.controls.engage(verdict.scope, cause)]
        return [self.controls.release(verdict.scope, cause)] if change is Change.RELEASED else []

    def _states(self, moment: Moment, taken: list[int], estimate: Estimate) -> list[State]:
        least, coverage = self.context.slo.least_events, self.context.policy.labels.coverage
        due, found = self.measure.labels(self.window.sums[taken])
        return decide(
            Facts(
                breached=np.array([slot in self.alarms.engaged for slot in taken], np.bool_),
                silent=np.array([self.silent(slot, moment.pane) for slot in taken], np.bool_),
                unidentified=estimate.unidentified,
                too_little=(found < coverage * due) | (estimate.effective < least),
                at_risk=estimate.missed | self.alarms.warned()[taken],
                proven=estimate.proven,
            )
        )

    def silent(self, slot: int, pane: int) -> bool:
        """Return whether a slot had no prediction for `stale_after`."""
        last = self.slots.last[slot]
        return last is None or pane - last >= self.context.stale_panes

    def verdict(self, slot: int, moment: Moment, found: tuple[float, int, State]) -> Verdict:
        """Return the verdict of one slot: value (NaN: none), events and state are given."""
        value, n, state = found
        context, width, row = self.context, self.context.pane_ms, self.window.sums[slot]
        scope = context.scope(self.slots.names[slot], pool=self.pool)
        lower, upper = self.measure.interval(row, slot) if n else (None, None)
        due, present = (int(x[0]) for x in self.measure.labels(row[None]))
        end = (moment.judged + 1) * width
        return Verdict(
            verdict_id=context.verdict_id(scope, moment.pane),
            model=context.model,
            slo=context.slo.name,
            scope=scope,
            ts=(moment.pane + 1) * width,
            window_start=end - context.window_panes * width,
            window_end=end,
            state=state,
            value=None if np.isnan(value) else value,
            lower=lower,
            upper=upper,
            n=n,
            label_coverage=present / due if due else None,
            target=str(context.slo.target),
            evidence=evidence(self.story(slot, row), state),
            policy_digest=context.policy.digest,
        )

    def story(self, slot: int, row: Ints) -> Story:
        """Return what one slot's evidence is told from; `row` are its window's sums."""
        return Story(self.context, self.measure, self.alarms, self.window, slot, row, self.exemplars.get(slot, []))

    @property
    def pending(self) -> bool:
        """Whether an alarm has changed since the last verdict."""
        return bool(self.changes)

    def explain(self, cause: Exemplar) -> None:
        """Keep a causing event: those of a slice's newest panes, the smallest keys of each."""
        kept = self.exemplars.setdefault(self.slots.slot(cause.slice), [])
        kept.append((-cause.pane, cause.key, cause.event_id, cause.reason))
        kept.sort()
        del kept[8:]

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        parts = {name: getattr(self, name).snapshot() for name in PARTS}
        shown = {"shown": dict(self.shown), "exemplars": {s: list(x) for s, x in self.exemplars.items()}}
        changes = [(c.slot, c.change.value) for c in self.changes]
        return parts | shown | {"changes": changes, "pooled": self.pooled.copy(), "led": sorted(self._led)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        for name in PARTS:
            getattr(self, name).restore(saved[name])
        self.shown = dict(saved["shown"])
        self.exemplars = {slot: [(a, b, c, d) for a, b, c, d in kept] for slot, kept in saved["exemplars"].items()}
        self.changes = [Transition(slot, Change(change)) for slot, change in saved["changes"]]
        self.pooled, self._led = np.array(saved["pooled"], np.int64), set(saved["led"])

    def free(self, moment: Moment) -> None:
        """Take slots from slices that had no event for a window of the SLO's own axis, and no control."""
        for slot in self.slots.taken():
            last = self.slots.last[slot]
            quiet = last is None or moment.judged - last > self.context.window_panes
            if slot != POOL and quiet and slot not in self.alarms.engaged:
                self.slots.free(slot)
                self.alarms.drop(slot)
                self.window.forget(slot)
                self.measure.restart(np.arange(len(self.slots)) == slot)
                self.shown.pop(slot, None)
                self.exemplars.pop(slot, None)
