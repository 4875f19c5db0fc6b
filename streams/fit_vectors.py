"""Embeddings of the rows that a reference is learned from: a sample, since one of them is as large as all else of a row."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.prototypes import normalized
from interlock.streams.vectors import Vectors

SAMPLE = 65_536
"""Rows whose embeddings are kept: those of smallest hashed id, whatever order they come in."""

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Of m rows, in the order of their hashed ids: `key` uint64[m], and vectors of length one int64[m, D]; m may be 0."""

    key: Keys
    vectors: NDArray[np.int64]
    left_out: int = 0
    """Rows of the sample with none, or one of another length than most have."""


@dataclass(slots=True)
class VectorGatherer:
    """Takes embeddings, a chunk at a time."""

    keys: list[Keys] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)
    lengths: list[NDArray[np.int32]] = field(default_factory=list)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    held: int = 0

    def add(self, key: Keys, ts: NDArray[np.int64], vectors: Vectors | None) -> None:
        """Take in the embeddings of a chunk."""
        if vectors is None or not len(key):
            return
        self.keys.append(key)
        self.times.append(ts)
        self.lengths.append(vectors.lengths)
        self.values.append(vectors.values.astype(np.float32))
        self.held += len(key)
        if self.held > 2 * SAMPLE:
            self._thin()

    def gathered(self) -> Embeddings:
        """Return the sample; of an id that comes twice, the earliest event."""
        if not self.held:
            return Embeddings(np.zeros(0, np.uint64), np.zeros((0, 0), np.int64))
        self._thin()
        key, lengths, values = self.keys[0], self.lengths[0], self.values[0]
        present = lengths[lengths > 0]
        if not len(present):
            return Embeddings(np.zeros(0, np.uint64), np.zeros((0, 0), np.int64))
        width = int(np.bincount(present).argmax())
        mine = lengths == width
        vectors = normalized(values[mine][:, :width].astype(np.float64))
        return Embeddings(key[mine], vectors, int((~mine).sum()))

    def _thin(self) -> None:
        """Keep the events of smallest hashed id."""
        key, ts, lengths = (np.concatenate(part) for part in (self.keys, self.times, self.lengths))
        width = max(part.shape[1] for part in self.values)
        values = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in self.values])
        order = np.lexsort((ts, key))
        order = order[np.append(True, key[order][1:] != key[order][:-1])][:SAMPLE]
        self.keys, self.times, self.lengths = [key[order]], [ts[order]], [lengths[order]]
        self.values, self.held = [values[order]], len(order)
