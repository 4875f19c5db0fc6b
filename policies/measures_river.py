"""How detections of River are read: their number in the window, and no evidence, since none can be stated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interlock.detectors.fixed import SCALE
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import MOST_UNDECIDED, Estimate, Floats, Ints
from interlock.policies.measures_base import WithoutLabels, WithoutMemory
from interlock.policies.panes import Thresholds
from interlock.policies.plan import HIT, UNDECIDED, N

NOTHING = -64 * SCALE
"""Evidence of every pane, so small that it adds up to none: no alarm rests on it."""

NEVER = 1 << 62
"""Panes after which a person is asked: it ends by itself."""


class RiverMeasure(WithoutLabels, WithoutMemory):
    """Detections among n events."""

    width = 3

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return {N: 0, HIT: 1, UNDECIDED: 2}[cell]

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        one = np.ones(1)
        return Bank(replace(thresholds, max_hold_panes=NEVER), one, lambda: Mirror(one), stale_panes)

    def detections(self, table: Ints) -> Ints:
        """Return how many detections there are, int64[S]."""
        return table[:, 1]

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count."""
        return table[:, 0]

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no pane says anything
        """Return NOTHING for each slot, int64[S, 1]."""
        return np.full((len(table), 1), NOTHING, np.int64)

    def log_good(self, row: Ints) -> Ints:  # noqa: ARG002 - no pane says anything
        """Return NOTHING."""
        return np.full(1, NOTHING, np.int64)

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say: `proven` is only that there was no detection."""
        n, found, undecided = sums[:, 0], self.detections(sums), sums[:, 2]
        value = np.where(n > 0, found.astype(np.float64), np.nan)
        too_many = undecided > MOST_UNDECIDED * (n + undecided)
        return Estimate(value, n, n.astype(np.float64), found > 0, (n > 0) & (found == 0), too_many)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the number itself: it is counted, not estimated."""
        found = self.detections(table).astype(np.float64)
        return found, found

    def details(self, row: Ints) -> dict[str, object]:
        """Return detections, events, and those that the detector could not be shown."""
        return {"detections": int(row[1]), "n": int(row[0]), "undecided": int(row[2])}
