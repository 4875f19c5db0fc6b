"""Recall of the OOD flag from reviewed flagged events and audited unflagged ones, weighted by audit probability."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from interlock.detectors.fixed import floor_fixed

BETS = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
"""Stakes against "recall >= r0" (notes/detectors.md 2.3)."""

GOOD_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Stakes against "recall <= r0", in units of the smallest audit probability over r0."""

GRID = 10_000
"""Interval edges are multiples of 1/GRID, rounded outwards."""

TINY = 1e-300
"""Probability of an unselected event where all are selected: its logarithm must be finite."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RecallEvidence:
    """Log e-values against "recall >= r0" (bad, K = 6) and "recall <= r0" (good, K = 5).

    X = (A / pi) ood (flag - r0) has mean prevalence (recall - r0) when an unflagged event is audited with probability
    pi; the factors are 1 - lambda X and 1 + lambda X. So `hits` are confirmed OOD events that were flagged, `misses`
    confirmed OOD events among the audited, per level of pi. Source: notes/detectors.md 2.3.
    """

    pis: tuple[float, ...]
    bad_hit: Ints
    bad_miss: Ints
    good_hit: Ints
    good_miss: Ints

    @classmethod
    def build(cls, r0: float, pis: tuple[float, ...], dispersion: float = 1.0) -> "RecallEvidence":
        """Return the evidence for one target and its audit levels; ValueError if a number is out of range."""
        if not 0 < r0 < 1 or dispersion < 1 or not pis or not all(pi > 0 for pi in pis):
            raise ValueError(f"need 0 < r0 < 1, pi > 0, dispersion >= 1; got {r0}, {pis}, {dispersion}")
        pi = np.array(pis)
        good = GOOD_BETS * min(pis) / r0
        return cls(
            pis,
            floor_fixed(np.log1p(-BETS * (1 - r0)) / dispersion),
            floor_fixed(np.log1p(BETS * r0 / pi[:, None]) / dispersion),
            floor_fixed(np.log1p(good * (1 - r0)) / dispersion),
            floor_fixed(np.log1p(-good * r0 / pi[:, None]) / dispersion),
        )

    @property
    def bad_weights(self) -> Floats:
        """Weights float64[6] of the alternatives of a breach."""
        return np.full(len(BETS), 1 / len(BETS))

    @property
    def good_weights(self) -> Floats:
        """Weights float64[5] of the alternatives of a recovery."""
        return np.full(len(GOOD_BETS), 1 / len(GOOD_BETS))

    def log_bad(self, hits: Ints, misses: Ints) -> Ints:
        """Return int64[S, 6] fixed point from `hits` int64[S] and `misses` int64[S, L]: recall is below r0."""
        return hits[:, None] * self.bad_hit + misses @ self.bad_miss

    def log_good(self, hits: Ints, misses: Ints) -> Ints:
        """Return int64[S, 5] fixed point: recall is above r0."""
        return hits[:, None] * self.good_hit + misses @ self.good_miss


def _by_level(misses: Ints | Floats, values: Floats) -> Floats:
    """Return the sum over levels of misses int64[S, L] times values float64[L, ...], level by level."""
    total = np.zeros(len(misses))
    for level in range(misses.shape[1]):
        total = total + misses[:, level] * values[level]
    return total


def value(hits: Ints, misses: Ints, pis: tuple[float, ...]) -> Floats:
    """Return the weighted recall float64[S]: hits / (hits + sum of misses / pi); NaN where nothing was confirmed OOD."""
    missed = _by_level(misses, 1 / np.array(pis))
    found = hits + missed
    return np.where(found > 0, hits / np.where(found > 0, found, 1), np.nan)


def interval(
    hits: Ints, misses: Ints, pis: tuple[float, ...], alpha: float = 0.05, dispersion: float = 1.0
) -> tuple[Floats, Floats]:
    """Return (lower, upper) float64[S] of the recall: all r that neither mixture of bets rejects at alpha / 2.

    Counts are divided by the dispersion. Both mixtures are monotone in r, so the edges are bisected; they are multiples of 1e-4 and lie outside of what is
    kept. (0, 1) without confirmed OOD events. Source: VERDICTS.md section 2, weighted recall's interval.
    """
    threshold = math.log(2 / alpha)
    found, missed = hits / dispersion, misses / dispersion
    low = np.zeros((2, len(hits)), dtype=np.int64)
    high = np.full((2, len(hits)), GRID, dtype=np.int64)
    for _ in range(GRID.bit_length()):
        middle = np.clip((low + high) // 2, 1, GRID - 1)
        below = _log_against_most(found, missed, pis, middle[0] / GRID) >= threshold
        within = _log_against_least(found, missed, pis, middle[1] / GRID) < threshold
        ahead, moving = np.stack([below, within]), high - low > 1
        low = np.where(moving & ahead, middle, low)
        high = np.where(moving & ~ahead, middle, high)
    return low[0] / GRID, high[1] / GRID


def _log_against_least(hits: Floats, misses: Floats, pis: tuple[float, ...], recall: Floats) -> Floats:
    """Return ln of the mean bet float64[S] against "recall >= r", 0 < r < 1: it grows with r."""
    total = np.full(len(hits), -np.inf)
    for bet in BETS:
        log_miss = np.log1p(bet * recall / np.array(pis)[:, None])
        total = np.logaddexp(total, hits * np.log1p(-bet * (1 - recall)) + _by_level(misses, log_miss))
    return total - math.log(len(BETS))


def _log_against_most(hits: Floats, misses: Floats, pis: tuple[float, ...], recall: Floats) -> Floats:
    """Return ln of the mean bet float64[S] against "recall <= r", 0 < r < 1: it falls with r."""
    total = np.full(len(hits), -np.inf)
    for share in GOOD_BETS * min(pis):
        log_hit = np.log1p(share * (1 - recall) / recall)
        total = np.logaddexp(total, hits * log_hit + _by_level(misses, np.log1p(-share / np.array(pis))))
    return total - math.log(len(GOOD_BETS))


def selection_log_e(selected: Ints, unflagged: Ints, pi: float) -> Floats:
    """Return the log e-value float64[S] against "each of `unflagged` events was selected with probability pi".

    A Beta(1/2, 1/2) mixture of binomials over the binomial(pi): it grows when too few are selected and when too many
    are. For several levels of pi add their log e-values. Source: Robbins' mixture, notes/detectors.md 2.2.
    """
    others = unflagged - selected
    mixture = gammaln(selected + 0.5) + gammaln(others + 0.5) - gammaln(unflagged + 1.0) - math.log(math.pi)
    null = selected * math.log(pi) + others * math.log(max(1 - pi, TINY))
    return np.asarray(mixture - null, dtype=np.float64)
