"""From the features of familiar rows to what scores events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import Calibration, conformal_scale, thin
from interlock.detectors.logits import SCORES, Score
from interlock.detectors.ood import (
    DISTANCE_WEIGHT,
    LEAST_NUMBERS,
    LOGITS_WEIGHT,
    WEIGHT,
    Beside,
    Logits,
    OodScorer,
    Parts,
    Space,
    number_vectors,
    numbers_weight,
)
from interlock.detectors.prototypes import learned
from interlock.detectors.surprisal import MISSING_CODE, SCALE, SurprisalScorer, category_table, numeric_table
from interlock.streams.fit_logits import LogitRows
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

    `embedded` intp[m]: the rows whose embeddings are known; `vectors` int64[m, D]: those, of length one. `logits`: of all
    rows, None if they are not learned from.
    """

    split: NDArray[np.int8]
    numerics: Sequence[Numeric]
    categories: Sequence[Category]
    embedded: NDArray[np.intp]
    vectors: Ints
    logits: LogitRows | None = None

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
        _logits(learnt),
    )
    return OodScorer(final, parts)


def scores_of(scorer: OodScorer, learnt: Learnt, score: Score | None = None) -> Ints:
    """Return the score of every row, int64[n], with logits by `score` if any; those without an embedding get UNSCORED.

    So they do only where embeddings are learned from; a row without logits is scored on the rest.
    """
    rows, vectors = np.arange(len(learnt.split)), None
    if len(learnt.embedded):
        rows, vectors = learnt.embedded, learnt.vectors
    unsure = None if score is None or learnt.logits is None else learnt.logits.unsure(score).take(rows)
    scores = np.full(len(learnt.split), UNSCORED)
    scores[rows] = scorer.score(learnt.numbers()[:, rows], learnt.codes()[:, rows], Beside(vectors, unsure))
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """Scores of n rows with logits counted in one way, int64[n]: `known` bool[n] have them; those held out calibrate."""

    scores: Ints
    known: Mask
    calibration: Calibration

    def flagged(self, plain: Mask, flag_rate: float) -> Mask:
        """Return which rows are flagged, bool[n]: by their whole score, or by the `plain` one of those without logits."""
        return np.where(self.known, self.scores >= self.calibration.threshold(flag_rate), plain)


def whole_scores(scorer: OodScorer, learnt: Learnt) -> dict[Score, Whole]:
    """Return what the rows score in each way that logits may count; nothing where none are learned."""
    found: dict[Score, Whole] = {}
    if learnt.logits is None or scorer.parts is None:
        return found
    for score in SCORES:
        scores, known = scores_of(scorer, learnt, score), learnt.logits.unsure(score).known
        held = known & (learnt.split == Part.HELD) & (scores != UNSCORED)
        found[score] = Whole(scores, known, Calibration(thin(scores[held])))
    return found


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


def _logits(learnt: Learnt) -> Logits | None:
    """Return the scales of logits; nothing else is learned of them, so that all rows but those held out make these."""
    if learnt.logits is None:
        return None
    fit, told = learnt.split != Part.HELD, {score: learnt.logits.unsure(score) for score in SCORES}
    scales = {score: conformal_scale(one.oddity[one.known & fit], SCALE) for score, one in told.items()}
    return Logits(learnt.logits.classes, scales, LOGITS_WEIGHT * WEIGHT)


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
