"""What measures have in common that need no label, or that remember nothing beyond the window."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class WithoutLabels:
    """A measure whose panes are whole without a label. Tables are int64[S, width]."""

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found, int64[S] each: none."""
        return np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return the labels that a pane may wait for, and those that are there: as `labels` says."""
        return self.labels(table)


class WithoutMemory:
    """A measure that knows nothing but the window's sums: there is nothing to expire, restart, save or restore."""

    def expire(self, pane: int) -> None:
        """Do nothing."""

    def restart(self, slots: Mask) -> None:
        """Do nothing."""

    def snapshot(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Do nothing."""
