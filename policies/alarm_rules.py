"""Alarms by a plain rule instead of evidence: outside the budget of false pages, for those who ask for it by name."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Alarms, Bank, Change, Phase, Transition
from interlock.policies.panes import Thresholds

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Level(IntEnum):
    """What a rule says of a slot: too little to say, good, bad enough for a ticket, bad enough for a page."""

    UNKNOWN = 0
    GOOD = 1
    TICKET = 2
    PAGE = 3


Rule = Callable[[int], Ints]
"""Levels int64[S] as of a judged pane, from the counts of the window that ends with it."""

ALONE = np.ones(1)


def bank_of(thresholds: Thresholds, stale_panes: int) -> Bank:
    """Return the bank of alarms that rest on no evidence."""
    return Bank(thresholds, ALONE, lambda: Mirror(ALONE), stale_panes)


class RuleAlarms(Alarms):
    """The alarms of S slots by a rule: bad engages, `hold` judged panes that are good in a row release.

    `levels` has the worst level since each slot last engaged: one that turns from ticket to page says so once.
    """

    def __init__(self, slots: int, bank: Bank, rule: Rule, *, latched: bool = False) -> None:
        """Start released."""
        super().__init__(slots, bank, latched=latched)
        self._rule = rule
        self.levels: dict[int, int] = {}

    def step(self, pane: int, log_bad: Ints, nonempty: Mask, log_good: Callable[[int], Ints]) -> list[Transition]:  # noqa: ARG002 - a rule needs no evidence
        """Judge one pane by the window's counts, which have it already."""
        levels, changes = self._rule(pane), list[Transition]()
        for slot in sorted(self.engaged):
            self.engaged[slot].last = pane if nonempty[slot] else self.engaged[slot].last
            changes += self.held(slot, pane) + self._judged(slot, pane, int(levels[slot]))
        for slot in np.flatnonzero(levels >= Level.TICKET).tolist():
            if slot not in self.engaged and nonempty[slot]:
                changes.append(self.engage(slot, pane))
                self.levels[slot] = int(levels[slot])
        return changes

    def idle(self, pane: int) -> list[Transition]:
        """Let a pane without any counts pass: silence neither breaks a rule nor keeps it."""
        return [change for slot in sorted(self.engaged) for change in self.held(slot, pane)]

    def age(self, pane: int, slots: int) -> None:
        """Do nothing: no evidence has to leave."""

    def drop(self, slot: int) -> None:
        """Forget a slot altogether: it is given to another slice."""
        super().drop(slot)
        self.levels.pop(slot, None)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return super().snapshot() | {"levels": dict(self.levels)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same bank and as many slots."""
        super().restore(saved)
        self.levels = dict(saved["levels"])

    def _judged(self, slot: int, pane: int, level: int) -> list[Transition]:
        """Follow an engaged slot through a judged pane."""
        state = self.engaged[slot]
        if level != Level.GOOD:
            worse = level > self.levels[slot]
            self.levels[slot] = max(level, self.levels[slot])
            state.clear = 0 if level >= Level.TICKET else state.clear
            resumed = state.phase is Phase.RECOVERING and level >= Level.TICKET
            state.phase = Phase.ENGAGED if resumed else state.phase
            return [Transition(slot, Change.WORSENED)] * worse + [Transition(slot, Change.RESUMED)] * resumed
        if self._latched:
            return []
        found = [] if state.phase is Phase.RECOVERING else [Transition(slot, Change.RECOVERING)]
        state.phase = Phase.RECOVERING
        state.clear += state.last == pane
        return [*found, self.release(slot, pane)] if state.clear >= state.hold else found
