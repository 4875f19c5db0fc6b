"""How odd predictions are to a reference: by their features, and by the embeddings and logits that they bring."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.logits import oddities
from interlock.detectors.ood import NOTHING, Beside, Unsure
from interlock.detectors.prototypes import normalized
from interlock.policies.model_parts import Ood
from interlock.streams.batch import MISSING_CODE, Predictions
from interlock.streams.reference import Reference

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Odd:
    """Of n predictions: `told` bool[n], have anything to score; `known`, have all that the score cannot do without.

    `score` int64[n]; `sure` bool[n]: scored with logits, so that others of the kind say what is odd.
    """

    told: Mask
    known: Mask
    score: NDArray[np.int64]
    sure: Mask


class Oddity:
    """Scores predictions, and compares each with familiar ones that brought as much as it does."""

    def __init__(self, reference: Reference, ood: Ood) -> None:
        """Fix the thresholds."""
        self._reference, self._logits = reference, ood.logits if reference.classes else None
        self._plain = reference.calibration
        self._whole = self._plain if self._logits is None else reference.logit_calibrations[self._logits]
        self._thresholds = tuple(one.threshold(ood.flag_rate) for one in (self._plain, self._whole))

    def of(self, batch: Predictions) -> Odd:
        """Score n predictions."""
        embedded, beside = self.beside(batch)
        sure = np.zeros(batch.rows(), np.bool_) if beside.logits is None else beside.logits.known
        told = ~absent(batch).all(axis=0) | (embedded & (self._reference.width > 0)) | sure
        return Odd(told, embedded, self._reference.ood.score(batch.numbers, batch.categories, beside), sure)

    def flagged(self, odd: Odd) -> Mask:
        """Return which scores are as high as only `flag_rate` of familiar ones."""
        plain, whole = self._thresholds
        found: Mask = odd.score >= np.where(odd.sure, whole, plain)
        return found

    def level(self, odd: Odd) -> NDArray[np.int8]:
        """Return each event's audit stratum, int8[n]."""
        plain, whole = (one.level(odd.score) for one in (self._plain, self._whole))
        return np.where(odd.sure, whole, plain)

    def worst(self, batch: Predictions, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return what made each of these rows odd, int32[len(rows)], as `OodScorer.reasons` numbers it."""
        alone = not self._reference.width and self._logits is None
        beside = NOTHING if alone else self.beside(batch.take(rows))[1]
        return self._reference.ood.reasons(batch.numbers, batch.categories, rows, beside)

    def beside(self, batch: Predictions) -> tuple[Mask, Beside]:
        """Return which rows have the embedding that is needed, bool[n], and what all have beside features."""
        known, embedding = embedded(batch, self._reference.width)
        return known, Beside(embedding, self._unsure(batch))

    def _unsure(self, batch: Predictions) -> Unsure | None:
        """Return the logits, if the policy counts them; as many as the reference does not know are like none."""
        if self._logits is None or batch.logits is None:
            return None
        known, values = batch.logits.of_width(self._reference.classes)
        return Unsure(self._logits, known, oddities(values, self._logits))


def embedded(batch: Predictions, width: int) -> tuple[Mask, NDArray[np.int64] | None]:
    """Return which rows have the embedding that a reference needs, bool[n], and those of all rows, int64[n, width].

    Without a need for any (`width` 0) all rows do. One of another length cannot be compared: it is like none.
    """
    if not width:
        return np.ones(batch.rows(), np.bool_), None
    if batch.embedding is None:
        return np.zeros(batch.rows(), np.bool_), np.zeros((batch.rows(), width), np.int64)
    known, values = batch.embedding.of_width(width)
    return known, normalized(values)


def absent(batch: Predictions) -> Mask:
    """Return which features of the reference are missing, null, or no number where it has numbers: bool[F, n]."""
    return np.concatenate([np.isnan(batch.numbers), batch.categories == MISSING_CODE])
