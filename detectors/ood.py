"""The OOD score: how surprising each feature is, and how far all of them lie from any familiar combination."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import Scale
from interlock.detectors.logits import Score
from interlock.detectors.prototypes import Prototypes, numbers_scale, standardized
from interlock.detectors.surprisal import SurprisalScorer

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

WEIGHT = 1024
"""A weight of one. Weights are integers, so that a score is one too."""
DISTANCE_WEIGHT = 2
"""Weight of distance beside surprisal where all features are numbers: best mean AUROC of those tried on 42 data sets."""

LOGITS_WEIGHT = 2
"""Weight of logits beside surprisal: best mean AUROC of .5, 1, 2, 3 and 4 by either score and with either classifier on
digits with a class left out (`python -m benchmarks.logits`)."""

LEAST_NUMBERS = 2
"""Numeric features from which on their combination is looked at; of one, surprisal says all."""


def numbers_weight(numbers: int, categories: int) -> int:
    """Return the weight of the distance between numbers, in 1/WEIGHT: twice the share of features that are numbers.

    Distance knows nothing of categories. With a weight of two whatever they are, an unseen code beside two numbers would
    hide in the spread of their distances.
    """
    return DISTANCE_WEIGHT * WEIGHT * numbers // max(numbers + categories, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Distances of one kind: prototypes, the conformal scale of their distances, and its weight in 1/WEIGHT."""

    prototypes: Prototypes
    scale: Scale
    weight: int

    def of(self, vectors: Ints) -> Ints:
        """Return what the distances of vectors int64[n, D] add to a score, int64[n] in 1/(SCALE WEIGHT) nat."""
        return self.scale.of(self.prototypes.distances(vectors)) * self.weight


@dataclass(frozen=True, slots=True, eq=False)
class Unsure:
    """How odd the logits of n events are: `oddity` int64[n] by `score`, of those `known` bool[n]; 0 of the others."""

    score: Score
    known: Mask
    oddity: Ints

    def take(self, rows: Rows) -> "Unsure":
        """Return these rows only."""
        return Unsure(self.score, self.known[rows], self.oddity[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """Logits of `classes` each: the conformal scale of their oddity by each score, and its weight in 1/WEIGHT."""

    classes: int
    scales: Mapping[Score, Scale]
    weight: int

    def of(self, unsure: Unsure) -> Ints:
        """Return what logits that are known add to a score, int64[n] in 1/(SCALE WEIGHT) nat."""
        return self.scales[unsure.score].of(unsure.oddity) * self.weight


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a score adds up: the conformal scale of surprisal, spaces of numeric features and embeddings, and logits."""

    surprisal: Scale
    numbers: Space | None = None
    embedding: Space | None = None
    logits: Logits | None = None

    @property
    def width(self) -> int:
        """The numbers of an embedding that can be scored; 0 if none are."""
        return 0 if self.embedding is None else self.embedding.prototypes.centres.shape[1]

    @property
    def classes(self) -> int:
        """The logits of an event that can be scored; 0 if none are."""
        return 0 if self.logits is None else self.logits.classes


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What n events have beside features: embeddings int64[n, D] as `normalized` makes them, and logits; None without."""

    embedding: Ints | None = None
    logits: Unsure | None = None


NOTHING = Beside()
"""Features alone."""


@dataclass(frozen=True, slots=True, eq=False)
class OodScorer:
    """Scores events: the weighted sum of conformal surprisal and conformal distances, or surprisal alone.

    `parts` is None in a reference without prototypes: its score is the surprisal itself. With fewer than two numeric
    features there are none for numbers, since surprisal says all of one.
    """

    surprisal: SurprisalScorer
    parts: Parts | None = None

    def score(self, numbers: Floats, categories: NDArray[np.int32], beside: Beside = NOTHING) -> Ints:
        """Return each event's score, int64[n] in 1/SCALE nat: integers only, the same in any batching.

        `numbers` float64[Fn, n], NaN where there is none; `categories` int32[Fc, n], as `SurprisalScorer.score` takes
        them; of what is `beside` them, only that counts for which there is a part.
        """
        total = self.surprisal.score(numbers, categories)
        if self.parts is None:
            return total
        total = self.parts.surprisal.of(total) * WEIGHT
        if self.parts.numbers is not None:
            total += self.parts.numbers.of(self._vectors(numbers))
        for one in self._whole(beside):
            total += np.maximum(one, 0)
        total //= WEIGHT
        return total

    def reasons(
        self, numbers: Floats, categories: NDArray[np.int32], rows: Rows, beside: Beside = NOTHING
    ) -> NDArray[np.int32]:
        """Return, for these rows, the feature that made each odd: int32[len(rows)], numeric ones first; -1 without any.

        What is `beside` features, of these rows alone, comes after all of them: first the embedding, then the logits.

        Every part of the score is divided among features: surprisal by their surprisals above the reference's mean,
        distance by their shares of the squared distance to the nearest prototype. The first of equals.
        """
        some = (numbers[:, rows], categories[:, rows])
        excess = self.surprisal.excess(*some)
        whole = self._whole(beside)
        if self.parts is None or (self.parts.numbers is None and not whole):
            return _largest(excess)
        blame = _divided(self.parts.surprisal.of(self.surprisal.score(*some)) * WEIGHT, np.maximum(excess, 0))
        if self.parts.numbers is not None:
            vectors = self._vectors(some[0])
            shares = self.parts.numbers.prototypes.shares(vectors).T
            blame[: len(numbers)] += _divided(self.parts.numbers.of(vectors), shares)
        return _largest(np.concatenate([blame, *(one[None] for one in whole)]))

    def _whole(self, beside: Beside) -> list[Ints]:
        """Return what embedding and logits add to a score, int64[n] in 1/(SCALE WEIGHT) nat each, -1 without; [] without both."""
        parts, embedding, logits = self.parts, beside.embedding, beside.logits
        if parts is None:
            return []
        spaced = None if parts.embedding is None or embedding is None else parts.embedding.of(embedding)
        unsure = None if parts.logits is None or logits is None else np.where(logits.known, parts.logits.of(logits), -1)
        if unsure is None:
            return [] if spaced is None else [spaced]
        return [np.full(len(unsure), -1) if spaced is None else spaced, unsure]

    def _vectors(self, numbers: Floats) -> Ints:
        return number_vectors(numbers, self.surprisal.means, self.surprisal.sds)


def number_vectors(numbers: Floats, means: Sequence[float], sds: Sequence[float]) -> Ints:
    """Return numbers float64[F, n] as vectors int64[n, F] for prototypes."""
    return standardized(numbers, np.array(means), np.array(sds), numbers_scale(len(numbers)))


def _divided(amount: Ints, shares: Ints) -> Ints:
    """Return amount int64[n] divided among shares int64[F, n] >= 0, rounded down: int64[F, n]; nothing where all are 0."""
    parts = shares * WEIGHT // np.maximum(shares.sum(axis=0), 1)
    divided: Ints = parts * amount // WEIGHT
    return divided


def _largest(parts: Ints) -> NDArray[np.int32]:
    if not len(parts):
        return np.full(parts.shape[1], -1, np.int32)
    largest: NDArray[np.int32] = parts.argmax(axis=0).astype(np.int32)
    return largest
