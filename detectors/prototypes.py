"""How far a vector lies from the nearest of a few hundred prototypes of familiar ones: oddity in combination.

Vectors and centres are small integers, chosen so small that every product and every partial sum of a squared distance is
an integer that the floating point of the matrix product holds exactly: BLAS may add in any order, and no batching, no
number of threads and no processor changes a bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CENTRES = 256
CLIP = 8.0
"""Standard deviations beyond which a number is as far away as it can be."""
ROUNDS = 20
SAMPLE = 32_768
"""Vectors that centres are learned from, the first of those given."""
MAX_WIDTH = 4096
"""Numbers of a vector at most: distances of more would not stay below 2**53."""
_FLOAT32, _FINEST, _COARSEST = 1 << 24, 512, 64
_UNIT = 2048
_FINE = 1 << 20
_BLOCK = 2048  # rows whose products stand in memory at a time


def numbers_scale(width: int) -> int:
    """Return the units per standard deviation: the finest power of two whose sums float32 holds, at least 8.

    A coordinate is at most 8 standard deviations, L units, so that |2 z c - c c| <= 3 width L**2 (Cauchy and Schwarz),
    whatever part of it has been summed.
    """
    most = _FINEST
    while most > _COARSEST and 3 * width * most * most >= _FLOAT32:
        most //= 2
    return most // int(CLIP)


def standardized(numbers: Floats, means: Floats, sds: Floats, scale: int) -> Ints:
    """Return vectors int64[n, F] in 1/scale standard deviation: `numbers` float64[F, n], clipped at 8, NaN at the mean.

    A missing number says nothing about where an event lies; that it is missing is what surprisal sees.
    """
    with np.errstate(over="ignore"):  # farther away than a double: clipped like all that is far
        z = (numbers - means[:, None]) / sds[:, None]
        z *= scale
    np.clip(z, -CLIP * scale, CLIP * scale, out=z)
    np.copyto(z, 0.0, where=np.isnan(z))
    return np.rint(z).astype(np.int64).T


def normalized(vectors: Floats) -> Ints:
    """Return vectors of length one in 1/2048, int64[n, D]; a vector of zeros stays one. `vectors` float64[n, D] finite.

    The length is the root of an exact sum of integers: coordinates are first rounded to 2**-20 of the largest.
    """
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    rows = np.rint(vectors / np.where(largest > 0, largest, 1.0)[:, None] * _FINE).astype(np.int64)
    lengths = np.sqrt(_squares(rows).astype(np.float64))
    unit: Ints = np.rint(rows * (_UNIT / np.maximum(lengths, 1.0))[:, None]).astype(np.int64)
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """Centres int64[P, F], P >= 1, in the units of the vectors that they are compared with."""

    centres: Ints

    def distances(self, vectors: Ints) -> Ints:
        """Return the squared distance to the nearest centre, int64[n], in squared units: `vectors` int64[n, F]."""
        found = np.empty(len(vectors), np.int64)
        table = _table(self.centres, vectors)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            found[start : start + _BLOCK] = _squares(block) - _products(block, table).max(axis=1).astype(np.int64)
        return found

    def nearest(self, vectors: Ints) -> NDArray[np.intp]:
        """Return the number of the nearest centre, intp[n]; the first of equals."""
        table = _table(self.centres, vectors)
        parts = [
            _products(vectors[start : start + _BLOCK], table).argmax(axis=1) for start in range(0, len(vectors), _BLOCK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.intp)

    def shares(self, vectors: Ints) -> Ints:
        """Return what each coordinate adds to the squared distance to the nearest centre, int64[n, F]."""
        return (vectors - self.centres[self.nearest(vectors)]) ** 2


def learned(vectors: Ints, count: int = CENTRES) -> Prototypes:
    """Return centres of these vectors int64[n, F], n >= 1, by k-means (Lloyd, IEEE Trans. Inf. Theory 28, 1982).

    It starts at the first `count` distinct vectors, whose order is therefore to be that of a hash, and stops after 20
    rounds or when nothing moves. Sums and means are integers: the same vectors give the same centres anywhere.
    """
    sample = vectors[:SAMPLE]
    _, first = np.unique(sample, axis=0, return_index=True)
    centres = sample[np.sort(first)[:count]]
    for _ in range(ROUNDS):
        moved = _moved(sample, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return Prototypes(centres)


def _moved(vectors: Ints, centres: Ints) -> Ints:
    """Return each centre at the mean of the vectors nearest to it, rounded; one that has none stays."""
    of = Prototypes(centres).nearest(vectors)
    order = np.argsort(of, kind="stable")
    filled, starts, sizes = np.unique(of[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    moved = centres.copy()
    moved[filled] = (2 * sums + sizes[:, None]) // (2 * sizes[:, None])
    return moved


def _table(centres: Ints, vectors: Ints) -> NDArray[Any]:
    """Return the right side of the product, [F + 1, P]: 2 c, and below it -c c; float32 where that is exact."""
    table = np.concatenate([2 * centres, -(centres**2).sum(axis=1, keepdims=True)], axis=1).T
    reach = int((centres**2).sum(axis=1).max(initial=0))
    farthest = int(_squares(vectors).max(initial=0))
    # |sum of any part of 2 z c| + c c <= 2 |z| |c| + c c <= |z|^2 + 2 |c|^2
    return np.ascontiguousarray(table, np.float32 if farthest + 2 * reach < _FLOAT32 else np.float64)


def _products(vectors: Ints, table: NDArray[Any]) -> NDArray[Any]:
    """Return 2 z c - c c for each vector and centre, [n, P]: what is greatest at the nearest centre."""
    left = np.ones((len(vectors), vectors.shape[1] + 1), table.dtype)
    left[:, :-1] = vectors
    product: NDArray[Any] = left @ table
    return product


def _squares(vectors: Ints) -> Ints:
    squares: Ints = np.einsum("ij,ij->i", vectors, vectors)
    return squares
