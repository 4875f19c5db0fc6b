"""Evidence and intervals for how many events of a kind come per exposure, as reports per prediction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammainccinv, gammaincinv

from interlock.detectors.fixed import floor_fixed

FASTER = np.array([0.25, 0.5, 1.0, 2.0, 5.0, 10.0])
"""Alternatives of a breach: by how much the rate is above the target, as shares of it."""

SLOWER = np.array([0.1, 0.25, 0.5, 0.75, 0.95])
"""Alternatives of a recovery: by how much it is below."""

TINY = 1e-300
"""Stands for a gamma parameter of 0, whose value is not used."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EventRateEvidence:
    """Log e-values against "at most `rate` events per exposure" (bad, K = 6) and "at least" (good, K = 5).

    exp(k ln(1 + d) - n rate d) has expectation at most 1 if the k events among n exposures are Poisson, or are each a
    rare event of its own exposure, with at most n rate expected: E[(1 + d)^k] <= exp(d E[k]) for sums of Bernoulli
    variables. Mirrored with (1 - d)^k. Dividing by a dispersion >= 1 keeps it (Jensen). Source: the likelihood ratio of
    Poisson processes (Dvoretzky, Kiefer and Wolfowitz, Annals of Mathematical Statistics 1953).
    """

    bad: Ints
    good: Ints

    @classmethod
    def build(cls, rate: float, dispersion: float = 1.0) -> "EventRateEvidence":
        """Return the evidence for one target; ValueError unless 0 < rate < 1 and dispersion >= 1."""
        if not 0 < rate < 1 or dispersion < 1:
            raise ValueError(f"need 0 < rate < 1 and dispersion >= 1, got {rate} and {dispersion}")
        bad = np.stack([np.log1p(FASTER), -rate * FASTER], axis=1)
        good = np.stack([np.log1p(-SLOWER), rate * SLOWER], axis=1)
        return cls(floor_fixed(bad / dispersion), floor_fixed(good / dispersion))

    @property
    def bad_weights(self) -> Floats:
        """Weights float64[6] of the alternatives of a breach."""
        return np.full(len(FASTER), 1 / len(FASTER))

    @property
    def good_weights(self) -> Floats:
        """Weights float64[5] of the alternatives of a recovery."""
        return np.full(len(SLOWER), 1 / len(SLOWER))

    def log_bad(self, events: Ints, exposure: Ints) -> Ints:
        """Return int64[S, 6] fixed point: evidence that the rate is above the target."""
        return events[:, None] * self.bad[:, 0] + exposure[:, None] * self.bad[:, 1]

    def log_good(self, events: Ints, exposure: Ints) -> Ints:
        """Return int64[S, 5] fixed point: evidence that it is below."""
        return events[:, None] * self.good[:, 0] + exposure[:, None] * self.good[:, 1]


def garwood(events: Ints, exposure: Ints, alpha: float, dispersion: float = 1.0) -> tuple[Floats, Floats]:
    """Return (lower, upper) float64[S] of the rate at level 1 - alpha; upper is inf where the exposure is 0.

    Counts are divided by the dispersion. Source: Garwood, Biometrika 1936, as quantiles of the gamma distribution.
    """
    k, n = events / dispersion, exposure / dispersion
    some = np.maximum(n, TINY)
    lower = np.where(k > 0, gammaincinv(np.maximum(k, TINY), alpha / 2), 0.0) / some
    upper = gammainccinv(k + 1, alpha / 2) / some
    return np.where(n > 0, lower, 0.0), np.where(n > 0, upper, np.inf)


def proves_at_most(
    events: Ints, exposure: Ints, rate: float, alpha: float, dispersion: float = 1.0
) -> NDArray[np.bool_]:
    """Return bool[S]: the upper bound of Garwood is at most `rate`."""
    beyond: Floats = gammaincc(events / dispersion + 1, rate * exposure / dispersion)  # P(so few events at this rate)
    return beyond <= alpha / 2
