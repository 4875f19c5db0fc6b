"""How the ratios of labels read their counts: rates that wait for labels, and the share of labels that came."""

from dataclasses import replace

from interlock.policies.measures import MOST_UNDECIDED, Estimate, Ints, Mask
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.plan import ASIDE, DUE, FOUND, MEANT, SAID
from interlock.policies.scalars import Target

COLUMNS = {DUE: 3, FOUND: 4, ASIDE: 5, SAID: 6, MEANT: 7}
"""Columns after those of a rate."""


class LabelledMeasure(RateMeasure):
    """A share of labelled predictions, such as accuracy; panes that lack labels give no evidence."""

    width = 8

    def __init__(self, target: Target, dispersion: float, *, both: bool = False) -> None:
        """Judge `hits / n` by the target; `both`: it can be good only where predictions and labels had the class."""
        super().__init__(target, dispersion)
        self._both = both

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
        came = (sums[:, COLUMNS[SAID]] > 0) & (sums[:, COLUMNS[MEANT]] > 0)
        return replace(found, proven=found.proven & came) if self._both else found

    def details(self, row: Ints) -> dict[str, object]:
        """Return hits and observations, labels due and found, and how many said and meant the class."""
        told = {name: int(row[COLUMNS[cell]]) for name, cell in (("due", DUE), ("found", FOUND))}
        return super().details(row) | told | {"said": int(row[COLUMNS[SAID]]), "meant": int(row[COLUMNS[MEANT]])}


class CoverageMeasure(RateMeasure):
    """The share of due labels that are there at maturity: what is missing is what it measures, so no pane is left out."""

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found: a pane is judged when all are there, or at maturity."""
        return self.n(table), self.hits(table)
