"""Evidence and interval for the difference of two rates that are counted in the same time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log1p

from interlock.detectors.fixed import floor_fixed
from interlock.detectors.proportion import clopper_pearson

BASES = np.sin(np.pi * (np.arange(16) + 0.5) / 32) ** 2
"""Rates of the other arm that alternatives suppose: evenly spaced on the arcsine scale, where rates are equally hard to tell."""

STEPS = np.array([0.04, 0.12, 0.35])
"""How far beyond the limit alternatives lie, as a share of what is possible from that base."""

SEARCH = 60
"""Halvings by which the nearest point of the null is found: to the last bit of a double."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = tuple[Ints, Ints]
"""Failures and observations of one arm, int64[S] each."""


@dataclass(frozen=True, slots=True)
class DifferenceEvidence:
    """Log e-values against "p1 - p0 <= d" (bad) and against "p1 - p0 >= d" (good), a pane of both arms at a time.

    An alternative is a pair of rates (t1, t0). Its factor is the likelihood ratio of the pane's n1 + n0 events under the
    alternative against (q1, q0), the point of the null that is nearest to it: the one that minimises
    n1 KL(t1 || q1) + n0 KL(t0 || q0), the reverse information projection of Turner, Ly and Gruenwald ("Generic E-variables
    for exact sequential k-sample tests that allow for optional stopping", JSPI 2024; Turner and Gruenwald, "Exact
    anytime-valid confidence intervals for contingency tables and beyond", Statistics and Probability Letters 2023).

    Its expectation is at most 1 for all rates (p1, p0) of the null, whatever level both arms share and however that moves
    from pane to pane. With g_j = (t_j - q_j) / (q_j (1 - q_j)), an event of arm j has the expected factor
    1 + (p_j - q_j) g_j <= exp((p_j - q_j) g_j). So the pane's is at most exp(sum_j n_j (p_j - q_j) g_j). The null is convex
    and -n_j g_j is the derivative of the divergence at its least point, so that sum is not above 0. This holds as well if
    rates differ among the events of an arm and p_j is their mean. Alternatives are fixed and the nearest point hangs on n1
    and n0 alone. A pane that lacks an arm has factor 1: its nearest point is the alternative itself. Divided by a
    dispersion >= 1 the bound stays (Jensen).

    Against a fixed pair of rates a shift of both arms would count as a failure; against the line p1 = p0 + d it cannot.
    """

    bad: Floats
    good: Floats
    limit: float
    dispersion: float

    @classmethod
    def build(cls, limit: float, dispersion: float = 1.0) -> "DifferenceEvidence":
        """Return the evidence about one difference; ValueError unless -1 < limit < 1 and dispersion >= 1."""
        if not -1 < limit < 1 or dispersion < 1:
            raise ValueError(f"need -1 < limit < 1 and dispersion >= 1, got {limit} and {dispersion}")
        return cls(_pairs(limit, 1), _pairs(limit, -1), limit, dispersion)

    @property
    def bad_weights(self) -> Floats:
        """Weights float64[K] of the alternatives of a breach."""
        return np.full(len(self.bad), 1 / len(self.bad))

    @property
    def good_weights(self) -> Floats:
        """Weights float64[K] of the alternatives of a recovery."""
        return np.full(len(self.good), 1 / len(self.good))

    def log_bad(self, one: Counts, other: Counts) -> Ints:
        """Return int64[S, K] fixed point: evidence that the first arm fails more often, by more than the limit."""
        return self._log(self.bad, one, other)

    def log_good(self, one: Counts, other: Counts) -> Ints:
        """Return int64[S, K] fixed point: evidence that the difference is below the limit."""
        return self._log(self.good, one, other)

    def _log(self, pairs: Floats, one: Counts, other: Counts) -> Ints:
        both = (one[1] > 0) & (other[1] > 0)
        n1, n0 = (np.where(both, arm[1], 1).astype(np.float64)[:, None] for arm in (one, other))
        q0 = _nearest(pairs, self.limit, n1, n0)
        total = np.zeros((len(both), len(pairs)), np.int64)
        for column, q, (failures, n) in ((0, q0 + self.limit, one), (1, q0, other)):
            t = pairs[:, column]
            # One unit less than rounded down: the search leaves the last bit open.
            failed = floor_fixed(log1p((t - q) / q) / self.dispersion) - 1
            kept = floor_fixed(log1p((q - t) / (1 - q)) / self.dispersion) - 1
            total += failures[:, None] * failed + (n - failures)[:, None] * kept
        total[~both] = 0
        return total


def _pairs(limit: float, side: int) -> Floats:
    """Return alternatives (t1, t0), float64[K, 2], on the side where t1 - t0 - limit has the sign `side`."""
    low, high = max(0.0, -limit), min(1.0, 1.0 - limit)
    base = low + (high - low) * BASES[:, None]
    room = 1 - base - limit if side > 0 else base + limit
    t1 = base + limit + side * STEPS * room
    return np.stack([t1.ravel(), np.broadcast_to(base, t1.shape).ravel()], axis=1)


def _nearest(pairs: Floats, limit: float, n1: Floats, n0: Floats) -> Floats:
    """Return q0 float64[S, K] of the nearest points (q0 + limit, q0): the divergence is convex, its slope is halved out.

    Plus, minus, times and by alone, so that no batch shows in the bits.
    """
    t1, t0 = pairs[:, 0], pairs[:, 1]
    ends = np.stack([t0, t1 - limit])
    low = np.broadcast_to(ends.min(axis=0), (len(n1), len(pairs)))
    high = np.broadcast_to(ends.max(axis=0), low.shape)
    for _ in range(SEARCH):
        q = (low + high) / 2
        slope = n1 * (q + limit - t1) * (q * (1 - q)) + n0 * (q - t0) * ((q + limit) * (1 - q - limit))
        low, high = np.where(slope < 0, q, low), np.where(slope < 0, high, q)
    middle: Floats = (low + high) / 2
    return middle


def interval(one: Counts, other: Counts, alpha: float = 0.05, dispersion: float = 1.0) -> tuple[Floats, Floats]:
    """Return (lower, upper) float64[S] of p1 - p0 from the intervals of both rates; (-1, 1) where an arm is empty.

    d - sqrt((p1 - l1)^2 + (u0 - p0)^2) and d + sqrt((u1 - p1)^2 + (p0 - l0)^2), from Clopper and Pearson's limits, which
    are wider than the Wilson limits that Newcombe took. Source: Newcombe, Statistics in Medicine 1998, method 10; Zou and
    Donner, ibid. 2008 (MOVER).
    """
    (k1, n1), (k0, n0) = one, other
    low1, high1 = clopper_pearson(k1, n1, alpha, dispersion)
    low0, high0 = clopper_pearson(k0, n0, alpha, dispersion)
    p1, p0 = k1 / np.maximum(n1, 1), k0 / np.maximum(n0, 1)
    down, up = (p1 - low1, high0 - p0), (high1 - p1, p0 - low0)
    both = (n1 > 0) & (n0 > 0)
    lower = np.where(both, p1 - p0 - np.sqrt(down[0] * down[0] + down[1] * down[1]), -1.0)
    upper = np.where(both, p1 - p0 + np.sqrt(up[0] * up[0] + up[1] * up[1]), 1.0)
    return np.maximum(lower, -1.0), np.minimum(upper, 1.0)
