"""What a shard finds out about a prediction by itself: out of distribution or not, and chosen for audit or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import audit_levels
from interlock.policies.model import Policy
from interlock.streams.batch import Predictions
from interlock.streams.ids import select
from interlock.streams.reference import Reference

Mask = NDArray[np.bool_]

AUDIT = "audit/1"
"""Domain of the keyed hash that chooses audits (VERDICTS.md §2)."""

OWN_SCORE = "ood_score"
"""The reason of an event that was flagged by the serving system's own score alone."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Of n predictions, bool[n]: compared with the reference, scored by anyone, flagged, chosen for audit, unseen value.

    `level` int8[n] is the audit level.
    """

    compared: Mask
    scored: Mask
    flagged: Mask
    selected: Mask
    level: NDArray[np.int8]
    unseen: Mask


class Scorer:
    """Scores predictions against one reference and one policy."""

    def __init__(self, policy: Policy, reference: Reference | None, secret: bytes) -> None:
        """Fix the flagging threshold and the probabilities of audit."""
        self._ood, self._reference, self._secret = policy.ood, reference, secret
        self._threshold = reference.calibration.threshold(policy.ood.flag_rate) if reference else 0
        self.probabilities = audit_probabilities(policy, reference)
        self._stratified = len(self.probabilities) > 1

    def score(self, batch: Predictions) -> Scores:
        """Score n predictions."""
        n = batch.rows()
        compared, flagged, unseen = (np.zeros(n, np.bool_) for _ in range(3))
        level = np.zeros(n, np.int8)
        if self._reference:
            surprisal = self._reference.scorer.score(batch.numbers, batch.categories)
            compared = self._comparable(batch)
            flagged = compared & (surprisal >= self._threshold)
            unseen = compared & self._reference.scorer.unseen(batch.categories)
            if self._stratified:
                level = self._reference.calibration.level(surprisal)
        scored = compared.copy()
        if self._ood.threshold is not None:
            scored |= ~np.isnan(batch.ood_score)
            flagged |= batch.ood_score >= self._ood.threshold
        return Scores(compared, scored, flagged, self._select(batch, scored & ~flagged, level), level, unseen)

    def _comparable(self, batch: Predictions) -> Mask:
        """Return which rows are of the model that the reference was fitted for: no other is measured by it."""
        fitted = self._reference.model if self._reference else None
        return np.array([model == fitted for model in batch.model.values] or [True])[batch.model.codes]

    def _select(self, batch: Predictions, auditable: Mask, level: NDArray[np.int8]) -> Mask:
        selected = np.zeros(batch.rows(), np.bool_)
        if self.probabilities:
            rows = np.flatnonzero(auditable)
            texts = batch.ids.texts.take(rows).to_pylist()
            drawn = select([str(text) for text in texts], self._secret, AUDIT)
            limits = np.array([int(p * 2.0**53) << 11 for p in self.probabilities], np.uint64)
            certain = np.array(self.probabilities) >= 1.0
            selected[rows] = (drawn < limits[level[rows]]) | certain[level[rows]]
        return selected

    def reasons(self, batch: Predictions, rows: NDArray[np.intp]) -> list[str]:
        """Name what made each of these rows odd: `feature=value` for a category, the feature for a number."""
        if self._reference is None:
            return [OWN_SCORE] * len(rows)
        scorer, names = self._reference.scorer, self._reference.features
        return [
            _reason(batch, names[f], int(row), f - len(batch.numbers))
            for row, f in zip(rows, scorer.reasons(batch.numbers, batch.categories, rows).tolist(), strict=True)
        ]


def _reason(batch: Predictions, name: str, row: int, category: int) -> str:
    return f"{name}={batch.category_text(category, row)}" if category >= 0 else name


def audit_probabilities(policy: Policy, reference: Reference | None) -> tuple[float, ...]:
    """Return the probability of audit per level: one level, or one per stratum of the score; none without audits."""
    if policy.audits is None:
        return ()
    if policy.audits.stratify_by and reference:
        return audit_levels(policy.audits.rate)
    return (policy.audits.rate,)
