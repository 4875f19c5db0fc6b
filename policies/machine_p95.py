"""`decision_ece_p95`: breached when endpoints that carry more than a twentieth of decisions miss the target."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.calibration import weighted_p95
from interlock.policies.alarm import Change, Phase, Transition
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, ReleaseCommand, Scope, ScopeKey, scope_key
from interlock.policies.machine import Slices
from interlock.policies.machine_ece import EceMachine
from interlock.policies.measures_ece import EceMeasure
from interlock.policies.said import Moment, Said
from interlock.policies.slots import POOL, REST
from interlock.policies.states import Facts, decide
from interlock.policies.story import evidence, sentence
from interlock.policies.succession import Left
from interlock.records import Control, State, Verdict

JOIN, LEAVE = 1000, 500
"""Labels in the window from which an endpoint is tested alone, and below which it pools again."""

SHARE = 0.05
"""Share of decisions that may lie in endpoints over the target: what the 95 of p95 allows."""

_STEP = {Change.ENGAGED: 1, Change.RELEASED: -1}
"""What a transition adds to the number of engaged controls."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class P95Machine:
    """Judges the weighted 95th percentile of the endpoints' ECE (VERDICTS.md §2, p95 of ECE).

    Every endpoint has its own test; the SLO breaks when the weight of rejected endpoints exceeds 5 %, and acts on
    those. An endpoint with a control is never pooled: its own evidence must end the control.
    """

    def __init__(self, context: Context, measure: EceMeasure) -> None:
        """Start before the first pane."""
        self.context, self.measure = context, measure
        self.inner = EceMachine(context, measure, pool=REST)
        self.inner.pooled = np.arange(1, context.cap + 1)
        self._members: set[int] = {POOL}
        self._shown: State | None = None
        self._filled = np.zeros(0, np.intp)
        """Slots that have labels in the window, pooled: the endpoints that the percentile is over."""

    def judge(self, pane: int, slices: Slices) -> None:
        """Take in the next judged pane."""
        self.inner.judge(pane, slices)
        self._regroup()

    def restate(self, pane: int, slices: Slices) -> bool:
        """Take in what came of a pane after it was judged, as the machine of the endpoints does."""
        changed = self.inner.restate(pane, slices)
        self._regroup()
        return changed

    def lead(self, version: str, pane: int) -> None:
        """Say which model version had most predictions in a pane."""
        self.inner.lead(version, pane)

    def seen(self, pane: int, slices: Slices) -> None:
        """Remember which slots had predictions in an arrival pane."""
        self.inner.seen(pane, slices)

    def _regroup(self) -> None:
        """Let endpoints with enough labels stand alone, and pool those with too few.

        None leaves `(rest)` while that has a control: what the control is about must end it.
        """
        inner, kept = self.inner, self._controlled(POOL)
        labels = self.measure.n(inner.window.sums)
        for slot in inner.slots.numbers.values():
            if labels[slot] >= JOIN and not kept:
                self._members.add(slot)
            elif labels[slot] < LEAVE and slot in self._members and not self._controlled(slot):
                self._members.discard(slot)
                inner.alarms.drop(slot)
        self._members &= {POOL, *inner.slots.numbers.values()}
        inner.pooled = np.array(sorted(set(range(len(inner.slots))) - self._members), np.int64)

    def _controlled(self, slot: int) -> bool:
        return scope_key(self._scope(slot)) in self.inner.controls.engaged

    def _scope(self, slot: int) -> dict[str, str]:
        return self.context.scope(self.inner.slots.names[slot], pool=REST)

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        return {"inner": self.inner.snapshot(), "members": sorted(self._members), "shown": self._shown}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        self.inner.restore(saved["inner"])
        self._members, self._shown = set(saved["members"]), saved["shown"]

    def rejected(self) -> list[int]:
        """Return endpoints whose own evidence says that they miss the target."""
        return [slot for slot, state in sorted(self.inner.alarms.engaged.items()) if state.phase is Phase.ENGAGED]

    def conclude(self, moment: Moment) -> Said:
        """Return the verdict and controls as of an arrival pane."""
        inner, said = self.inner, Said()
        changes, inner.changes = inner.changes, []
        pooled = inner.pool_up(inner.window.sums)
        self._filled = np.flatnonzero(self.measure.n(pooled))
        sums = pooled[self._filled]
        moved = [c for c in changes if c.change in (Change.RELEASED, Change.HELD) and self._controlled(c.slot)]
        moved += [Transition(slot, Change.ENGAGED) for slot in self._over(sums) if not self._controlled(slot)]
        change = sum(_STEP.get(one.change, 0) for one in moved)
        state = self._state(moment, sums, latched=len(inner.controls.engaged) + change > 0)
        due = (moment.pane + 1) % self.context.block == 0
        if due or moved or state != self._shown:
            self._shown = state
            verdict = self._verdict(moment, sums, state)
            said.verdicts.append(verdict)
            before = set(inner.controls.engaged)
            said.controls += [self._act(verdict, one, pooled) for one in moved]
            said.controls += inner.review(moment, dict.fromkeys(sorted(self._members), verdict), before)
        if due:
            said.controls += [one for scope in inner.free(moment) for one in inner.unreview(scope, moment)]
            self._regroup()
        return said

    @property
    def pending(self) -> bool:
        """Whether an endpoint's alarm has changed since the last verdict."""
        return self.inner.pending

    def held(self) -> list[Controls]:
        """Return the controls that the machine has."""
        return self.inner.held()

    def names(self) -> dict[ScopeKey, str | None]:
        """Return what each endpoint that has a slot is counted as."""
        return self.inner.names()

    def take_over(self, left: Left, pane: int) -> None:
        """Go on with the controls of an earlier policy: an endpoint that has one is judged alone."""
        self.inner.take_over(left, pane)
        self._members |= set(self.inner.alarms.engaged)
        self.inner.pooled = np.array(sorted(set(range(len(self.inner.slots))) - self._members), np.int64)

    def fits(self, key: ScopeKey, name: str | None) -> bool:  # noqa: ARG002 - its verdicts are of the whole model
        """Return whether a scope is one of the verdicts'."""
        return not key

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:
        """End the engaged control of an endpoint that a person names; its evidence starts after the pane."""
        return self.inner.let_go(command, pane)

    def describe(self, scope: Scope) -> dict[str, object]:
        """Describe a scope: for `(rest)`, the endpoints that are judged alone stand apart."""
        return self.inner.describe(scope)

    def _over(self, sums: Ints) -> list[int]:
        """Return the rejected endpoints if they carry more than SHARE of the labelled decisions."""
        labels, rejected = self.measure.n(sums), self.rejected()
        weight = int(labels[np.isin(self._filled, rejected)].sum())
        return rejected if weight > SHARE * int(labels.sum()) else []

    def _act(self, verdict: Verdict, one: Transition, sums: Ints) -> Control:
        scope, controls = self._scope(one.slot), self.inner.controls
        told = evidence(self.inner.story(one.slot, sums[one.slot]), "breached")
        about = verdict.model_copy(update={"scope": scope, "evidence": told})
        cause = Cause(verdict.ts, verdict.verdict_id, sentence(about, one.change), told)
        if one.change is Change.ENGAGED:
            self.inner.freeze(one.slot, scope)
            return controls.engage(scope, cause)
        if one.change is not Change.RELEASED:
            return controls.update(scope, cause)
        found = controls.release(scope, cause)
        self.inner.thaw(scope)
        return found

    def _state(self, moment: Moment, sums: Ints, *, latched: bool) -> State:
        estimate = self.measure.estimate(sums.sum(axis=0)[None])
        value, upper = self._p95(self.measure.estimate(sums).value, sums), self._p95(self.measure.upper(sums), sums)
        due, found = self.measure.labels(sums.sum(axis=0)[None])
        target, coverage = self.context.slo.target.value, self.context.coverage
        warned = bool(self.inner.alarms.warned().any())
        return decide(
            Facts(
                breached=np.array([latched]),
                silent=np.array([all(self.inner.silent(slot, moment.pane) for slot in range(len(self.inner.slots)))]),
                unidentified=estimate.unidentified,
                too_little=(found < coverage * due) | (estimate.effective < self.context.slo.least_events),
                at_risk=np.array([warned or (value is not None and value > target)]),
                proven=np.array([upper is not None and upper <= target]),
            )
        )[0]

    def _p95(self, values: Floats, sums: Ints) -> float | None:
        return weighted_p95(values.tolist(), self.measure.n(sums).tolist())

    def _verdict(self, moment: Moment, sums: Ints, state: State) -> Verdict:
        context, width = self.context, self.context.pane_ms
        slots = self._filled.tolist()
        lowers, _ = self.measure.interval(sums, slots)
        end = (moment.judged + 1) * width
        due, found = (int(x[0]) for x in self.measure.labels(sums.sum(axis=0)[None]))
        return Verdict(
            verdict_id=context.verdict_id({}, moment.pane),
            model=context.model,
            slo=context.slo.name,
            scope={},
            ts=(moment.pane + 1) * width,
            window_start=end - context.window_panes * width,
            window_end=end,
            state=state,
            value=self._p95(self.measure.estimate(sums).value, sums),
            lower=self._p95(lowers, sums),
            upper=self._p95(self.measure.upper(sums), sums),
            n=int(self.measure.n(sums).sum()),
            label_coverage=min(1.0, found / due) if due else None,
            target=str(context.slo.target),
            evidence=self._evidence(sums, state),
            policy_digest=context.policy.digest,
        )

    def _evidence(self, sums: Ints, state: State) -> dict[str, object]:
        """Return the endpoints with their values, and the story of the one with most evidence."""
        labels, values = self.measure.n(sums), self.measure.estimate(sums).value
        slots, log_m = self._filled.tolist(), self.inner.alarms.log_m()
        worst = max(slots or [POOL], key=lambda slot: (slot in self.inner.alarms.engaged, log_m[slot], -slot))
        endpoints = [
            {"scope": self._scope(slot), "value": float(value), "labels": int(n)}
            for slot, value, n in zip(slots, values, labels, strict=True)
        ]
        return evidence(self.inner.story(worst, sums.sum(axis=0)), state) | {"endpoints": endpoints}
