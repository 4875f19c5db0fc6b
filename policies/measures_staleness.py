"""How `label_staleness` reads its panes: the age of the youngest usable label, which is a fact and no sample."""

from collections.abc import Sequence

import numpy as np

from interlock.detectors.fixed import SCALE
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import MOST_UNDECIDED, Estimate, Floats, Ints
from interlock.policies.measures_base import WithoutLabels, WithoutMemory
from interlock.policies.panes import Thresholds
from interlock.policies.plan import HIT, UNDECIDED, N
from interlock.policies.scalars import HOUR

PREDICTIONS, LABELS, MISSING_WHERE, PANES, AGE, STALE = range(6)
"""Columns: predictions, usable labels, undecided; panes with predictions, the sum of their ages in ms, those too old."""

SURE = 40 * SCALE
"""Evidence of one pane: a fact, so under either hypothesis its factor is next to 0, or beyond every threshold."""

WEIGHTS = np.ones(1)


class StalenessMeasure(WithoutLabels, WithoutMemory):
    """Hours since the youngest prediction that has a label; one pane above the target breaks it.

    Of slices that are judged together, all must be too old.
    """

    width = 6

    def __init__(self, target: float) -> None:
        """Judge `hours <= target`."""
        self._target = target

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return {N: PREDICTIONS, HIT: LABELS, UNDECIDED: MISSING_WHERE}[cell]

    def aged(self, row: Ints, age: int) -> Ints:
        """Return the row of a pane whose youngest label is of this age in ms."""
        told = row.copy()
        told[PANES], told[AGE], told[STALE] = 1, age, age > self._target * HOUR
        return told

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        return Bank(thresholds, WEIGHTS, lambda: Mirror(WEIGHTS), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count."""
        return table[:, PREDICTIONS]

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - the axis knows the age
        """Return the evidence of a pane, int64[S, 1]."""
        old = np.where(table[:, STALE] == table[:, PANES], SURE, -SURE)
        return np.where(table[:, PANES] > 0, old, 0)[:, None]

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[1]."""
        good: Ints = -self.log_bad(0, row[None])[0]
        return good

    def estimate(self, sums: Ints) -> Estimate:
        """Return the mean age over the panes of a window, in hours, and where none of them was too old."""
        panes = sums[:, PANES]
        value = np.where(panes > 0, sums[:, AGE] / (np.maximum(panes, 1) * HOUR), np.nan)
        undecided = sums[:, MISSING_WHERE]
        unknown = undecided > MOST_UNDECIDED * (sums[:, PREDICTIONS] + undecided)
        proven = (panes > 0) & (sums[:, STALE] == 0)
        return Estimate(value, panes, panes.astype(np.float64), value > self._target, proven, unknown)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the value twice: it is not estimated."""
        value = self.estimate(table).value
        return value, value

    def details(self, row: Ints) -> dict[str, object]:
        """Return predictions, usable labels, panes and those too old."""
        names = {"predictions": PREDICTIONS, "labels": LABELS, "panes": PANES, "too_old": STALE}
        told: dict[str, object] = {name: int(row[place]) for name, place in names.items()}
        return told | {"undecided": int(row[MISSING_WHERE])}

    def faultless(self, row: Ints) -> Ints:
        """Return the same panes with labels that come at once."""
        good = row.copy()
        good[[AGE, STALE]] = 0
        return good
