"""How the ratio indicators read their counts: of n observations, how many are hits."""

from collections.abc import Sequence

import numpy as np

from interlock.detectors.mirror import Mirror
from interlock.detectors.proportion import BAD, FINE, ProportionEvidence, clopper_pearson, proves_at_most
from interlock.policies.alarm import Bank
from interlock.policies.measures import ALPHA, MOST_UNDECIDED, Estimate, Floats, Ints, Mask
from interlock.policies.measures_base import WithoutLabels, WithoutMemory
from interlock.policies.panes import Thresholds
from interlock.policies.plan import HIT, UNDECIDED, N
from interlock.policies.scalars import Target


class RateMeasure(WithoutLabels, WithoutMemory):
    """A share of events that must stay on one side of the target: what predictions say by themselves.

    Evidence is bet on failures: the hits if the target is a most, the others if it is a least.
    """

    width = 3

    def __init__(self, target: Target, dispersion: float, *, fine: bool = False) -> None:
        """Judge `hits / n` by the target; its direction is `<=` or `>=`. `fine`: look for small excesses too."""
        self._target, self._phi = target.value, dispersion
        self._least = target.op == ">="
        self.limit = 1 - target.value if self._least else target.value
        self._evidence = ProportionEvidence.build(self.limit, dispersion, FINE if fine else BAD)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return {N: 0, HIT: 1, UNDECIDED: 2}[cell]

    def n(self, table: Ints) -> Ints:
        """Return the observations, int64[S]."""
        return table[:, 0]

    def hits(self, table: Ints) -> Ints:
        """Return how many of them are hits, int64[S]."""
        return table[:, 1]

    def undecided(self, table: Ints) -> Mask:
        """Return where too many events could not be decided, bool[S]."""
        undecided = table[:, 2]
        too_many: Mask = undecided > MOST_UNDECIDED * (self.n(table) + undecided)
        return too_many

    def _failures(self, table: Ints) -> Ints:
        """Return what the target limits, int64[S]."""
        return self.n(table) - self.hits(table) if self._least else self.hits(table)

    def failing(self, table: Ints) -> tuple[Ints, Ints]:
        """Return what the target limits, and of how many, int64[S] each."""
        return self._failures(table), self.n(table)

    def shown(self, failures: Floats) -> Floats:
        """Return shares of failures as the indicator shows them."""
        return 1 - failures if self._least else failures

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        good = self._evidence.good_weights
        return Bank(thresholds, self._evidence.bad_weights, lambda: Mirror(good), stale_panes)

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count."""
        return table[:, 0]

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, K]."""
        return self._evidence.log_bad(self._failures(table), self.n(table))

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[5]."""
        table = row[None]
        good: Ints = self._evidence.log_good(self._failures(table), self.n(table))[0]
        return good

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""
        n, hits, failures = self.n(sums), self.hits(sums), self._failures(sums)
        value = np.where(n > 0, hits / np.maximum(n, 1), np.nan)
        missed = value < self._target if self._least else value > self._target
        proven = (n > 0) & proves_at_most(failures, n, self.limit, ALPHA, self._phi)
        return Estimate(value, n, n / self._phi, missed, proven, self.undecided(sums))

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the Clopper-Pearson intervals."""
        return clopper_pearson(self.hits(table), self.n(table), ALPHA, self._phi)

    def details(self, row: Ints) -> dict[str, object]:
        """Return hits, observations, and what could not be decided."""
        table = row[None]
        return {"hits": int(self.hits(table)[0]), "n": int(self.n(table)[0]), "undecided": int(row[2])}
