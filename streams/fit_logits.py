"""Logits of the rows that a reference is learned from: of each row their number, and how odd they are by every score."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.logits import SCORES, Score, oddities
from interlock.detectors.ood import Unsure
from interlock.streams.vectors import ABSENT, Vectors

LEAST_ROWS = 500
"""Rows with logits from which on they are learned."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LogitRows:
    """Of n rows, `lengths` int32[n], -1 without logits, and `oddity` int64[n] by score, 0 there."""

    lengths: NDArray[np.int32]
    oddity: Mapping[Score, NDArray[np.int64]]

    @classmethod
    def none(cls, rows: int) -> "LogitRows":
        """Return rows without logits."""
        return cls(np.full(rows, ABSENT, np.int32), {score: np.zeros(rows, np.int64) for score in SCORES})

    def take(self, rows: Rows) -> "LogitRows":
        """Return these rows only."""
        return LogitRows(self.lengths[rows], {score: values[rows] for score, values in self.oddity.items()})

    @property
    def classes(self) -> int:
        """How many logits most rows that have any have; 0 if none has."""
        present = self.lengths[self.lengths > 0]
        return int(np.bincount(present).argmax()) if len(present) else 0

    def unsure(self, score: Score) -> Unsure:
        """Return how odd rows are, of those that have the usual number of logits."""
        known = (self.lengths == self.classes) & (self.lengths > 0)
        return Unsure(score, known, np.where(known, self.oddity[score], 0))


@dataclass(slots=True)
class LogitGatherer:
    """Takes logits, a chunk at a time."""

    parts: list[LogitRows] = field(default_factory=list)

    def add(self, rows: int, logits: Vectors | None) -> None:
        """Take in the logits of a chunk."""
        self.parts.append(LogitRows.none(rows) if logits is None else _rows(logits))

    def gathered(self, order: Rows) -> LogitRows:
        """Return the rows taken, in this order."""
        if not self.parts:
            return LogitRows.none(0)
        lengths = np.concatenate([part.lengths for part in self.parts])
        oddity = {score: np.concatenate([part.oddity[score] for part in self.parts]) for score in SCORES}
        return LogitRows(lengths, oddity).take(order)


def _rows(logits: Vectors) -> LogitRows:
    found = LogitRows.none(len(logits.lengths))
    found.lengths[:] = logits.lengths
    for length in np.unique(logits.lengths[logits.lengths > 0]).tolist():
        rows, values = logits.of_width(length)
        for score in SCORES:
            found.oddity[score][rows] = oddities(values[rows], score)
    return found


def learned_logits(logits: LogitRows, warnings: list[str]) -> LogitRows | None:
    """Return the logits to learn from, None if too few rows have them; a warning says so, and what is left out."""
    known = int((logits.lengths == logits.classes).sum()) if logits.classes else 0
    if 0 < known < LEAST_ROWS:
        warnings.append(f"logits: only {known} rows have the usual number of them; left out")
    elif 0 < known < len(logits.lengths):
        rest = len(logits.lengths) - known
        warnings.append(f"logits: {rest} rows have none, or another number of them; they are scored on the rest")
    return logits if known >= LEAST_ROWS else None
