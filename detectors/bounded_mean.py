"""Evidence and intervals for the mean of values in [0, 1], from how many values lie at given points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.fixed import floor_fixed

BETS = np.array([0.01, 0.03, 0.08, 0.2, 0.45, 0.85])
"""Stakes of the alternatives, as shares of the largest that cannot ruin: from faint and long to plain and short."""

STEPS = 48
"""Halvings of [0, 1] by which an end of an interval is found: to 2^-48."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _log_above(points: Floats, mean: float) -> Floats:
    """Return float64[P, K]: ln of the bets that values lie above a mean in (0, 1)."""
    return np.log1p(BETS / mean * (points[:, None] - mean))


def _log_below(points: Floats, mean: float) -> Floats:
    """Return float64[P, K]: ln of the bets that values lie below a mean in (0, 1)."""
    return np.log1p(BETS / (1 - mean) * (mean - points[:, None]))


@dataclass(frozen=True, slots=True)
class MeanEvidence:
    """Log e-values against "the mean is at most m" (above, K = 6) and against "it is at least m" (below, K = 6).

    1 + lambda (x - m) has expectation at most 1 while the mean, given the past, is at most m; it stays positive for
    0 < lambda < 1/m, and mirrored for lambda < 1/(1 - m). Divided by a dispersion >= 1 that holds still (Jensen). Source:
    Waudby-Smith and Ramdas, JRSS-B 2024; notes/detectors.md 2.5. `above` and `below` are float64[P, K], ln of a value's factor
    at each of P points.
    """

    above: Floats
    below: Floats

    @classmethod
    def build(cls, mean: float, points: Floats, dispersion: float = 1.0) -> "MeanEvidence":
        """Return the evidence about one mean; ValueError unless 0 < mean < 1 and dispersion >= 1."""
        if not 0 < mean < 1 or dispersion < 1:
            raise ValueError(f"need 0 < mean < 1 and dispersion >= 1, got {mean} and {dispersion}")
        return cls(_log_above(points, mean) / dispersion, _log_below(points, mean) / dispersion)

    @property
    def weights(self) -> Floats:
        """Weights float64[K] of the alternatives, on either side."""
        return np.full(len(BETS), 1 / len(BETS))

    def log_above(self, weights: Floats) -> Ints:
        """Return int64[S, K] fixed point: evidence of a mean above m, from the values at each point, float64[S, P]."""
        return _fixed(weights, self.above)

    def log_below(self, weights: Floats) -> Ints:
        """Return int64[S, K] fixed point: evidence of a mean below m."""
        return _fixed(weights, self.below)


def _fixed(weights: Floats, factors: Floats) -> Ints:
    """Return the sums over points as integers: rounded down point by point, so that no order of adding shows."""
    slot, point = np.nonzero(weights)
    out = np.zeros((len(weights), factors.shape[1]), np.int64)
    np.add.at(
        out, slot, floor_fixed(weights[slot, point][:, None] * factors[point]) - 1
    )  # a product may be an ulp large
    return out


def interval(weights: Floats, points: Floats, alpha: float, dispersion: float = 1.0) -> tuple[float, float]:
    """Return the means that the bets do not reject at level alpha/2 on each side: of one slot, float64[P] values a point.

    Both evidences change in one direction with the mean, so what is kept is an interval. It covers at any fixed number of
    values, whatever their distribution. (0, 1) without values.
    """
    some = np.flatnonzero(weights)
    total = float(weights[some].sum())
    if not total:
        return 0.0, 1.0
    held, where = weights[some], points[some]
    mean = min(1.0, float((held * where).sum()) / total)
    goal = float(np.log(2 / alpha))

    def rejects(factors: Floats) -> bool:
        nats = (held[:, None] * factors).sum(axis=0) / dispersion
        return bool(np.logaddexp.reduce(nats) - np.log(len(BETS)) >= goal)

    low, high = (0.0, mean), (mean, 1.0)
    for _ in range(STEPS):
        middle = sum(low) / 2
        low = (middle, low[1]) if middle > 0 and rejects(_log_above(where, middle)) else (low[0], middle)
        middle = sum(high) / 2
        high = (high[0], middle) if middle < 1 and rejects(_log_below(where, middle)) else (middle, high[1])
    return low[0], high[1]
