"""Ratios of labels of which some are still to come: each label stands for those of its kind that are missing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interlock.detectors import recall
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, Estimate, Floats, Ints
from interlock.policies.measures_labels import LabelledMeasure
from interlock.policies.panes import Thresholds
from interlock.policies.scalars import Target


class WeightedMeasure(LabelledMeasure):
    """A share of labelled predictions, each weighted by 1/G: G is the share of its outcome class whose label is there.

    Only the ratio π = G(wrong) / G(right) matters, so value, evidence and interval are those of audited recall with right
    predictions as hits and wrong ones as misses that were looked at with probability π. It holds as far as the delays of
    the reference hold now. Source: notes/detectors.md §2.3 and §4.4.
    """

    def __init__(self, target: Target, dispersion: float, shares: tuple[float, float] | None, *, both: bool) -> None:
        """Judge by the target; `shares` of right and of wrong predictions have their label, None: nothing is identified."""
        super().__init__(target, dispersion, both=both)
        self._known = shares is not None
        right, wrong = shares or (1.0, 1.0)
        self._pis = (wrong / right,)
        self._bets = recall.RecallEvidence.build(1 - self.limit, self._pis, dispersion)

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        good = self._bets.good_weights
        return Bank(thresholds, self._bets.bad_weights, lambda: Mirror(good), stale_panes)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return due labels and none found: a pane is judged at maturity, at which the shares hold, and never earlier."""
        due, _ = self.labels(table)
        return due, np.zeros_like(due)

    def _right_wrong(self, table: Ints) -> tuple[Ints, Ints]:
        wrong = self._failures(table)
        return self.n(table) - wrong, wrong[:, None]

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, 6]; none where the shares are not known."""
        return self._bets.log_bad(*self._right_wrong(table)) * self._known

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[5]."""
        good: Ints = self._bets.log_good(*self._right_wrong(row[None]))[0] * self._known
        return good

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""
        plain, (right, wrong), weight = super().estimate(sums), self._right_wrong(sums), 1 / self._pis[0]
        good = recall.value(right, wrong, self._pis)
        total, square = right + wrong[:, 0] * weight, right + wrong[:, 0] * weight**2
        lower, _ = recall.interval(right, wrong, self._pis, ALPHA, self._phi)
        return replace(
            plain,
            value=good if self._least else 1 - good,
            effective=total**2 / np.maximum(square, 1.0) / self._phi,
            missed=good < 1 - self.limit,
            proven=(lower >= 1 - self.limit) & self.came(sums),
            unidentified=plain.unidentified | (not self._known),
        )

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the intervals that invert the bets."""
        lower, upper = recall.interval(*self._right_wrong(table), self._pis, ALPHA, self._phi)
        return (lower, upper) if self._least else (1 - upper, 1 - lower)

    def details(self, row: Ints) -> dict[str, object]:
        """Return counts, and how much a wrong prediction's label weighs beside a right one's."""
        return super().details(row) | {"weight_of_wrong": 1 / self._pis[0] if self._known else None}
