"""How `decision_ece` reads its counts: reliability in 64 micro-bins, signs from earlier panes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.calibration import SignedResiduals, ece_plugin, ece_upper, ece_value
from interlock.detectors.ece import BINS, GROUPS, EceEvidence
from interlock.detectors.mirror import SignedMirror
from interlock.detectors.signs import SignMemory
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, MOST_UNDECIDED, Estimate
from interlock.policies.panes import Thresholds
from interlock.policies.plan import DECISIONS, TOP_LABELS, UNDECIDED

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

DUE, MISSING_WHERE, OF_TOP, BINS_FROM = range(4)
"""Columns: labels due, predictions whose `where` was undecided, labels of top classes; then n, sum of p and sum of y of
every micro-bin."""


class EceMeasure:
    """Expected calibration error of decisions, which must stay at or below the target."""

    width = BINS_FROM + 3 * BINS

    def __init__(self, evidence: EceEvidence, slots: int, window: int) -> None:
        """Judge by `evidence`, for S slots over a window of panes."""
        self._evidence = evidence
        self._signs = SignMemory(slots)
        self._residuals = SignedResiduals(slots, window, evidence.dispersion)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return {DECISIONS: DUE, UNDECIDED: MISSING_WHERE, TOP_LABELS: OF_TOP}.get(cell, BINS_FROM + cell)

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        weights = self._evidence.weights
        return Bank(thresholds, weights, lambda: SignedMirror(weights, GROUPS), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return decisions: all are due a label."""
        return table[:, DUE]

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found."""
        return table[:, DUE], self.n(table)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found."""
        return self.labels(table)

    @property
    def groups(self) -> Ints:
        """The group of each micro-bin, int64[64]."""
        return self._evidence.groups

    @staticmethod
    def n(table: Ints) -> Ints:
        """Return usable labels, int64[S]."""
        n: Ints = table[:, BINS_FROM::3].sum(axis=1)
        return n

    @staticmethod
    def bins(table: Ints) -> tuple[Ints, Ints, Ints]:
        """Return n, sum of p and sum of y per micro-bin, int64[S, 64] each."""
        return table[:, BINS_FROM::3], table[:, BINS_FROM + 1 :: 3], table[:, BINS_FROM + 2 :: 3]

    def log_bad(self, pane: int, table: Ints) -> Ints:
        """Return the evidence of a pane, int64[S, 5], and learn its signs for the panes to come."""
        bins = self.bins(table)
        signs = np.zeros((len(table), BINS))
        told = np.flatnonzero(self.n(table))
        signs[told] = self._evidence.signs(*(part[told] for part in self._signs.sums()))
        evidence = self._evidence.log_bad(signs, *bins)
        self._residuals.add(pane, signs, *bins)
        self._signs.add(*bins)
        return evidence

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[2, 5, 15]."""
        return self._evidence.log_good(*(part[0] for part in self.bins(row[None])))

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""
        bins, n = self.bins(sums), self.n(sums)
        value = ece_value(*bins, self._evidence.groups)
        proven = (n > 0) & (self.upper(sums) <= self._evidence.eps)
        undecided = sums[:, MISSING_WHERE]
        unidentified = undecided > MOST_UNDECIDED * (sums[:, DUE] + undecided)
        return Estimate(value, n, n / self._evidence.dispersion, value > self._evidence.eps, proven, unidentified)

    def upper(self, sums: Ints) -> NDArray[np.float64]:
        """Return the upper bound of every slot."""
        return ece_upper(*self.bins(sums), self._evidence.groups, ALPHA**self._evidence.dispersion)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the lower bounds by inverting the bets, and the upper bounds."""
        return np.array([self._residuals.lower(slot, ALPHA) for slot in slots]), self.upper(table)

    def details(self, row: Ints) -> dict[str, object]:
        """Return the plain ECE, which noise biases upwards, beside the debiased value."""
        bins = self.bins(row[None])
        plain = float(ece_plugin(*bins, self._evidence.groups)[0])
        n, p, y = (int(part.sum()) for part in bins)
        return self._bounds(row) | {
            "labels": n,
            "plugin": plain,
            "mean_p": p / 2**32 / max(n, 1),
            "mean_y": y / max(n, 1),
        }

    def _bounds(self, row: Ints) -> dict[str, object]:
        """Return how many lack a label, and between what the ECE lies whatever those would say: each moves it by 1/n."""
        table = row[None]
        n = int(self.n(table)[0])
        missing = max(0, int(row[DUE]) - n)
        if not n + missing:
            return {"unlabelled": 0, "if_right": None, "if_wrong": None}
        share = missing / (n + missing)
        value = float(ece_value(*self.bins(table), self._evidence.groups)[0]) if n else 0.0
        at_best, at_worst = max(0.0, value * (1 - share) - share), min(1.0, value * (1 - share) + share)
        return {"unlabelled": missing, "if_right": at_best, "if_wrong": at_worst}

    def expire(self, pane: int) -> None:
        """Let residuals that have left the window go."""
        self._residuals.expire(pane)

    def snapshot(self) -> dict[str, Any]:
        """Return what is remembered beyond the window's sums, as plain values and arrays."""
        return {"signs": self._signs.snapshot(), "residuals": self._residuals.snapshot()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots."""
        self._signs.restore(saved["signs"])
        self._residuals.restore(saved["residuals"])

    def restart(self, slots: Mask) -> None:
        """Forget the signs of these slots: another model version has begun."""
        self._signs.clear(slots)
