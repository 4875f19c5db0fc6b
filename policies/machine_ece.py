"""`decision_ece`: the machine of every SLO, and where people must review, the scores that may stay automatic."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.alarm import Change
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, ReleaseCommand, Scope, ScopeKey, scope_key
from interlock.policies.machine import Machine
from interlock.policies.measures_ece import EceMeasure
from interlock.policies.review import Frozen, Proof, Thresholds, automatic_text
from interlock.policies.said import Moment, Said
from interlock.policies.slots import OTHER, POOL
from interlock.policies.succession import Left
from interlock.records import Control, Verdict

Ints = NDArray[np.int64]


class EceMachine(Machine):
    """Judges the calibration of decisions; its controls say which scores may be decided without a person."""

    def __init__(self, context: Context, measure: EceMeasure, *, pool: str = OTHER) -> None:
        """Start before the first pane."""
        super().__init__(context, measure, pool=pool)
        proof = Proof(context, measure)
        self._reviews = context.slo.action_on_breach == "route_to_human_review"
        self._frozen = Frozen(proof)
        self._standing = Thresholds(context, proof, self.describe)
        self._since = 0
        self.controls = Controls(context.owner, lambda scope: self.describe(scope) | self._frozen.parameters(scope))

    def lead(self, version: str, pane: int) -> None:
        """Say which model version had most predictions in a pane: a new one has proven nothing."""
        known = set(self._led)
        super().lead(version, pane)
        if known and version not in known:
            self._since = pane + 1
            self._standing.reset()

    def conclude(self, moment: Moment) -> Said:
        """Return the verdicts and controls as of an arrival pane."""
        before = set(self.controls.engaged)
        said = super().conclude(moment)
        by_scope = {scope_key(verdict.scope): verdict for verdict in said.verdicts}
        slots = {slot: by_scope.get(scope_key(self.scope_of(self.slots.names[slot]))) for slot in self.slots.taken()}
        said.controls += self.review(moment, {slot: one for slot, one in slots.items() if one}, before)
        said.controls += [one for scope in said.freed for one in self.unreview(scope, moment)]
        return said

    def review(self, moment: Moment, verdicts: Mapping[int, Verdict], before: set[ScopeKey]) -> list[Control]:
        """Return controls whose ranges have moved, at the end of a block of panes; `before`: engaged before the pane."""
        due = (moment.pane + 1) % self.context.block == 0
        if not self._reviews or not (due or (self._standing.asked and not self._standing.begun())):
            return []
        found = []
        for slot, verdict in verdicts.items():
            scope = self.scope_of(self.slots.names[slot])
            if scope_key(scope) in before & set(self.controls.engaged) and self._frozen.narrow(scope, self.row(slot)):
                found.append(self.controls.update(scope, self._fewer(scope, verdict)))
        return found + self._stand(moment, verdicts, due=due)

    def unreview(self, scope: Scope, moment: Moment) -> list[Control]:
        """End what stands in a scope that is judged no more."""
        return self._standing.leave(scope, (moment.pane + 1) * self.context.pane_ms)

    def freeze(self, slot: int, scope: Scope) -> None:
        """Fix what stays automatic in a scope whose control engages now."""
        if self._reviews:
            self._frozen.freeze(scope, self.row(slot))

    def thaw(self, scope: Scope) -> None:
        """Forget what stayed automatic in a scope whose control has ended."""
        self._frozen.thaw(scope)

    def held(self) -> list[Controls]:
        """Return the controls that the machine has, the standing ones too."""
        return [*super().held(), self._standing.controls]

    def take_over(self, left: Left, pane: int) -> None:
        """Go on with the controls of an earlier policy; nothing stays automatic that it had proven."""
        super().take_over(left, pane)
        self._standing.take_over(left, self.fits)

    def place(self, key: ScopeKey, name: str | None, pane: int) -> bool:
        """Engage the slot of a scope: nothing is decided automatically there until it is proven anew."""
        placed = super().place(key, name, pane)
        if placed and self._reviews:
            self._frozen.freeze(dict(key), np.zeros(self.measure.width, np.int64))
        return placed

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:
        """End the engaged control that a person names."""
        found = super().let_go(command, pane)
        for control in found:
            self.thaw(control.scope)
        return found

    def row(self, slot: int) -> Ints:
        """Return the counts that prove a slot's ranges: of the stretch that speaks most for a breach, if it is judged alone.

        Of a pool, and without such a stretch, those of the window; never those of an earlier model version.
        """
        stretch = self.window.stretch(slot, self._since) if slot != POOL or not len(self.pooled) else None
        return self._sums(slot) if stretch is None else stretch.cells

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        review = {"frozen": self._frozen.snapshot(), "standing": self._standing.snapshot(), "since": self._since}
        return super().snapshot() | {"review": review}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        super().restore(saved)
        review = saved["review"]
        self._frozen.restore(review["frozen"])
        self._standing.restore(review["standing"])
        self._since = review["since"]

    def _control(self, change: Change, verdict: Verdict) -> list[Control]:
        if change in (Change.ENGAGED, Change.ENGAGED_AGAIN):
            names = {scope_key(self.scope_of(self.slots.names[slot])): slot for slot in self.slots.taken()}
            self.freeze(names[scope_key(verdict.scope)], verdict.scope)
        found = super()._control(change, verdict)
        if change is Change.RELEASED:
            self.thaw(verdict.scope)
        return found

    def _stand(self, moment: Moment, verdicts: Mapping[int, Verdict], *, due: bool) -> list[Control]:
        """Return the standing thresholds that have moved, or whose scope is new: the pool's from the first pane on."""
        if not self._standing.asked:
            return []
        found = []
        for slot in sorted({POOL, *verdicts}):
            scope, verdict = self.scope_of(self.slots.names[slot]), verdicts.get(slot)
            if due:
                self._standing.move(scope, self._sums(slot))
            ts = (moment.pane + 1) * self.context.pane_ms
            found += self._standing.say(scope, ts, verdict.verdict_id if verdict else "")
        return found

    def _sums(self, slot: int) -> Ints:
        """Return the window's counts of a slot since the model version began."""
        held = self.window.held
        sums = self.window.sums
        if held and held[0].pane < self._since:
            sums = np.zeros_like(sums)
            for one in held:
                if one.pane >= self._since:
                    sums[one.slots] += one.cells
        row: Ints = self.pool_up(sums)[slot]
        return row

    def _fewer(self, scope: Scope, verdict: Verdict) -> Cause:
        held = automatic_text(self._frozen.parameters(scope)["automatic"])
        where = ", ".join(scope.values()) or "the whole model"
        sentence = f"{self.context.slo.name} in {where}: newer labels leave {held} to be decided automatically"
        return Cause(verdict.ts, verdict.verdict_id, sentence, {**verdict.evidence, "narrowed": True})
