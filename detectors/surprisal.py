"""How surprising an event's features are, one by one, given a reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SCALE = 1 << 20
"""One nat of surprisal. Scores are int64 sums, so that no batching changes a bit; 2**43 nats fit."""
CELLS = 64
LIMIT = 6.0
NAN_CELL = CELLS + 2
MISSING_CODE = -1
UNSEEN_CODE = -2
_TAPS = (0.06, 0.24, 0.40, 0.24, 0.06)  # light smoothing over neighbouring cells, notes of the OOD benchmark
_PSEUDO = 0.5  # add-half (Krichevsky and Trofimov, 1981)


def cell_codes(values: NDArray[np.float64], mean: float, sd: float) -> NDArray[np.intp]:
    """Return the cell of each number: 0 below the grid, 1..64 in it, 65 above, 66 for NaN.

    The grid has 64 equal cells over z = (x - mean) / sd in [-6, 6].
    """
    with np.errstate(over="ignore"):  # farther away than a double: beyond the grid like all that is far
        position = values - mean
        position *= CELLS / (2 * LIMIT * sd)
    position += CELLS / 2 + 1
    np.clip(position, 0.0, CELLS + 1.0, out=position)
    np.copyto(position, float(NAN_CELL), where=np.isnan(position))
    return position.astype(np.intp)


def numeric_table(values: NDArray[np.float64], mean: float, sd: float) -> NDArray[np.int64]:
    """Return the surprisal of each of the 67 cells, int64[67] in 1/SCALE nat, learned from the reference's values.

    `-ln((c + 1/2) / (N + 67/2))` with the counts c of the 66 cells of numbers smoothed over five neighbours, and the
    cell of NaN counted as it is: no value is as near to "no value" as a neighbour.
    """
    counts = np.bincount(cell_codes(values, mean, sd), minlength=NAN_CELL + 1).astype(np.float64)
    smoothed = np.zeros(NAN_CELL + 1)
    for tap, weight in enumerate(_TAPS):
        target = np.clip(np.arange(NAN_CELL) + tap - len(_TAPS) // 2, 0, NAN_CELL - 1)
        for source in range(NAN_CELL):
            smoothed[target[source]] += weight * counts[source]
    smoothed[NAN_CELL] = counts[NAN_CELL]
    return _fixed([-math.log((c + _PSEUDO) / (len(values) + _PSEUDO * (NAN_CELL + 1))) for c in smoothed.tolist()])


def good_turing_upper(counts: NDArray[np.int64]) -> float:
    """Return an upper bound on the probability that the next value is one never seen, in [0, 1].

    `(N1 + 3 sqrt(N1 + 2 N2 + 1)) / N`: the Good–Turing estimate N1/N plus three standard errors by Esty (Annals of
    Statistics 11, 1983), whose one-pseudo-count floor makes it the rule of three when there is no singleton.
    McAllester and Schapire (COLT 2000) prove a bound of this kind for any distribution, with wider constants.
    `counts` int64[V]: how often each value was seen. Without any observation the bound is 1.
    """
    total = int(counts.sum())
    singles, doubles = int((counts == 1).sum()), int((counts == 2).sum())  # noqa: PLR2004 - N2 of the formula
    return min(1.0, (singles + 3.0 * math.sqrt(singles + 2 * doubles + 1)) / total) if total else 1.0


def category_table(counts: NDArray[np.int64], missing: int) -> NDArray[np.int64]:
    """Return the surprisal of each value, then of an unseen and of a missing one: int64[V + 2] in 1/SCALE nat.

    `-ln((c + 1/2) / (N + V/2))` for what was seen, missing values being one more value of the V. What was not seen,
    and a vocabulary's value of count 0, gets `-ln` of the Good–Turing upper bound, or the surprisal of the rarest
    seen value where that is greater: nothing unseen is less surprising than something seen. The order lets code -2
    (unseen) and code -1 (missing) index the table as they are.
    """
    every = np.append(counts, missing)
    total, kinds = int(every.sum()), int((every > 0).sum())
    seen = {c: -math.log((c + _PSEUDO) / (total + _PSEUDO * kinds)) for c in set(every.tolist()) if c > 0}
    unseen = max([-math.log(good_turing_upper(every)), *seen.values()])
    surprisal = [seen.get(c, unseen) for c in every.tolist()]
    return _fixed([*surprisal[:-1], unseen, surprisal[-1]])


def _fixed(nats: Sequence[float]) -> NDArray[np.int64]:
    return np.rint(np.asarray(nats, dtype=np.float64) * SCALE).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SurprisalScorer:
    """Tables that turn features into a score: the sum of the features' surprisals.

    Numeric feature f has `means[f]`, `sds[f]` (> 0) and `number_tables[f]` int64[67]; categorical feature f has
    `category_tables[f]` int64[V_f + 2]. `number_means` and `category_means` int64[F] are the average surprisals in
    the reference, against which `excess` compares.
    """

    means: tuple[float, ...]
    sds: tuple[float, ...]
    number_tables: tuple[NDArray[np.int64], ...]
    category_tables: tuple[NDArray[np.int64], ...]
    number_means: NDArray[np.int64]
    category_means: NDArray[np.int64]

    def score(self, numbers: NDArray[np.float64], categories: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return each event's score, int64[n] in 1/SCALE nat: an exact sum, the same in any batching.

        `numbers` float64[F, n], NaN where there is none; `categories` int32[F, n], codes of the vocabulary, -1 missing,
        -2 unseen. Features come in the order in which the tables do.
        """
        total = np.zeros(numbers.shape[1] if len(numbers) else categories.shape[1], dtype=np.int64)
        for feature in range(len(self.number_tables)):
            total += self._number(feature, numbers[feature])
        for table, codes in zip(self.category_tables, categories, strict=True):
            total += table[codes]
        return total

    def with_means(self, numbers: NDArray[np.float64], categories: NDArray[np.int32]) -> "SurprisalScorer":
        """Return this scorer with the average surprisals of these reference events, n >= 1, rounded down."""
        number_sums = [int(self._number(f, values).sum()) // len(values) for f, values in enumerate(numbers)]
        pairs = zip(self.category_tables, categories, strict=True)
        category_sums = [int(table[codes].sum()) // len(codes) for table, codes in pairs]
        means = np.array(number_sums, dtype=np.int64), np.array(category_sums, dtype=np.int64)
        return replace(self, number_means=means[0], category_means=means[1])

    def excess(self, numbers: NDArray[np.float64], categories: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return each feature's surprisal above the reference's mean, int64[F, n]: numeric features first."""
        odd = [self._number(f, numbers[f]) - self.number_means[f] for f in range(len(self.number_tables))]
        parts = zip(self.category_tables, categories, self.category_means, strict=True)
        odd += [table[codes] - mean for table, codes, mean in parts]
        n = numbers.shape[1] if len(numbers) else categories.shape[1]
        return np.array(odd, np.int64).reshape(len(odd), n)

    def unseen(self, categories: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return whether any categorical feature of an event has a value that the reference never had, bool[n]."""
        found = np.zeros(categories.shape[1], dtype=np.bool_)
        for codes in categories:
            found |= codes == UNSEEN_CODE
        return found

    def _number(self, feature: int, values: NDArray[np.float64]) -> NDArray[np.int64]:
        cells = cell_codes(values, self.means[feature], self.sds[feature])
        return self.number_tables[feature].take(cells, mode="clip")
