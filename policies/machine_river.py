"""`river.…`: breached while the window has a detection, and released when it has none. No evidence stands behind it."""

from collections.abc import Mapping
from typing import Any

from interlock.policies.alarm import Change
from interlock.policies.context import Context
from interlock.policies.controls import Cause, ReleaseCommand
from interlock.policies.machine import Known, Machine, Slices
from interlock.policies.measures_river import RiverMeasure
from interlock.policies.said import Moment
from interlock.policies.slots import POOL
from interlock.records import Control, Verdict


class RiverMachine(Machine):
    """Judges one SLO of a River detector: a ticket, outside the budget of false pages."""

    def __init__(self, context: Context) -> None:
        """Start before the first pane."""
        super().__init__(context, RiverMeasure())
        self._excused: dict[int, int] = {}
        """By slot, the pane up to which a person has let its detections go."""

    def judge(self, pane: int, slices: Slices) -> None:
        """Take in the next judged pane."""
        super().judge(pane, slices)
        self._trip(pane)

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:
        """End the engaged control that a person names; detections up to the judged pane `pane` engage it no more."""
        engaged = set(self.alarms.engaged)
        found = super().let_go(command, pane)
        self._excused.update(dict.fromkeys(engaged - set(self.alarms.engaged), pane))
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        return super().snapshot() | {"excused": dict(self._excused)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        super().restore(saved)
        self._excused = dict(saved["excused"])

    def _idle(self, pane: int) -> None:
        super()._idle(pane)
        self._trip(pane)

    def _trip(self, pane: int) -> None:
        """Engage each slot with a detection that nobody let go; release those without."""
        for slot in [POOL, *self.slots.numbers.values()]:
            since = self._excused.get(slot, -1)
            found = self.window.sums[slot, 1] and any(
                old.cells[old.slots == slot, 1].any() for old in self.window.held if old.pane > since
            )
            if found and slot not in self.alarms.engaged:
                self.changes.append(self.alarms.engage(slot, pane))
            elif not found and slot in self.alarms.engaged:
                self.changes.append(self.alarms.release(slot, pane))

    def _verdict(self, slot: int, moment: Moment, known: Known) -> Verdict:
        verdict = super()._verdict(slot, moment, (known[0], None, None, *known[3:]))
        return verdict.model_copy(update={"evidence": self._told(slot, verdict)})

    def _told(self, slot: int, verdict: Verdict) -> dict[str, object]:
        slo = self.context.slo
        told: dict[str, object] = {"detector": slo.resolved_indicator, "fields": list(slo.watched)}
        told |= self.measure.details(self.window.sums[slot])
        engaged = self.alarms.engaged.get(slot)
        if engaged:
            told |= {"phase": engaged.phase.value, "engaged_at": (engaged.since + 1) * self.context.pane_ms}
        held = self.window.held
        told |= self.causes.told(slot, held[0].pane if held else 0)
        reason = verdict.evidence.get("reason")
        return told | ({"reason": reason} if reason else {})

    def _control(self, change: Change, verdict: Verdict) -> list[Control]:
        where = ", ".join(verdict.scope.values()) or "the whole model"
        name = self.context.slo.resolved_indicator
        many = f"{verdict.evidence['detections']} detections by {name} in {where}"
        text = f"no detection by {name} in {where} any more" if change is Change.RELEASED else many
        cause = Cause(verdict.ts, verdict.verdict_id, f"{verdict.slo}: {text}", verdict.evidence)
        engage = self.controls.release if change is Change.RELEASED else self.controls.engage
        return [engage(verdict.scope, cause)]
