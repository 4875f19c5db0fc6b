"""Judged panes of an SLO that lie inside its window: their counts, sums, and the stretch that speaks most for a breach."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.fixed import to_nats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class JudgedPane:
    """One pane: the slots that had counts int64[m], their cells int64[m, cells], their evidence int64[m, K]."""

    pane: int
    slots: Ints
    cells: Ints
    log_bad: Ints


@dataclass(frozen=True, slots=True)
class Stretch:
    """The panes from `first` on whose evidence for a breach is greatest, their counts int64[cells], and ln of it."""

    first: int
    cells: Ints
    nats: float


class PaneWindow:
    """Sums over the last `panes` panes of S slots; adding and dropping integers leaves no trace."""

    def __init__(self, slots: int, cells: int, panes: int) -> None:
        """Start empty."""
        self.sums = np.zeros((slots, cells), np.int64)
        self.held: deque[JudgedPane] = deque()
        self._panes = panes
        self._now = -1
        self._last: dict[int, Ints] = {}

    def add(self, pane: int, table: Ints, log_bad: Ints) -> None:
        """Take in a pane's counts int64[S, cells] and its evidence int64[S, K]."""
        slots = np.flatnonzero(table.any(axis=1))
        if len(slots):
            self.held.append(JudgedPane(pane, slots, table[slots], log_bad[slots]))
            self.sums[slots] += table[slots]
        self.expire(pane)

    def expire(self, pane: int) -> None:
        """Drop panes that are not later than `pane - window`."""
        self._now, self._last = pane, {}
        while self.held and self.held[0].pane <= pane - self._panes:
            old = self.held.popleft()
            self.sums[old.slots] -= old.cells

    def restate(self, pane: int, later: Iterable[tuple[int, Ints]]) -> bool:
        """Add what came later to a pane's counts, int64[cells] of slots, evidence as it was; return whether anything did.

        What the window does not hold, or would fall below zero (its slot was another's then), stays as it was.
        """
        place = next((i for i, one in enumerate(self.held) if one.pane == pane), None)
        if place is None:
            return False
        changes: dict[int, Ints] = {}
        for slot, row in later:
            changes[slot] = changes[slot] + row if slot in changes else row
        old = self.held[place]
        cells, changed = old.cells.copy(), False
        for at, slot in enumerate(old.slots.tolist()):
            change = changes.get(slot)
            if change is not None and (cells[at] + change >= 0).all():
                cells[at] += change
                self.sums[slot] += change
                changed = True
        self.held[place] = JudgedPane(pane, old.slots, cells, old.log_bad)
        self._last = {}
        return changed

    def forget(self, slot: int) -> None:
        """Drop all counts of one slot."""
        for place, old in enumerate(self.held):
            keep = old.slots != slot
            if not keep.all():
                self.held[place] = JudgedPane(old.pane, old.slots[keep], old.cells[keep], old.log_bad[keep])
        self.sums[slot] = 0
        self._last = {}

    def last(self, panes: int) -> Ints:
        """Return the sums over the last `panes` panes, int64[S, cells], read-only: the one judged last, and those before."""
        if panes >= self._panes:
            return self.sums
        if panes not in self._last:
            total = np.zeros_like(self.sums)
            for one in reversed(self.held):
                if one.pane <= self._now - panes:
                    break
                total[one.slots] += one.cells
            self._last[panes] = total
        return self._last[panes]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {"now": self._now, "held": [(old.pane, old.slots, old.cells, old.log_bad) for old in self.held]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots and cells."""
        self.held = deque(JudgedPane(*old) for old in saved["held"])
        self._now, self._last = saved["now"], {}
        self.sums[:] = 0
        for old in self.held:
            self.sums[old.slots] += old.cells

    def stretch(self, slot: int, floor: int) -> Stretch | None:
        """Return the stretch since `floor` that speaks most for a breach of one slot; None without panes."""
        panes = [(old, int(np.flatnonzero(old.slots == slot)[0])) for old in self.held if slot in old.slots]
        panes = [(old, row) for old, row in panes if old.pane >= floor]
        if not panes:
            return None
        evidence = np.cumsum([old.log_bad[row] for old, row in reversed(panes)], axis=0).max(axis=1)
        back = int(np.argmax(evidence))
        cells = sum((old.cells[row] for old, row in panes[len(panes) - 1 - back :]), np.zeros_like(self.sums[slot]))
        return Stretch(panes[len(panes) - 1 - back][0].pane, cells, float(to_nats(evidence[back])))
