"""A measure that reads its counts as a share does, but for what it says otherwise."""

from interlock.policies.measures import Ints
from interlock.policies.measures_base import WithoutMemory
from interlock.policies.measures_rate import RateMeasure


class WrappedMeasure(WithoutMemory):
    """What the measures around a share have in common: its cells stand first in their rows."""

    def __init__(self, share: RateMeasure) -> None:
        """Read as `share` does."""
        self.share, self.width = share, share.width

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""
        return self.share.column(cell)

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count, int64[S]."""
        return self.share.seen(table)

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found, int64[S] each."""
        return self.share.labels(table)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return the labels that a pane may wait for, and those that are there, int64[S] each."""
        return self.share.awaited(table)
