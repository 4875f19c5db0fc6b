"""From the features of familiar rows to what scores events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import conformal_scale
from interlock.detectors.ood import (
    DISTANCE_WEIGHT,
    LEAST_NUMBERS,
    WEIGHT,
    OodScorer,
    Parts,
    Space,
    number_vectors,
    numbers_weight,
)
from interlock.detectors.prototypes import learned
from interlock.detectors.surprisal import MISSING_CODE, SCALE, SurprisalScorer, category_table, numeric_table
from interlock.streams.reference import Vocabulary

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

UNSCORED = np.int64(np.iinfo(np.int64).min)
"""Score of a row that cannot be scored."""


class Part(IntEnum):
    """What a row is used for: all but HELD for tables and prototypes, HELD for the calibration of their sum.

    SCALE tells how odd tables and prototypes of FIT alone find other rows: how their parts of the sum compare.
    """

    FIT = 0
    SCALE = 1
    HELD = 2


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric feature learned: name, values float64[n] (NaN without), mean, standard deviation, range."""

    name: str
    values: NDArray[np.float64]
    mean: float
    sd: float
    range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Category:
    """A categorical feature learned: name, codes int32[n], -1 where missing, and vocabulary."""

    name: str
    codes: NDArray[np.int32]
    vocabulary: Vocabulary


@dataclass(frozen=True, slots=True)
class Learnt:
    """n rows as features, and the `Part` of each, int8[n].

    `embedded` intp[m]: the rows whose embeddings are known; `vectors` int64[m, D]: those, of length one.
    """

    split: NDArray[np.int8]
    numerics: Sequence[Numeric]
    categories: Sequence[Category]
    embedded: NDArray[np.intp]
    vectors: Ints

    def numbers(self) -> NDArray[np.float64]:
        """Return the numeric features, float64[Fn, n]."""
        n = len(self.split)
        return np.array([feature.values for feature in self.numerics]).reshape(len(self.numerics), n)

    def codes(self) -> NDArray[np.int32]:
        """Return the categorical features, int32[Fc, n]."""
        n = len(self.split)
        return np.array([feature.codes for feature in self.categories], np.int32).reshape(len(self.categories), n)


def scorer_of(learnt: Learnt) -> OodScorer:
    """Return the scorer: learned from all rows but those held out, with scales of what a part of them finds in the rest."""
    split = learnt.split
    final = _surprisal(learnt, split != Part.HELD)
    if not (split == Part.SCALE).any():
        return OodScorer(final)
    numbers, codes = learnt.numbers(), learnt.codes()
    first = _surprisal(learnt, split == Part.FIT)
    scale = split == Part.SCALE
    parts = Parts(
        conformal_scale(first.score(numbers[:, scale], codes[:, scale]), SCALE),
        _number_space(learnt, numbers, final),
        _embedding_space(learnt),
    )
    return OodScorer(final, parts)


def scores_of(scorer: OodScorer, learnt: Learnt) -> Ints:
    """Return the score of every row, int64[n]; where there are embeddings, those without one get UNSCORED."""
    numbers, codes = learnt.numbers(), learnt.codes()
    if not len(learnt.embedded):
        return scorer.score(numbers, codes)
    scores = np.full(len(learnt.split), UNSCORED)
    rows = learnt.embedded
    scores[rows] = scorer.score(numbers[:, rows], codes[:, rows], learnt.vectors)
    return scores


def _number_space(learnt: Learnt, numbers: NDArray[np.float64], final: SurprisalScorer) -> Space | None:
    if len(learnt.numerics) < LEAST_NUMBERS:
        return None
    weight = numbers_weight(len(learnt.numerics), len(learnt.categories))

    def vectors(rows: Mask) -> Ints:
        return number_vectors(numbers[:, rows], final.means, final.sds)

    return _space(vectors, learnt.split, weight)


def _embedding_space(learnt: Learnt) -> Space | None:
    if not len(learnt.embedded):
        return None
    return _space(lambda rows: learnt.vectors[rows], learnt.split[learnt.embedded], DISTANCE_WEIGHT * WEIGHT)


def _space(vectors: Callable[[Mask], Ints], split: NDArray[np.int8], weight: int) -> Space | None:
    """Return prototypes of all rows but those held out; their scale is what prototypes of FIT alone find in SCALE."""
    if not all((split == part).any() for part in Part):
        return None
    distances = learned(vectors(split == Part.FIT)).distances(vectors(split == Part.SCALE))
    return Space(learned(vectors(split != Part.HELD)), conformal_scale(distances, SCALE), weight)


def _surprisal(learnt: Learnt, fit: Mask) -> SurprisalScorer:
    """Return the surprisals that these rows, bool[n], make."""
    bare = SurprisalScorer(
        means=tuple(feature.mean for feature in learnt.numerics),
        sds=tuple(feature.sd for feature in learnt.numerics),
        number_tables=tuple(
            numeric_table(feature.values[fit], feature.mean, feature.sd) for feature in learnt.numerics
        ),
        category_tables=tuple(
            category_table(fitted_counts(feature, fit), int((feature.codes[fit] == MISSING_CODE).sum()))
            for feature in learnt.categories
        ),
        number_means=np.zeros(len(learnt.numerics), np.int64),
        category_means=np.zeros(len(learnt.categories), np.int64),
    )
    return bare.with_means(learnt.numbers()[:, fit], learnt.codes()[:, fit])


def fitted_counts(feature: Category, fit: Mask) -> Ints:
    """Return how often these rows, bool[n], have each value of a category, int64[V]."""
    counts = np.bincount(feature.codes[fit & (feature.codes >= 0)], minlength=len(feature.vocabulary.values))
    return counts.astype(np.int64)
