"""Evidence and intervals for a rate that must stay at or below a target."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

from interlock.detectors.fixed import floor_fixed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BAD = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7])
"""Alternatives of a breach, as shares of the way from the target rate to 1 (notes/detectors.md 2.2)."""

FINE = np.concatenate([[0.005, 0.01], BAD])
"""The same with small excesses, for rates whose target is the rate of familiar traffic: a new code in 1 % of events."""

GOOD = np.array([0.9, 0.75, 0.5, 0.25, 0.05])
"""Alternatives of a recovery, as shares of the target rate (VERDICTS.md section 2, release)."""

TINY = 1e-300
"""Stands for a beta parameter of 0, whose value is not used."""


def _coefficients(rates: Floats, q0: float, dispersion: float) -> Ints:
    """Return int64[K, 2]: the log likelihood ratio of a hit and of another event, rate against q0."""
    hit = np.log(rates / q0) / dispersion
    other = np.log((1 - rates) / (1 - q0)) / dispersion
    return floor_fixed(np.stack([hit, other], axis=1))


@dataclass(frozen=True, slots=True)
class ProportionEvidence:
    """Log e-values against "rate <= q0" (bad, K = 6, or 8 with FINE) and against "rate >= q0" (good, K = 5) from (hits, n).

    E[exp(l)] <= 1 for every rate on the hypothesis' side, since the expectation is monotone in the rate and 1 at q0;
    dividing l by a dispersion >= 1 keeps that (Jensen). Source: Wald's likelihood ratios, notes/detectors.md 2.2.
    """

    bad: Ints
    good: Ints
    bad_weights: Floats
    good_weights: Floats

    @classmethod
    def build(cls, q0: float, dispersion: float = 1.0, alternatives: Floats = BAD) -> "ProportionEvidence":
        """Return the evidence for one target; ValueError unless 0 < q0 < 1 and dispersion >= 1."""
        if not 0 < q0 < 1 or dispersion < 1:
            raise ValueError(f"need 0 < q0 < 1 and dispersion >= 1, got {q0} and {dispersion}")
        bad = _coefficients(q0 + (1 - q0) * alternatives, q0, dispersion)
        good = _coefficients(q0 * GOOD, q0, dispersion)
        return cls(bad, good, np.full(len(bad), 1 / len(bad)), np.full(len(GOOD), 1 / len(GOOD)))

    def log_bad(self, hits: Ints, n: Ints) -> Ints:
        """Return int64[S, K] fixed point: evidence that the rate is above q0, from `hits` of `n`, each int64[S]."""
        return hits[:, None] * self.bad[:, 0] + (n - hits)[:, None] * self.bad[:, 1]

    def log_good(self, hits: Ints, n: Ints) -> Ints:
        """Return int64[S, 5] fixed point: evidence that the rate is below q0."""
        return hits[:, None] * self.good[:, 0] + (n - hits)[:, None] * self.good[:, 1]


def clopper_pearson(hits: Ints, n: Ints, alpha: float = 0.05, dispersion: float = 1.0) -> tuple[Floats, Floats]:
    """Return (lower, upper) float64[S] of the rate at level 1 - alpha, alpha/2 on each side; (0, 1) where n = 0.

    Counts are divided by the dispersion; the beta form takes what is then no integer. Source: Clopper and Pearson,
    Biometrika 1934, as quantiles of the beta distribution.
    """
    k, other = hits / dispersion, (n - hits) / dispersion
    lower = np.where(k > 0, betaincinv(np.maximum(k, TINY), other + 1, alpha / 2), 0.0)
    above = np.where(other > 0, betaincinv(np.maximum(other, TINY), k + 1, alpha / 2), 0.0)
    return lower, 1 - above


def proves_at_most(hits: Ints, n: Ints, q0: float, alpha: float = 0.05, dispersion: float = 1.0) -> NDArray[np.bool_]:
    """Return bool[S]: the upper Clopper-Pearson bound is at most q0; one beta function a slot, no inversion."""
    k, other = hits / dispersion, (n - hits) / dispersion
    beyond: Floats = betainc(np.maximum(other, TINY), k + 1, 1 - q0)  # how likely the bound's beta variate exceeds q0
    return beyond <= alpha / 2
