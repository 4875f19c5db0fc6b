"""How the difference of two variants' shares is read: in the same panes, one against the other."""

from collections.abc import Sequence

import numpy as np

from interlock.detectors import difference
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, Estimate, Floats, Ints
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.measures_wrapped import WrappedMeasure
from interlock.policies.model_slo import Slo
from interlock.policies.panes import Thresholds


class CompareMeasure(WrappedMeasure):
    """The share of the judged variant minus the share of the other: rows have the cells of both, the judged one's first.

    A pane that lacks a variant says nothing. Evidence is bet on the failures of both, as their shares are: a difference of
    accuracies of at least -0.01 is one of error rates of at most 0.01.
    """

    def __init__(self, slo: Slo, share: RateMeasure, dispersion: float) -> None:
        """Judge an SLO that compares; `share` reads the cells of either variant."""
        super().__init__(share)
        if slo.compare is None:
            raise ValueError(slo.name)
        self._names, self._target, self._phi = (slo.compare.variant, slo.compare.to), slo.target.value, dispersion
        self._least = slo.target.op == ">="
        self._evidence = difference.DifferenceEvidence.build(slo.limit, dispersion)
        self.half, self.width = share.width, 2 * share.width

    def arms(self, table: Ints) -> tuple[Ints, Ints]:
        """Return the cells of the judged variant and of the other, int64[S, half] each."""
        return table[:, : self.half], table[:, self.half :]

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        good = self._evidence.good_weights
        return Bank(thresholds, self._evidence.bad_weights, lambda: Mirror(good), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return the predictions of the variant that has fewer: both are needed."""
        one, other = (self.share.seen(arm) for arm in self.arms(table))
        return np.minimum(one, other)

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found of the variant that lacks more of them."""
        (due, found), (due0, found0) = (self.share.labels(arm) for arm in self.arms(table))
        worse = found * due0 <= found0 * due
        return np.where(worse, due, due0), np.where(worse, found, found0)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return the labels of both that a pane may wait for, and those that are there."""
        (due, found), (due0, found0) = (self.share.awaited(arm) for arm in self.arms(table))
        return due + due0, found + found0

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, K]."""
        one, other = self._failing(table)
        return self._evidence.log_bad(one, other)

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[K]."""
        one, other = self._failing(row[None])
        good: Ints = self._evidence.log_good(one, other)[0]
        return good

    def _failing(self, table: Ints) -> tuple[difference.Counts, difference.Counts]:
        one, other = (self.share.failing(arm) for arm in self.arms(table))
        return one, other

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say; effective are the events of the variant that has fewer."""
        one, other = (self.share.estimate(arm) for arm in self.arms(sums))
        value = one.value - other.value
        missed = value < self._target if self._least else value > self._target
        lower, upper = self.interval(sums, ())
        proven = (lower >= self._target) if self._least else (upper <= self._target)
        effective = np.minimum(one.effective, other.effective)
        return Estimate(value, one.n + other.n, effective, missed, proven, one.unidentified | other.unidentified)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the intervals of the differences."""
        pairs = [(self.share.hits(arm), self.share.n(arm)) for arm in self.arms(table)]
        return difference.interval(pairs[0], pairs[1], ALPHA, self._phi)

    def details(self, row: Ints) -> dict[str, object]:
        """Return the value and the counts of each variant, the judged one's first."""
        told = {}
        for name, arm in zip(self._names, self.arms(row[None]), strict=True):
            value = float(self.share.estimate(arm).value[0])
            told[name] = {"value": None if np.isnan(value) else value, **self.share.details(arm[0])}
        return {"variants": told}

    def silent_arms(self, table: Ints) -> list[str]:
        """Return the variants that one slot's sums, int64[1, width], have no prediction of."""
        seen = [int(self.share.seen(arm)[0]) for arm in self.arms(table)]
        return [name for name, n in zip(self._names, seen, strict=True) if not n]
