"""From evidence to alarm: what engages, recovers and releases each slot of an SLO (VERDICTS.md §2 and §4)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.mirror import RecentStarts
from interlock.detectors.windowed import StartWindow
from interlock.policies.panes import Thresholds
from interlock.policies.scalars import DAY

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Phase(StrEnum):
    """Where a slot's alarm stands."""

    ENGAGED = "engaged"
    RECOVERING = "recovering"


class Recovery(Protocol):
    """Mirrored evidence since the engagement: `Mirror` or `SignedMirror`."""

    def step(self, log_good: Ints) -> None:
        """Take in a non-empty pane."""

    @property
    def log_v(self) -> float:
        """Natural logarithm of V."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""


@dataclass(frozen=True, slots=True)
class Bank:
    """What the alarms of an SLO have in common."""

    thresholds: Thresholds
    bad_weights: NDArray[np.float64]
    recovery: Callable[[], Recovery]
    stale_panes: int


@dataclass(slots=True)
class Engagement:
    """One slot's alarm since it engaged: `clear` counts judged panes without a warning since recovery began."""

    phase: Phase
    since: int
    hold: int
    recovery: Recovery
    recent: RecentStarts
    last: int
    clear: int = 0
    asked: bool = False


class Change(StrEnum):
    """What happened to a slot's alarm."""

    ENGAGED = "engaged"
    ENGAGED_AGAIN = "engaged again"
    """Within a day of the last release: it updates the incident instead of paging."""
    RECOVERING = "recovering"
    RESUMED = "resumed"
    """Out of recovery back to engaged: no new epoch, no page."""
    HELD = "held"
    """Engaged for max_hold: a person is asked; the control stands."""
    WORSENED = "worsened"
    """What was a ticket is a page now."""
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one slot's alarm."""

    slot: int
    change: Change


class Alarms:
    """The alarms of S slots of one SLO.

    M of every slot grows in a `StartWindow`; where it reaches C the slot engages, its floor moves, and from then on the
    mirrored evidence and the evidence of the last `hold` decide when it is let go.
    """

    def __init__(self, slots: int, bank: Bank, *, latched: bool = False) -> None:
        """Start released, without evidence; `latched`: only a person lets go."""
        self._bank, self._latched = bank, latched
        self._window = StartWindow(slots, bank.bad_weights, bank.thresholds.window_panes)
        self._page, self._warn, self._let_go = (
            math.log(c) for c in (bank.thresholds.page, bank.thresholds.warn, bank.thresholds.release)
        )
        self._day = DAY // bank.thresholds.pane_ms
        self._released: dict[int, tuple[int, int]] = {}
        self.engaged: dict[int, Engagement] = {}
        self.floor: dict[int, int] = {}

    def step(self, pane: int, log_bad: Ints, nonempty: Mask, log_good: Callable[[int], Ints]) -> list[Transition]:
        """Judge one pane: evidence int64[S, K], which slots had any, and the mirrored evidence of a slot on demand."""
        self._window.advance(pane, log_bad, nonempty)
        changes = []
        for slot in sorted(self.engaged):
            if nonempty[slot]:
                self._hear(self.engaged[slot], pane, log_bad[slot], log_good(slot))
            changes += self._follow(slot, pane)
        for slot in np.flatnonzero(self._window.log_m() >= self._page).tolist():
            if slot not in self.engaged:
                changes.append(self.engage(slot, pane))
        return changes

    def idle(self, pane: int) -> list[Transition]:
        """Let a pane without any counts pass: only time moves."""
        return [change for slot in sorted(self.engaged) for change in self._follow(slot, pane)]

    def age(self, pane: int, slots: int) -> None:
        """Let evidence that has left the window go, as of an empty pane."""
        self._window.advance(pane, np.zeros((slots, len(self._bank.bad_weights)), np.int64), np.zeros(slots, np.bool_))

    def log_m(self) -> NDArray[np.float64]:
        """Return ln M float64[S]."""
        return self._window.log_m()

    def warned(self) -> Mask:
        """Return bool[S]: M >= C_warn."""
        warned: Mask = self._window.log_m() >= self._warn
        return warned

    def restart(self, slots: Mask, pane: int) -> None:
        """Raise the floor of these slots: evidence starts after `pane`."""
        self._window.clear(slots)
        for slot in np.flatnonzero(slots).tolist():
            self.floor[slot] = pane + 1

    def drop(self, slot: int) -> None:
        """Forget a slot altogether: it is given to another slice."""
        mask = np.zeros(len(self._window.log_m()), np.bool_)
        mask[slot] = True
        self._window.clear(mask)
        for kept in (self.engaged, self._released, self.floor):
            kept.pop(slot, None)

    def release(self, slot: int, pane: int) -> Transition:
        """End an engagement: by proof, or by a person."""
        self._released[slot] = (pane, self.engaged.pop(slot).hold)
        self._restart_one(slot, pane)
        return Transition(slot, Change.RELEASED)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        engaged = {
            slot: (x.phase.value, x.since, x.hold, x.recovery.snapshot(), x.recent.snapshot(), x.last, x.clear, x.asked)
            for slot, x in self.engaged.items()
        }
        kept = {"released": dict(self._released), "floor": dict(self.floor)}
        return {"window": self._window.snapshot(), "engaged": engaged} | kept

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same bank and as many slots."""
        self._window.restore(saved["window"])
        self._released = {slot: (pane, hold) for slot, (pane, hold) in saved["released"].items()}
        self.floor = dict(saved["floor"])
        self.engaged = {}
        for slot, (phase, since, hold, recovery, recent, *rest) in saved["engaged"].items():
            state = Engagement(Phase(phase), since, hold, self._bank.recovery(), self._recent(hold), *rest)
            state.recovery.restore(recovery)
            state.recent.restore(recent)
            self.engaged[slot] = state

    def _recent(self, hold: int) -> RecentStarts:
        longest = max(self._day, self._bank.thresholds.hold_panes)
        return RecentStarts(self._bank.bad_weights, hold, longest)

    def engage(self, slot: int, pane: int) -> Transition:
        """Engage a slot: by evidence, or because its machine says so."""
        base = self._bank.thresholds.hold_panes
        at, hold = self._released.get(slot, (-self._day - 1, base))
        again = pane - at <= self._day and slot in self._released
        hold = min(2 * hold, max(self._day, base)) if again else base
        self.engaged[slot] = Engagement(Phase.ENGAGED, pane, hold, self._bank.recovery(), self._recent(hold), pane)
        self._restart_one(slot, pane)
        return Transition(slot, Change.ENGAGED_AGAIN if again else Change.ENGAGED)

    def _restart_one(self, slot: int, pane: int) -> None:
        mask = np.zeros(len(self._window.log_m()), np.bool_)
        mask[slot] = True
        self.restart(mask, pane)

    @staticmethod
    def _hear(state: Engagement, pane: int, log_bad: Ints, log_good: Ints) -> None:
        state.recovery.step(log_good)
        state.recent.step(pane, log_bad)
        state.last = pane

    def held(self, slot: int, pane: int) -> list[Transition]:
        """Return whether a person must be asked now: once an engagement, after max_hold."""
        state = self.engaged[slot]
        asks = not state.asked and pane - state.since >= self._bank.thresholds.max_hold_panes
        state.asked |= asks
        return [Transition(slot, Change.HELD)] * asks

    def _follow(self, slot: int, pane: int) -> list[Transition]:
        held = self.held(slot, pane)
        return held if self._latched else held + self._recover(slot, pane)

    def _recover(self, slot: int, pane: int) -> list[Transition]:
        state = self.engaged[slot]
        warned = state.recent.log_m(pane) >= self._warn
        if state.phase is Phase.ENGAGED and state.recovery.log_v >= self._let_go:
            if warned:
                state.recovery = self._bank.recovery()
                return []
            state.phase, state.clear = Phase.RECOVERING, 0
            return [Transition(slot, Change.RECOVERING)]
        if state.phase is not Phase.RECOVERING:
            return []
        if warned:
            state.phase, state.recovery = Phase.ENGAGED, self._bank.recovery()
            return [Transition(slot, Change.RESUMED)]
        # A gap longer than stale_after pauses the hold: silence proves nothing.
        state.clear += pane - state.last <= self._bank.stale_panes
        return [self.release(slot, pane)] if state.clear >= state.hold else []
