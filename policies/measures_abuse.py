"""How `abuse_rate` reads its counts: reports per thousand predictions, of groups in which nobody can be made out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interlock.detectors.event_rate import FASTER, EventRateEvidence, garwood, proves_at_most
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, MOST_UNDECIDED, Estimate, Floats, Ints, Mask
from interlock.policies.measures_base import WithoutLabels
from interlock.policies.panes import Thresholds
from interlock.policies.plan import HIT, UNDECIDED, N

PER = 1000.0
"""Predictions that the rate is given for."""


class AbuseMeasure(WithoutLabels):
    """Reports per thousand predictions, which must stay at or below the target.

    Fewer than `least` reports are told of nobody: the value is hidden, and their evidence is held back until there are as many.
    To add up panes until then is a predictable grouping, so the budget holds; of no report at all there is nothing to hide.
    """

    width = 3

    def __init__(self, target: float, dispersion: float, least: int, slots: int) -> None:
        """Judge `1000 reports / predictions <= target` for S slots."""
        self._target, self._phi, self._least = target, dispersion, least
        self._evidence = EventRateEvidence.build(target / PER, dispersion)
        self._held = np.zeros((slots, len(FASTER)), np.int64)
        self._reports = np.zeros(slots, np.int64)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell: predictions, reports, undecided."""
        return {N: 0, HIT: 1, UNDECIDED: 2}[cell]

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        good = self._evidence.good_weights
        return Bank(thresholds, self._evidence.bad_weights, lambda: Mirror(good), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count."""
        return table[:, 0]

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - what is held back has no time of its own
        """Return the evidence of a pane and of those held back, int64[S, 6]; 0 while the reports are too few."""
        self._held += self._evidence.log_bad(table[:, 1], table[:, 0])
        self._reports += table[:, 1]
        told = self._reports >= self._least
        out = np.where(told[:, None], self._held, 0)
        self._forget(told)
        return out

    def _forget(self, slots: Mask) -> None:
        self._held[slots], self._reports[slots] = 0, 0

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[5]."""
        good: Ints = self._evidence.log_good(row[1:2], row[:1])[0]
        return good

    def hidden(self, table: Ints) -> Mask:
        """Return where reports are too few to be told of, bool[S]."""
        few: Mask = (table[:, 1] > 0) & (table[:, 1] < self._least)
        return few

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say; nothing where reports are too few."""
        n, reports, hidden = sums[:, 0], sums[:, 1], self.hidden(sums)
        value = np.where((n > 0) & ~hidden, PER * reports / np.maximum(n, 1), np.nan)
        proven = (n > 0) & ~hidden & proves_at_most(reports, n, self._target / PER, ALPHA, self._phi)
        undecided = sums[:, 2] > MOST_UNDECIDED * (n + sums[:, 2])
        return Estimate(value, n, n / self._phi, value > self._target, proven, undecided)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the intervals of Garwood, per thousand predictions."""
        lower, upper = garwood(table[:, 1], table[:, 0], ALPHA, self._phi)
        return PER * lower, PER * upper

    def details(self, row: Ints) -> dict[str, object]:
        """Return reports and predictions; of too few reports only that they are."""
        told: dict[str, object] = {"n": int(row[0]), "undecided": int(row[2])}
        return told | ({"fewer_than": self._least} if self.hidden(row[None])[0] else {"reports": int(row[1])})

    def faultless(self, row: Ints) -> Ints:
        """Return the same traffic without a report."""
        good = row.copy()
        good[1] = 0
        return good

    def expire(self, pane: int) -> None:
        """Do nothing: what is held back waits for more reports."""

    def restart(self, slots: Mask) -> None:
        """Forget what is held back of these slots: other slices will have them."""
        self._forget(slots)

    def snapshot(self) -> dict[str, Any]:
        """Return what is held back, as arrays."""
        return {"held": self._held.copy(), "reports": self._reports.copy()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots."""
        self._held, self._reports = np.array(saved["held"], np.int64), np.array(saved["reports"], np.int64)
