"""Event time of one input partition: watermark, effective time and lateness, decided event by event."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

YEAR_2000 = 946_684_800_000
"""Milliseconds. A `ts` before it is almost surely seconds taken for milliseconds."""

BEGINNING = -(1 << 62)
"""Watermark of a topic that has said nothing yet."""


@dataclass(frozen=True, slots=True)
class Times:
    """Times of n events in offset order, int64[n] milliseconds: watermark before each event, effective time, late."""

    watermark: NDArray[np.int64]
    effective: NDArray[np.int64]
    late: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_]) -> "Times":
        """Return the times of these rows only."""
        return Times(self.watermark[rows], self.effective[rows], self.late[rows])


def refusals(
    ts: NDArray[np.int64], appended: NDArray[np.int64], max_skew: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which events lie too far in the future (`future_ts`) and which before the year 2000 (`ancient_ts`)."""
    return ts > appended + max_skew, ts < YEAR_2000


@dataclass(slots=True)
class Clock:
    """Running maximum of one topic-partition (STREAM.md §1): the same answers however the stream is cut."""

    lateness: int
    latest: int = BEGINNING
    ended: bool = False
    """Whether the topic will bring nothing more."""

    @property
    def watermark(self) -> int:
        """No later event can have an effective time before this one."""
        return self.latest - self.lateness if self.latest != BEGINNING else BEGINNING

    def read(self, ts: NDArray[np.int64], appended: NDArray[np.int64]) -> Times:
        """Pass n events, in order: `t = min(ts, appended)`, `W = max(earlier t) - lateness`, `e = max(t, W)`."""
        t = np.minimum(ts, appended)
        reached = np.maximum.accumulate(np.concatenate(([self.latest], t)))
        before = np.where(reached[:-1] == BEGINNING, BEGINNING, reached[:-1] - self.lateness)
        self.latest = int(reached[-1])
        return Times(before, np.maximum(t, before), t < before)
