"""What a shard finds out about a prediction by itself: out of distribution or not, and chosen for audit or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import audit_levels
from interlock.policies.model import Policy
from interlock.streams.batch import UNSEEN_CODE, Ids, Predictions
from interlock.streams.ids import select
from interlock.streams.oddity import Oddity, absent
from interlock.streams.reasons import WHOLE, Namer, Reasons
from interlock.streams.reference import Reference

Mask = NDArray[np.bool_]

AUDIT = "audit/1"
"""Domain of the keyed hash that chooses audits (VERDICTS.md §2)."""

SAMPLE = "sample/1"
"""Domain of the keyed hash that chooses whose labels are asked for, independent of the audits."""

OWN_SCORE = "ood_score"
"""The reason of an event that was flagged by the serving system's own score alone."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Of n predictions, bool[n]: compared with the reference, scored by anyone, flagged, chosen for audit, unseen value.

    `told`: of those compared, the ones that have anything that the reference knows.
    `level` int8[n] is the audit level. `missing`: a feature of the reference is missing, or cannot be read as what it is;
    `ranged`: compared with ranges; `outside`: a number lies outside its range. All are false unless an SLO asks.
    `labelled`: a label is asked for, of all or of the share that `labels.sample` keeps.
    """

    compared: Mask
    told: Mask
    scored: Mask
    flagged: Mask
    selected: Mask
    level: NDArray[np.int8]
    unseen: Mask
    missing: Mask
    ranged: Mask
    outside: Mask
    labelled: Mask


class Scorer:
    """Scores predictions against one reference and one policy."""

    def __init__(self, policy: Policy, reference: Reference | None, secret: bytes) -> None:
        """Fix the flagging threshold and the probabilities of audit."""
        self._ood, self._reference, self._secret = policy.ood, reference, secret
        self._oddity = Oddity(reference, policy.ood) if reference else None
        self.probabilities = audit_probabilities(policy, reference)
        self._namer = Namer(reference) if reference else None
        age = reference.label_age if reference else None
        self.reliable = reference is not None and reference.reliability is not None
        """Whether the reference knows how often what the model states came true."""
        self.label_age = None if age is None else age.p99
        self._sample = policy.labels.sample
        self._stratified = len(self.probabilities) > 1
        self._asked = {slo.resolved_indicator for slo in policy.slos_in_force}

    def under(self, policy: Policy) -> "Scorer":
        """Return what scores by another policy, against the same reference."""
        return Scorer(policy, self._reference, self._secret)

    def score(self, batch: Predictions) -> Scores:
        """Score n predictions."""
        n = batch.rows()
        compared, told, scored, flagged, unseen = (np.zeros(n, np.bool_) for _ in range(5))
        level = np.zeros(n, np.int8)
        if self._reference and self._oddity:
            odd = self._oddity.of(batch)
            compared = self._comparable(batch)
            # What has nothing of the reference's is no familiar event, but one that says nothing: missing_rate sees it.
            told = compared & odd.told
            scored = told & odd.known
            flagged = scored & self._oddity.flagged(odd)
            unseen = told & self._reference.scorer.unseen(batch.categories)
            if self._stratified:
                level = self._oddity.level(odd)
        if self._ood.threshold is not None:
            scored |= ~np.isnan(batch.ood_score)
            flagged |= batch.ood_score >= self._ood.threshold
        selected = self._select(batch, scored & ~flagged, level)
        asked = self.drawn(batch.ids)
        return Scores(compared, told, scored, flagged, selected, level, unseen, *self._features(batch, compared), asked)

    def bins(self, batch: Predictions, p: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return where the streams of drift fall, uint8[F, n]; None if nobody asks, or the reference has no bins."""
        binner = self._reference.binner if self._reference and "drift" in self._asked else None
        return None if binner is None else binner.codes(batch, p)

    def _features(self, batch: Predictions, compared: Mask) -> tuple[Mask, Mask, Mask]:
        missing, ranged, outside = (np.zeros(batch.rows(), np.bool_) for _ in range(3))
        if self._reference and "missing_rate" in self._asked:
            missing = compared & absent(batch).any(axis=0)
        if self._reference and self._reference.ranges and "range_violations" in self._asked:
            ranged = compared
            outside = compared & beyond(batch, self._reference.bounds).any(axis=0)
        return missing, ranged, outside

    def _comparable(self, batch: Predictions) -> Mask:
        """Return which rows are of the model that the reference was fitted for: no other is measured by it."""
        fitted = self._reference.model if self._reference else None
        return np.array([model == fitted for model in batch.model.values] or [True])[batch.model.codes]

    def drawn(self, ids: Ids) -> Mask:
        """Return of which events a label is asked for, bool[n]: those that the keyed hash keeps; all, without a sample."""
        if self._sample is None or self._sample >= 1.0:
            return np.ones(len(ids.h1), np.bool_)
        drawn: Mask = select([str(text) for text in ids.texts.to_pylist()], self._secret, SAMPLE) < _limit(self._sample)
        return drawn

    def _select(self, batch: Predictions, auditable: Mask, level: NDArray[np.int8]) -> Mask:
        selected = np.zeros(batch.rows(), np.bool_)
        if self.probabilities:
            rows = np.flatnonzero(auditable)
            texts = batch.ids.texts.take(rows).to_pylist()
            drawn = select([str(text) for text in texts], self._secret, AUDIT)
            limits = np.array([_limit(p) for p in self.probabilities], np.uint64)
            certain = np.array(self.probabilities) >= 1.0
            selected[rows] = (drawn < limits[level[rows]]) | certain[level[rows]]
        return selected

    def failing(self, batch: Predictions, rows: NDArray[np.intp], *, outside: bool) -> Reasons:
        """Name the first feature that is missing in each of these rows, or outside its range."""
        if self._reference is None or not len(rows):
            return Reasons.of([""] * len(rows))
        part = batch.take(rows)
        found = beyond(part, self._reference.bounds) if outside else absent(part)
        word = "outside its range" if outside else "missing"
        features, codes = np.unique(found.argmax(axis=0), return_inverse=True)
        return Reasons(codes, [f"{self._reference.features[f]} {word}" for f in features.tolist()])

    def unfamiliar(self, batch: Predictions, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Reasons]:
        """Name each value that no reference row had: in which of these rows, which come once for each, and which value."""
        features, places = np.nonzero(batch.categories[:, rows] == UNSEEN_CODE)
        found = rows[places]
        if self._namer is None:
            return found, Reasons.of([""] * len(found))
        return found, self._namer.named(batch, found, (features + len(batch.numbers)).astype(np.int32))

    def reasons(self, batch: Predictions, rows: NDArray[np.intp]) -> Reasons:
        """Name what made each of these rows odd: a feature with its value, or with the range that its number lies in."""
        if self._oddity is None or self._namer is None:
            return Reasons.of([OWN_SCORE] * len(rows))
        return self._namer.named(batch, rows, self._oddity.worst(batch, rows))

    def odd_features(self, batch: Predictions, rows: NDArray[np.intp]) -> list[str]:
        """Name the feature that made each of these rows odd, without its value."""
        if self._reference is None or self._oddity is None:
            return [OWN_SCORE] * len(rows)
        names = (*self._reference.features, *WHOLE)
        return [names[f] for f in self._oddity.worst(batch, rows).tolist()]


def _limit(probability: float) -> np.uint64:
    """Return the hash below which an event is chosen, for a probability below 1."""
    return np.uint64(min(int(probability * 2.0**53), 2**53 - 1) << 11)


def beyond(batch: Predictions, bounds: NDArray[np.float64]) -> Mask:
    """Return which numbers lie outside `bounds` float64[2, Fn], (low, high): bool[Fn, n]; a missing one does not."""
    low, high = bounds[:, :, None]
    outside: Mask = (batch.numbers < low) | (batch.numbers > high)
    return outside


def audit_probabilities(policy: Policy, reference: Reference | None) -> tuple[float, ...]:
    """Return the probability of audit per level: one level, or one per stratum of the score; none without audits."""
    if policy.audits is None:
        return ()
    if policy.audits.stratify_by and reference:
        return audit_levels(policy.audits.rate)
    return (policy.audits.rate,)
