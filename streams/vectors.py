"""Embeddings, or logits, of events as one matrix, of whatever lengths they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""Length of what is not there."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """n lists of numbers: `values` float64[n, W], zero beyond an event's own `lengths` int32[n], which is -1 where there is none."""

    values: NDArray[np.float64]
    lengths: NDArray[np.int32]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Vectors":
        """Return these rows only."""
        return Vectors(self.values[rows], self.lengths[rows])

    def of_width(self, width: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return which rows have exactly `width` numbers, and those of all rows: float64[n, width], zeros for the others."""
        right = self.lengths == width
        values = np.zeros((len(self.lengths), width))
        values[right] = self.values[right][:, :width]
        return right, values


def joined(parts: Sequence[Vectors]) -> Vectors:
    """Return the rows of all parts, in order."""
    width = max(part.values.shape[1] for part in parts)
    padded = [np.pad(part.values, ((0, 0), (0, width - part.values.shape[1]))) for part in parts]
    return Vectors(np.concatenate(padded), np.concatenate([part.lengths for part in parts]))
