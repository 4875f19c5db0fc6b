"""How a share reads its counts where one pane is one observation: evidence, value and interval from the panes' shares."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interlock.detectors import losses
from interlock.detectors.bounded_mean import MeanEvidence, interval
from interlock.detectors.fixed import SCALE
from interlock.detectors.mirror import Mirror
from interlock.detectors.pane_share import PaneEvidence
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, Estimate, Floats, Ints, Mask
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.measures_wrapped import WrappedMeasure
from interlock.policies.panes import Thresholds


class PaneMeasure(WrappedMeasure):
    """A share whose panes count once each, however many events they have (VERDICTS.md §2).

    Beside the cells of the share, a row has the panes by their share of failures, in bins: number and sum in units of
    1/SCALE. `complete` fills them in for a judged pane; they add up over the window as counts do. A row without them, as
    tallies give it, is read as the share itself would read it.
    """

    def __init__(self, share: RateMeasure) -> None:
        """Judge a share by its panes."""
        super().__init__(share)
        self._first, self._limit = share.width, share.limit
        self.width = share.width + 2 * losses.BINS
        self._evidence = PaneEvidence(share.limit)
        self._bets = MeanEvidence.build(share.limit, losses.POINTS)

    def complete(self, table: Ints) -> Ints:
        """Return the rows of one pane, int64[S, width], with what the pane itself adds."""
        failures, n = self.share.failing(table)
        some = np.flatnonzero(n)
        places, _ = losses.within(failures[some] / n[some], (0.0, 1.0))
        column, full = self._first + 2 * losses.loss_bin(places), table.copy()
        full[some, column], full[some, column + 1] = 1, places
        return full

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        weights = self._evidence.weights
        return Bank(thresholds, weights, lambda: Mirror(weights), stale_panes)

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, 6]."""
        return self._evidence.log_bad(*self.share.failing(table))

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[6]."""
        good: Ints = self._evidence.log_good(*self.share.failing(row[None]))[0]
        return good

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say: the mean of its panes' shares."""
        plain, panes = self.share.estimate(sums), self._panes(sums)
        mean = sums[:, self._first + 1 :: 2].sum(axis=1) / (np.maximum(panes, 1) * float(SCALE))
        value = np.where(panes > 0, self.share.shown(mean), plain.value)
        proven = np.where(panes > 0, self._proven(sums), plain.proven)
        missed = np.where(panes > 0, mean > self._limit, plain.missed)
        return replace(plain, value=value, missed=missed, proven=proven)

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the intervals of the mean of panes, by inverting the bets; a share's own without panes."""
        panes, plain = self._panes(table) > 0, self.share.interval(table, slots)
        low, high = self._ends(table)
        one, other = self.share.shown(low), self.share.shown(high)
        return np.where(panes, np.minimum(one, other), plain[0]), np.where(panes, np.maximum(one, other), plain[1])

    def details(self, row: Ints) -> dict[str, object]:
        """Return what the share tells, and how many panes were observations."""
        return self.share.details(row) | {"panes": int(self._panes(row[None])[0])}

    def _panes(self, table: Ints) -> Ints:
        panes: Ints = table[:, self._first :: 2].sum(axis=1)
        return panes

    def _weights(self, table: Ints) -> Floats:
        """Return how many panes lie at each edge of the bins, float64[S, P]."""
        return losses.at_edges(table[:, self._first :: 2], table[:, self._first + 1 :: 2])

    def _proven(self, sums: Ints) -> Mask:
        """Return where the bets reject that the target is missed: what the safe end of the interval says too."""
        nats = self._bets.log_below(self._weights(sums)) / float(SCALE)
        proven: Mask = np.logaddexp.reduce(nats, axis=1) - np.log(nats.shape[1]) >= np.log(2 / ALPHA)
        return proven

    def _ends(self, table: Ints) -> tuple[Floats, Floats]:
        """Return the interval of the mean share of failures, slot by slot."""
        low, high = np.array([interval(row, losses.POINTS, ALPHA) for row in self._weights(table)]).reshape(-1, 2).T
        return low, high
