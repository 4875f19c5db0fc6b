"""One SLO of one model, judged pane by pane: slots, evidence, alarms, window; verdicts and controls out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.alarm import Alarms, Change, Transition
from interlock.policies.causes import Causes, Exemplar
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, ReleaseCommand, Scope
from interlock.policies.measures import Measure
from interlock.policies.plan import slo_paths
from interlock.policies.said import Moment, Said
from interlock.policies.slots import OTHER, POOL, Slots
from interlock.policies.slotted import Slotted
from interlock.policies.states import Facts, decide
from interlock.policies.story import Story, evidence, sentence
from interlock.policies.window import PaneWindow
from interlock.records import Control, State, Verdict

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Slices = Mapping[str, Ints]  # counts of one pane by slice name, int64[width] each
Known = tuple[float, float | None, float | None, int, float | None]
"""What is known of one slot: value (NaN: none), the ends of its interval, events, label coverage."""
PARTS = ("slots", "measure", "alarms", "window", "controls", "causes")  # each with a snapshot of its own


class Machine(Slotted):
    """Judges one SLO. Panes are given in order of its axis: arrival for predictions, cohorts for labels."""

    def __init__(self, context: Context, measure: Measure, *, pool: str = OTHER) -> None:
        """Start before the first pane."""
        self.context, self.measure, self.pool = context, measure, pool
        self.pooled = np.zeros(0, np.int64)
        """Slots whose evidence counts in the pool: endpoints with too few labels to be tested alone."""
        self.slots = Slots(context.cap)
        self.bank = measure.bank(context.thresholds, context.stale_panes)
        self.alarms: Alarms = self.make_alarms()
        self.window = PaneWindow(len(self.slots), measure.width, context.window_panes)
        self.controls = Controls(context.owner, self.describe)
        self.shown: dict[int, State] = {}
        self.causes = Causes(context.window_panes)
        self.changes: list[Transition] = []
        self._led: set[str] = set()
        self._scopes: dict[str | None, dict[str, str]] = {}

    def judge(self, pane: int, slices: Slices) -> None:
        """Take in the next judged pane."""
        rows = np.array(list(slices.values()), np.int64).reshape(-1, self.measure.width)
        if not rows.any():
            self._idle(pane)
            return
        if self.context.cap:
            counted = zip(slices, self.measure.seen(rows).tolist(), strict=True)
            self.slots.admit({name: n for name, n in counted if n})
        places = [self.slots.slot(name) for name in slices]
        for slot, heard in zip(places, self.heard(rows).tolist(), strict=True):
            if heard:
                self.slots.seen(slot, pane)
        table = np.zeros((len(self.slots), self.measure.width), np.int64)
        np.add.at(table, places, rows)
        table = self.complete(table)
        tested = self.pool_up(table)
        told = tested * self._labelled(tested)[:, None]
        log_bad = self.evidence_of(pane, told)
        nonempty = np.asarray(told.any(axis=1))
        self.window.add(pane, table, log_bad)
        self.changes += self.alarms.step(pane, log_bad, nonempty, lambda slot: self.measure.log_good(told[slot]))

    def restate(self, pane: int, slices: Slices) -> bool:
        """Take in what came of a pane after it was judged: value and interval move, evidence has bet. Whether any moved."""
        if self.context.unlabelled == "ipw":  # a label stands for those to come: more of them would count twice
            return False
        return self.window.restate(pane, [(self.slots.slot(name), row) for name, row in slices.items()])

    def make_alarms(self) -> Alarms:
        """Return what turns evidence into alarms."""
        return Alarms(len(self.slots), self.bank, latched=self.context.slo.action_on_breach == "kill_switch")

    def evidence_of(self, pane: int, told: Ints) -> Ints:
        """Return the evidence of a judged pane, int64[S, K]."""
        return self.measure.log_bad(pane, told)

    def complete(self, table: Ints) -> Ints:
        """Return a judged pane's rows with what the pane itself adds: nothing."""
        return table

    def heard(self, rows: Ints) -> Mask:
        """Return which rows, int64[n, width], are news of their slot, bool[n]: all of them."""
        return np.ones(len(rows), np.bool_)

    def pool_up(self, table: Ints) -> Ints:
        """Return a table int64[S, width] with the rows of pooled slots added to the pool."""
        moved = table.copy()
        moved[POOL], moved[self.pooled] = table[POOL] + table[self.pooled].sum(axis=0), 0
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
        return (found >= self.context.coverage * due).astype(np.int64)

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
        moved: dict[int, list[Change]] = {}
        for one in self.changes:
            moved.setdefault(one.slot, []).append(one.change)
        self.changes = []
        due = (moment.pane + 1) % self.context.block == 0
        taken = self.slots.taken()
        states = self._states(moment, taken)
        news = [s for s, state in zip(taken, states, strict=True) if due or s in moved or self.shown.get(s) != state]
        self.shown.update(zip(taken, states, strict=True))
        for slot, verdict in zip(news, self.verdicts(news, moment), strict=True):
            self._say(verdict, moved.get(slot, []), said)
        if due:
            said.freed = self.free(moment)
        return said

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:
        """End the engaged control that a person names; none other. Evidence starts after the judged pane `pane`."""
        if not self.controls.named(command):
            return []
        for slot in self.slots.taken():
            if self.scope_of(self.slots.names[slot]) == command.scope:
                self.changes = [change for change in self.changes if change.slot != slot]
                if slot in self.alarms.engaged:
                    self.alarms.release(slot, pane)
        return [self.controls.release(command.scope, command.cause)]

    def describe(self, scope: Scope) -> dict[str, object]:
        """Return the fields that a slice is of, and for the pool the slices that stand apart from it at this moment."""
        if "slice" not in scope:
            return {}
        by: dict[str, object] = {"by": list(slo_paths(self.context.policy, self.context.slo))}
        if scope["slice"] != self.pool:
            return by
        alone = [name for name, slot in self.slots.numbers.items() if slot not in self.pooled]
        return by | {"apart": sorted(self.scope_of(name)["slice"] for name in alone)}

    def _say(self, verdict: Verdict, moved: list[Change], said: Said) -> None:
        said.verdicts.append(verdict)
        for change in moved:
            said.controls += self._control(change, verdict)

    def _control(self, change: Change, verdict: Verdict) -> list[Control]:
        cause = Cause(verdict.ts, verdict.verdict_id, sentence(verdict, change), verdict.evidence)
        if change in (Change.ENGAGED, Change.ENGAGED_AGAIN):
            return [self.controls.engage(verdict.scope, cause)]
        if change in (Change.HELD, Change.WORSENED):
            return [self.controls.update(verdict.scope, cause, worsened=change is Change.WORSENED)]
        return [self.controls.release(verdict.scope, cause)] if change is Change.RELEASED else []

    def _states(self, moment: Moment, taken: list[int]) -> list[State]:
        least, coverage = self.context.slo.least_events, self.context.coverage
        sums, engaged = self.window.sums[taken], self.alarms.engaged
        estimate = self.measure.estimate(sums)
        due, found = self.measure.labels(sums)
        return decide(
            Facts(
                breached=np.array([slot in engaged for slot in taken], np.bool_),
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

    def verdicts(self, slots: list[int], moment: Moment) -> Iterator[Verdict]:
        """Yield the verdicts of some slots, in the states that are shown of them."""
        if not slots:
            return
        sums = self.window.sums[slots]
        estimate = self.measure.estimate(sums)
        lower, upper = (ends.tolist() for ends in self.measure.interval(sums, slots))
        due, found = (labels.tolist() for labels in self.measure.labels(sums))
        for place, (slot, value, n) in enumerate(zip(slots, estimate.value.tolist(), estimate.n.tolist(), strict=True)):
            known = (value, lower[place], upper[place]) if n and not math.isnan(value) else (value, None, None)
            yield self._verdict(slot, moment, (*known, n, min(1.0, found[place] / due[place]) if due[place] else None))

    def _verdict(self, slot: int, moment: Moment, known: Known) -> Verdict:
        value, lower, upper, n, coverage = known
        context, width, state = self.context, self.context.pane_ms, self.shown[slot]
        scope = self.scope_of(self.slots.names[slot])
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
            value=None if math.isnan(value) else value,
            lower=lower,
            upper=upper,
            n=n,
            label_coverage=coverage,
            target=str(context.slo.target),
            evidence=evidence(self.story(slot, self.window.sums[slot]), state),
            policy_digest=context.policy.digest,
        )

    def scope_of(self, name: str | None) -> dict[str, str]:
        """Return the scope of a slice; the last ones are kept, since to write one takes as long as to judge it."""
        if name not in self._scopes:
            if len(self._scopes) > 2 * len(self.slots):
                self._scopes.clear()
            self._scopes[name] = self.context.scope(name, pool=self.pool)
        return self._scopes[name]

    def story(self, slot: int, row: Ints) -> Story:
        """Return what one slot's evidence is told from; `row` are its window's sums."""
        return Story(self.context, self.measure, self.alarms, self.window, slot, row, self.causes)

    @property
    def pending(self) -> bool:
        """Whether an alarm has changed since the last verdict."""
        return bool(self.changes)

    def explain(self, pane: int, found: Sequence[Exemplar]) -> None:
        """Keep what caused the hits of the pane that was judged last."""
        self.causes.take(pane, found, self.slots.slot)

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        parts = {name: getattr(self, name).snapshot() for name in PARTS}
        changes = [(c.slot, c.change.value) for c in self.changes]
        return parts | {
            "shown": dict(self.shown),
            "changes": changes,
            "pooled": self.pooled.copy(),
            "led": sorted(self._led),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        for name in PARTS:
            getattr(self, name).restore(saved[name])
        self.shown = dict(saved["shown"])
        self.changes = [Transition(slot, Change(change)) for slot, change in saved["changes"]]
        self.pooled, self._led = np.array(saved["pooled"], np.int64), set(saved["led"])

    def free(self, moment: Moment) -> list[dict[str, str]]:
        """Take slots from slices that had no event for a window of the SLO's own axis, and no control; return which."""
        freed = []
        for slot in self.slots.taken():
            last = self.slots.last[slot]
            quiet = last is None or moment.judged - last > self.context.window_panes
            if slot != POOL and quiet and slot not in self.alarms.engaged:
                freed.append(self.scope_of(self.slots.names[slot]))
                self.slots.free(slot)
                self.alarms.drop(slot)
                self.window.forget(slot)
                self.measure.restart(np.arange(len(self.slots)) == slot)
                self.shown.pop(slot, None)
                self.causes.drop(slot)
        return freed
