"""What drift's streams have counted: since their evidence began, and in the window, for display."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.drift import BINS

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Tallies:
    """Counts int64[S, F, B] since each stream's evidence began, in pane `since` int64[S, F]; and of two half windows.

    `hot` bool[S, F] are the streams that have evidence: the others have counted nothing since.
    """

    begun: Ints
    since: Ints
    hot: Mask
    recent: Ints
    half: int = -1

    @classmethod
    def of(cls, slots: int, streams: int) -> "Tallies":
        """Return them empty."""
        shape = (slots, streams, BINS)
        begun, recent = np.zeros(shape, np.int64), np.zeros((2, *shape), np.int64)
        return cls(begun, np.zeros(shape[:2], np.int64), np.zeros(shape[:2], np.bool_), recent)

    def add(self, half: int, counts: Ints) -> None:
        """Take in a pane's counts, which lies in a half of the window."""
        if half != self.half:
            self.recent[0] = self.recent[1] if half == self.half + 1 else 0
            self.recent[1] = 0
            self.half = half
        self.recent[1] += counts

    def follow(self, pane: int, hot: Mask, counts: Ints) -> None:
        """Add the counts of a pane to the streams that have evidence after it; the evidence of others begins later."""
        self.begun[hot] += counts[hot]
        self.begun[self.hot & ~hot] = 0
        self.since[~hot] = pane + 1
        self.hot = hot

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        self.begun[slot], self.recent[:, slot], self.hot[slot] = 0, 0, False

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        arrays = {name: getattr(self, name).copy() for name in ("begun", "since", "hot", "recent")}
        return arrays | {"half": self.half}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots and streams."""
        self.begun, self.since, self.recent = (np.array(saved[x], np.int64) for x in ("begun", "since", "recent"))
        self.hot, self.half = np.array(saved["hot"], np.bool_), saved["half"]
