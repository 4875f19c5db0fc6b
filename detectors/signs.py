"""What the ECE test bets on: the residuals of earlier panes, back to about 5,000 labels."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS

MEMORY = 5000
"""Labels that signs are learned from (VERDICTS.md section 2, Signs)."""

Ints = NDArray[np.int64]
Pane = tuple[Ints, Ints]
"""The filled micro-bins of one pane and one slot: index int64[m] and (n, sum p, sum y) int64[3, m]."""


class SignMemory:
    """Per slot the newest whole panes whose labels together reach 5,000, and their sums.

    At most one pane more than 5,000 labels is kept, as filled micro-bins only, so memory is bounded however narrow the
    panes are. All integers: adding and dropping panes leaves the exact sums.
    """

    def __init__(self, slots: int) -> None:
        """Start without panes."""
        self._sums = np.zeros((3, slots, BINS), dtype=np.int64)
        self._labels = np.zeros(slots, dtype=np.int64)
        self._panes: list[deque[Pane]] = [deque() for _ in range(slots)]

    def add(self, n: Ints, sum_p: Ints, sum_y: Ints) -> None:
        """Take in a judged pane: counts int64[S, 64]. Slots without labels are left as they are."""
        counts = np.stack([n, sum_p, sum_y])
        for slot in np.flatnonzero(n.any(axis=1)):
            cell = np.flatnonzero(n[slot])
            self._push(int(slot), (cell, np.ascontiguousarray(counts[:, slot, cell])))

    def sums(self) -> tuple[Ints, Ints, Ints]:
        """Return (n, sum p, sum y) int64[S, 64] over the panes kept (copies)."""
        n, sum_p, sum_y = self._sums.copy()
        return n, sum_p, sum_y

    def clear(self, mask: NDArray[np.bool_]) -> None:
        """Forget the slots in `mask` bool[S], as when a new model version begins."""
        self._sums[:, mask] = 0
        self._labels[mask] = 0
        for slot in np.flatnonzero(mask):
            self._panes[slot].clear()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain arrays: `panes` (slot, filled bins) in order, and the `cells` (bin, n, p, y)."""
        panes = [(slot, len(pane[0])) for slot, kept in enumerate(self._panes) for pane in kept]
        cells = [np.vstack([pane[0], pane[1]]).T for kept in self._panes for pane in kept]
        empty = np.zeros((0, 4), dtype=np.int64)
        return {
            "panes": np.array(panes, dtype=np.int64).reshape(-1, 2),
            "cells": np.concatenate([empty, *cells]),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots."""
        self.clear(np.ones(len(self._panes), dtype=np.bool_))
        cells = np.array(saved["cells"], dtype=np.int64)
        start = 0
        for slot, size in np.asarray(saved["panes"]).tolist():
            part = cells[start : start + size]
            self._push(slot, (part[:, 0].copy(), np.ascontiguousarray(part[:, 1:].T)))
            start += size

    def _push(self, slot: int, pane: Pane) -> None:
        """Add the pane, then drop the oldest ones that 5,000 labels do not need."""
        kept = self._panes[slot]
        kept.append(pane)
        self._count(slot, pane, 1)
        while self._labels[slot] - kept[0][1][0].sum() >= MEMORY:
            self._count(slot, kept.popleft(), -1)

    def _count(self, slot: int, pane: Pane, sign: int) -> None:
        cell, counts = pane
        self._sums[:, slot, cell] += sign * counts
        self._labels[slot] += sign * counts[0].sum()
