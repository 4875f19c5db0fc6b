"""How means read their counts: values, or losses, in bins over their range; and the AUROC, a mean over pairs."""

import math
from collections.abc import Sequence

import numpy as np

from interlock.detectors import auroc, losses
from interlock.detectors.bounded_mean import MeanEvidence, interval
from interlock.detectors.fixed import SCALE
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, MOST_UNDECIDED, Estimate, Floats, Ints, Mask
from interlock.policies.measures_base import WithoutMemory
from interlock.policies.model_slo import Slo
from interlock.policies.panes import Thresholds
from interlock.policies.plan import BINS_FROM, CLIPPED, DUE, FOUND, UNDECIDED

COLUMNS = {UNDECIDED: 0, DUE: 1, FOUND: 2, CLIPPED: 3}
"""Columns before those of the bins."""

FIRST = len(COLUMNS)


class MeanMeasure(WithoutMemory):
    """A mean of values between the ends of a span, which must stay on one side of the target: losses, or a field.

    Values are placed between 0 and 1 within the span. Evidence is bet on what lies on the bad side of the target.
    """

    width = FIRST + 2 * losses.BINS
    points = losses.POINTS

    def __init__(self, slo: Slo, dispersion: float) -> None:
        """Judge by the target of an SLO whose indicator is a mean."""
        self._slo, self._phi = slo, dispersion
        self._least = slo.target.op == ">="
        self._labelled = slo.spec.chain == "joined"
        self._evidence = MeanEvidence.build(slo.limit, self.points, dispersion)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell; KeyError for a cell that means do not count."""
        return FIRST + cell - BINS_FROM if cell >= BINS_FROM else COLUMNS[cell]

    @staticmethod
    def bins(table: Ints) -> tuple[Ints, Ints]:
        """Return both counts of each bin, int64[S, 64] each: n and sum, or n and positives."""
        return table[:, FIRST::2], table[:, FIRST + 1 :: 2]

    def n(self, table: Ints) -> Ints:
        """Return the values that were counted, int64[S]."""
        n: Ints = self.bins(table)[0].sum(axis=1)
        return n

    def weights(self, table: Ints) -> Floats:
        """Return how many observations lie at each point, float64[S, P]."""
        return losses.at_edges(*self.bins(table))

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        weights = self._evidence.weights
        return Bank(thresholds, weights, lambda: Mirror(weights), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return predictions, whether they could be counted or not."""
        return (table[:, COLUMNS[DUE]] if self._labelled else self.n(table)) + table[:, COLUMNS[UNDECIDED]]

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found, int64[S] each; zeros for a mean of a field."""
        return table[:, COLUMNS[DUE]], table[:, COLUMNS[FOUND]]

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found."""
        return self.labels(table)

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, 6]."""
        weights = self.weights(table)
        return self._evidence.log_below(weights) if self._least else self._evidence.log_above(weights)

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[6]."""
        good: Ints = self._good(row[None])[0]
        return good

    def _good(self, table: Ints) -> Ints:
        weights = self.weights(table)
        return self._evidence.log_above(weights) if self._least else self._evidence.log_below(weights)

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""
        n, value, target = self.n(sums), self.value(sums), self._slo.target.value
        missed = value < target if self._least else value > target
        return Estimate(value, n, self.effective(sums) / self._phi, missed, self._proven(sums), self._undecided(sums))

    def value(self, sums: Ints) -> Floats:
        """Return the means, float64[S]; NaN without values."""
        n, total = self.n(sums), self.bins(sums)[1].sum(axis=1)
        mean = total / (np.maximum(n, 1) * float(SCALE))
        return np.where(n > 0, self._scaled(mean), np.nan)

    def effective(self, sums: Ints) -> Floats:
        """Return the observations, float64[S]."""
        return self.n(sums).astype(np.float64)

    def _scaled(self, share: Floats) -> Floats:
        """Return places between 0 and 1 as values."""
        low, high = self._slo.span
        value = low + (high - low) * share
        return np.sqrt(value) if self._slo.resolved_indicator == "rmse" else value

    def _proven(self, sums: Ints) -> Mask:
        """Return where the bets reject that the target is missed, bool[S]: what the safe end of the interval says too."""
        nats = self._good(sums) / float(SCALE)
        proven: Mask = np.logaddexp.reduce(nats, axis=1) - np.log(nats.shape[1]) >= np.log(2 / ALPHA)
        return proven

    def _undecided(self, sums: Ints) -> Mask:
        too_many: Mask = sums[:, COLUMNS[UNDECIDED]] > MOST_UNDECIDED * self.seen(sums)
        return too_many

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the intervals by inverting the bets, one slot after the other: no batch shows in the bits."""
        ends = [interval(row, self.points, ALPHA, self._phi) for row in self.weights(table)]
        low, high = np.array(ends).reshape(-1, 2).T
        return self._scaled(low), self._scaled(high)

    def details(self, row: Ints) -> dict[str, object]:
        """Return the span, how many values were counted, how many lay beyond it, and what could not be decided."""
        low, high = self._slo.span
        ends = [low, math.sqrt(high) if self._slo.resolved_indicator == "rmse" else high]
        told: dict[str, object] = {"range": ends, "n": int(self.n(row[None])[0]), "clipped": int(row[COLUMNS[CLIPPED]])}
        told["undecided"] = int(row[COLUMNS[UNDECIDED]])
        labels = {name: int(row[COLUMNS[cell]]) for name, cell in (("due", DUE), ("found", FOUND))}
        return told | (labels if self._labelled else {})

    def faultless(self, row: Ints) -> Ints:
        """Return the same traffic with all values at the good end of the span."""
        good, n = row.copy(), int(self.n(row[None])[0])
        good[FIRST:] = 0
        place = self.width - 2 if self._least else FIRST
        good[place], good[place + 1] = n, n * SCALE * self._least
        return good


class AurocMeasure(MeanMeasure):
    """How well scores tell positives from negatives: a mean over pairs, of which no label is in two."""

    points = auroc.POINTS

    @staticmethod
    def _classes(table: Ints) -> tuple[Ints, Ints]:
        n, positives = MeanMeasure.bins(table)
        return n - positives, positives

    def weights(self, table: Ints) -> Floats:
        """Return how many disjoint pairs are in the wrong order, tied, and in the right order, float64[S, 3]."""
        return auroc.pairs(*self._classes(table))

    def value(self, sums: Ints) -> Floats:
        """Return the AUROC, float64[S]; NaN without a positive or a negative."""
        return auroc.auroc(*self._classes(sums))

    def effective(self, sums: Ints) -> Floats:
        """Return the disjoint pairs: as many as the rarer class has labels."""
        negatives, positives = self._classes(sums)
        least: Floats = np.minimum(negatives.sum(axis=1), positives.sum(axis=1)).astype(np.float64)
        return least

    def details(self, row: Ints) -> dict[str, object]:
        """Return labels by class, and what could not be decided."""
        negatives, positives = (int(part.sum()) for part in self._classes(row[None]))
        told = super().details(row) | {"positives": positives, "negatives": negatives}
        return {name: value for name, value in told.items() if name not in ("clipped", "range")}

    def faultless(self, row: Ints) -> Ints:
        """Return the same labels, all negatives with the lowest score and all positives with the highest."""
        good = row.copy()
        negatives, positives = (int(part.sum()) for part in self._classes(row[None]))
        good[FIRST:] = 0
        good[FIRST], good[-2], good[-1] = negatives, positives, positives
        return good
