"""How the ratios of labels read their counts: rates that wait for labels, and the share of labels that came."""

from dataclasses import replace

import numpy as np

from interlock.policies.arrivals import Unlabelled
from interlock.policies.measures import MOST_UNDECIDED, Estimate, Floats, Ints, Mask
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.plan import ASIDE, DUE, FOUND, MEANT, SAID
from interlock.policies.scalars import Target

COLUMNS = {DUE: 3, FOUND: 4, ASIDE: 5, SAID: 6, MEANT: 7}
"""Columns after those of a rate."""


class LabelledMeasure(RateMeasure):
    """A share of labelled predictions, such as accuracy; panes that lack labels give no evidence."""

    width = 8

    def __init__(
        self, target: Target, dispersion: float, unlabelled: Unlabelled = "exclude", *, both: bool = False
    ) -> None:
        """Judge `hits / n` by the target; `both`: it can be good only where predictions and labels had the class.

        `unlabelled`: whether predictions without a label are left out, count as if right (hit), or as if wrong (miss).
        """
        super().__init__(target, dispersion)
        self._both, self._unlabelled = both, unlabelled

    def missing(self, table: Ints) -> Ints:
        """Return the predictions whose label is not there, int64[S]."""
        due, found = self.labels(table)
        missing: Ints = np.maximum(due - found, 0)
        return missing

    def n(self, table: Ints) -> Ints:
        """Return the observations, those included that count without a label."""
        n = super().n(table)
        every: Ints = n + self.missing(table) if self._unlabelled in ("hit", "miss") else n
        return every

    def hits(self, table: Ints) -> Ints:
        """Return how many of them are hits; a hit of a rate that must stay low is a wrong prediction."""
        counted = "hit" if self._least else "miss"
        hits = super().hits(table)
        every: Ints = hits + self.missing(table) if self._unlabelled == counted else hits
        return every

    def bounds(self, table: Ints) -> tuple[Floats, Floats]:
        """Return the value if all that lack a label were right, and if all were wrong, float64[S] each."""
        missing, n, hits = self.missing(table), super().n(table), super().hits(table)
        total = np.maximum(n + missing, 1)
        low, high = hits / total, (hits + missing) / total
        return (high, low) if self._least else (low, high)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return COLUMNS[cell] if cell in COLUMNS else super().column(cell)

    def undecided(self, table: Ints) -> Mask:
        """Return where too many predictions, or labels, could not be decided, bool[S]."""
        undecided = table[:, 2]
        too_many: Mask = undecided > MOST_UNDECIDED * self.seen(table)
        return too_many

    def seen(self, table: Ints) -> Ints:
        """Return predictions, whether their label will count or not."""
        return table[:, COLUMNS[DUE]] + table[:, COLUMNS[ASIDE]] + table[:, 2]

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found."""
        return table[:, COLUMNS[DUE]], table[:, COLUMNS[FOUND]]

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say; a class that never came proves nothing, since it may be named wrongly."""
        found = super().estimate(sums)
        return replace(found, proven=found.proven & self.came(sums))

    def came(self, sums: Ints) -> Mask:
        """Return where the class came, if the measure asks for that: bool[S]."""
        both: Mask = (sums[:, COLUMNS[SAID]] > 0) & (sums[:, COLUMNS[MEANT]] > 0)
        return both | (not self._both)

    def details(self, row: Ints) -> dict[str, object]:
        """Return hits and observations, labels due and found, and how many said and meant the class."""
        told = {name: int(row[COLUMNS[cell]]) for name, cell in (("due", DUE), ("found", FOUND))}
        return (
            super().details(row)
            | told
            | self._bounds(row)
            | {"said": int(row[COLUMNS[SAID]]), "meant": int(row[COLUMNS[MEANT]])}
        )

    def _bounds(self, row: Ints) -> dict[str, object]:
        """Return how many lack a label, and the value if all of them were right, or all wrong."""
        right, wrong = self.bounds(row[None])
        known = bool(self.seen(row[None])[0])
        unlabelled = {"unlabelled": int(self.missing(row[None])[0])}
        return unlabelled | {
            "if_right": float(right[0]) if known else None,
            "if_wrong": float(wrong[0]) if known else None,
        }


class CoverageMeasure(RateMeasure):
    """The share of due labels that are there at maturity: what is missing is what it measures, so no pane is left out."""

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found: a pane is judged when all are there, or at maturity."""
        return self.n(table), self.hits(table)
