"""One SLO through the policies that follow each other: which of them judges which panes, and what one leaves the next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from interlock.policies.controls import Controls, ReleaseCommand
from interlock.policies.machine_never import NeverMachine
from interlock.policies.said import Said
from interlock.policies.succession import Left
from interlock.records import Control
from interlock.streams.axes import Axis
from interlock.streams.axes_paired import PairedAxis
from interlock.streams.clock import BEGINNING
from interlock.streams.feed import Rows
from interlock.streams.shard import Trigger
from interlock.streams.tally import ABUSE, COHORT, NO_COHORT, PANE


class Marks(NamedTuple):
    """The last complete tick of each chain."""

    predictions: int
    joined: int
    reports: int


class Brought(NamedTuple):
    """Counts of one model, of each chain."""

    predictions: Rows
    joined: Rows
    reports: Rows


@dataclass(slots=True)
class Stage:
    """One policy's axis of the SLO from a tick on, None where the policy lacks it; `digest` names the policy.

    `floor` is the tick from which it knows predictions; `goes_on` says whether it asks what the policy before asked.
    """

    axis: Axis | None
    digest: str
    since: int = BEGINNING
    floor: int = BEGINNING
    goes_on: bool = False


def stages(axes: Sequence[tuple[Axis | None, str, int]]) -> list[Stage]:
    """Return the stages of an SLO: the axis, the digest and the first tick of each policy."""
    found: list[Stage] = []
    for axis, digest, since in axes:
        before = found[-1] if found else None
        goes_on = before is not None and _same(before.axis, axis)
        floor = before.floor if before is not None and goes_on else since
        found.append(Stage(axis, digest, since, floor, goes_on))
    return found


def _same(before: Axis | None, axis: Axis | None) -> bool:
    if before is None or axis is None or type(before) is not type(axis):
        return False
    old, new = (one.voice.context for one in (before, axis))
    places = [[feed.places for feed in one.feeds()] for one in (before, axis)]
    return places[0] == places[1] and old.asked == new.asked


class Line:
    """The stages of one SLO, the first of which judges; and the controls that no stage has any more."""

    def __init__(self, found: Sequence[Stage], tick: int) -> None:
        """Start with the first policy; `tick` is the width of a tick in ms."""
        self.stages, self._tick = list(found), tick
        self._gone = 0
        self.left = Left()

    def put(self, brought: Brought) -> None:
        """Give each stage the counts of its panes."""
        for place, stage in enumerate(self.stages):
            if stage.axis is None:
                continue
            until = self.stages[place + 1].since if place + 1 < len(self.stages) else None
            beside = brought.reports if _reported(stage.axis) else brought.joined
            since = stage.since if place else BEGINNING
            stage.axis.put(*(_within(rows, (since, until), stage.floor) for rows in (brought.predictions, beside)))

    def advance(self, start: int, marks: Marks) -> list[Said]:
        """Judge what has become complete; `start` is the model's first tick."""
        said: list[Said] = []
        while True:
            stage = self.stages[0]
            until = self.stages[1].since - 1 if len(self.stages) > 1 else None
            beside = marks.reports if _reported(stage.axis) else marks.joined
            capped = [mark if until is None else min(mark, until) for mark in (marks.predictions, beside)]
            if stage.axis is not None:
                said += stage.axis.advance(max(start, stage.since), *capped)
            reached = marks.predictions if stage.axis is None else stage.axis.reached(marks.predictions, beside)
            if until is None or reached < until:
                return said
            said += self._hand_over(start)

    def _hand_over(self, start: int) -> list[Said]:
        """Let the next stage go on: with all of the state where it asks the same, else with the controls."""
        before, now = self.stages[0], self.stages[1]
        del self.stages[0]
        self._gone += 1
        if now.goes_on and now.axis is not None and before.axis is not None:
            now.axis.go_on(before.axis)  # type: ignore[arg-type] # they are of one type
            return []
        said = []
        if before.axis is not None:
            said = before.axis.last_word()
            self.left.take(before.axis.voice.held(), before.axis.voice.machine.names())
        ended = self.left.tickets(now.since * self._tick, now.digest)
        if now.axis is not None:
            now.axis.begin(max(start, now.since))
            pane = max(start, now.since) // now.axis.feeds()[0].ratio - 1
            now.axis.voice.take_over(self.left, pane)
        return said + ([Said(controls=ended, ts=now.since * self._tick)] if ended else [])

    def trigger(self, trigger: Trigger) -> list[Control]:
        """Return the control of a violation ahead of its pane, by the policy that its time selects."""
        tick = trigger.ts // self._tick
        place = max((n for n, stage in enumerate(self.stages) if n and stage.since <= tick), default=0)
        axis = self.stages[place].axis
        if axis is None or not isinstance(axis.machine, NeverMachine):
            return []
        known = self._known(axis.machine.controls) if place else None
        return axis.machine.trigger(trigger.version, (trigger.ts, trigger.event_id, trigger.rule), known)

    def _known(self, of: Controls) -> Controls:
        """Return what a stage to come will find engaged, and its epochs."""
        first = self.stages[0].axis
        known = Controls(of.owner)
        kept = self.left.epochs(of.name)
        for controls in [*([kept] if kept else []), *(first.voice.held() if first else [])]:
            if controls.name == of.name:
                known.inherit(controls)
                known.engaged |= controls.engaged
        return known

    def release(self, command: ReleaseCommand) -> list[Control]:
        """End the engaged control that a person names, whichever policy engaged it."""
        axis = self.stages[0].axis
        return (axis.release(command) if axis is not None else []) or self.left.release(command)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        axes = [None if stage.axis is None else stage.axis.snapshot() for stage in self.stages]
        return {"axes": axes, "gone": self._gone, "left": self.left.snapshot()}

    def restore(self, saved: Any) -> None:
        """Take over a snapshot of the same SLO, of as many policies or fewer."""
        if "axes" not in saved:  # of a version that knew one policy
            saved = {"axes": [saved], "gone": 0, "left": []}
        self._gone = saved["gone"]
        del self.stages[: self._gone]
        for stage, state in zip(self.stages, saved["axes"], strict=False):
            if stage.axis is not None and state is not None:
                stage.axis.restore(state)
        self.left.restore(saved["left"])


def _reported(axis: Axis | None) -> bool:
    return isinstance(axis, PairedAxis) and axis.chain == ABUSE


def _within(rows: Rows, span: tuple[int, int | None], floor: int) -> Rows:
    """Return the rows of the ticks `[from, to)`, without what belongs to predictions before `floor`."""
    since, until = span
    if since == floor == BEGINNING and until is None:
        return rows
    pane, cohort = rows.table[PANE], rows.table[COHORT]
    keep = (pane >= since) & ((cohort == NO_COHORT) | (cohort >= floor))
    keep &= True if until is None else pane < until
    told = [x for x in rows.exemplars if x.pane >= since and (until is None or x.pane < until)]
    return replace(rows, table=rows.table[:, keep], exemplars=told)
