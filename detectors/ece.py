"""Evidence about the expected calibration error (ECE) of decisions, from counts in 64 micro-bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.fixed import SCALE, floor_fixed

BINS = 64
"""Micro-bins of equal width over [0, 1]; each counts n, sum p (fixed point) and sum y."""

GROUPS = 15
"""Groups of micro-bins over which the ECE is taken."""

BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.7])
"""Stakes (lambda) of the alternatives, all below 1 / (1 + eps) (notes/detectors.md 2.6)."""

LARGEST_EPS = 0.4
"""Largest target with all factors positive: 0.7 (1 + 0.4) < 1."""

EVENT = SCALE // BINS
"""One event in the unit of edge counts: then (sum p - n lower edge) counts the events at the upper edge."""

SIGN_STEPS = 1 << 20
"""Signs are multiples of 1/SIGN_STEPS, so that the last bit of tanh never matters."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def micro_bin(p: Floats) -> Ints:
    """Return the micro-bin int64[n] of probabilities in [0, 1]; 1 falls into the last."""
    return np.minimum((p * BINS).astype(np.int64), BINS - 1)


def groups_equal_width() -> Ints:
    """Return the group int64[64] of each micro-bin when there is no reference."""
    groups: Ints = np.arange(BINS, dtype=np.int64) * GROUPS // BINS
    return groups


def groups_equal_mass(n_ref: Ints) -> Ints:
    """Return the group int64[64] of each micro-bin, about equally many of the reference's events in each.

    `n_ref` int64[64]; equal width if it is empty. Groups never decrease; some may be missing.
    """
    total = int(n_ref.sum())
    if total == 0:
        return groups_equal_width()
    middle = 2 * np.cumsum(n_ref) - n_ref
    return np.asarray(np.minimum(middle * GROUPS // (2 * total), GROUPS - 1), dtype=np.int64)


def in_groups(cells: Ints, groups: Ints) -> Ints:
    """Return int64[..., 15]: the micro-bins' counts int64[..., 64] added up by group (integers, hence exact)."""
    belongs = (groups[:, None] == np.arange(GROUPS)).astype(np.int64)
    return np.asarray(cells @ belongs, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """Events of m micro-bins moved to their bin's edges such that n, sum p and sum y stay: int64[m], unit 1/EVENT.

    The true p inside a micro-bin are not known, only their sum. Logarithms of the betting factors are concave in p, so
    events at the edges have the least; of all ways to share sum p between y = 1 and y = 0, the least again is p as
    high as can be where y = 0 (the factor's slope is steeper there, for either sign). So evidence computed at the
    edges is never above the evidence of the true p: no within-bin (Jensen) gap is left to chance. The cell mean would
    not be safe: where y falls with p inside a bin it overstates by up to lambda^2/256 nats an event.
    """

    cell: Ints
    yes_low: Ints
    yes_high: Ints
    no_low: Ints
    no_high: Ints

    @classmethod
    def of(cls, cell: Ints, n: Ints, sum_p: Ints, sum_y: Ints) -> "EdgeCounts":
        """Return the edge counts of micro-bins `cell` with counts n, sum p (fixed point) and sum y, each int64[m]."""
        high = np.clip(sum_p - n * cell * EVENT, 0, n * EVENT)
        no = (n - sum_y) * EVENT
        no_high = np.minimum(high, no)
        yes_high = high - no_high
        return cls(cell, sum_y * EVENT - yes_high, yes_high, no - no_high, no_high)

    def residuals(self, signs: Floats) -> tuple[tuple[Ints, Floats], ...]:
        """Return the four (counts, s (y - p) at the edge), each [m], for signs s float64[m]."""
        low, high = self.cell / BINS, (self.cell + 1) / BINS
        return (
            (self.yes_low, signs * (1 - low)),
            (self.yes_high, signs * (1 - high)),
            (self.no_low, -signs * low),
            (self.no_high, -signs * high),
        )


def _log_factors(edges: EdgeCounts, signs: Floats, shift: float, dispersion: float) -> Ints:
    """Return int64[m, 5]: sum of ln(1 + lambda (s (y - p) + shift)) over each bin's events, rounded down."""
    out = np.zeros((len(signs), len(BETS)), dtype=np.int64)
    residuals = [(counts / EVENT, x + shift) for counts, x in edges.residuals(signs)]
    for k, bet in enumerate(BETS):
        total = np.zeros(len(signs))
        for counts, x in residuals:
            total = total + counts * np.log1p(bet * x)
        out[:, k] = floor_fixed(total / dispersion) - 1  # the sum of four products may be half an ulp too large
    return out


@dataclass(frozen=True, slots=True)
class EceEvidence:
    """Log e-values against "ECE <= eps" (bad) and "ECE >= eps" (good), from micro-bins of one pane; K = 5 each.

    For signs s in [-1, 1] known before the pane, E[s (y - p)] <= ECE, so 1 + lambda (s (y - p) - eps) is an e-value
    under "ECE <= eps"; under "ECE >= eps" some signs per group have E[s (y - p)] >= eps, so the smallest over signs of
    the mirrored products is one. Additive over panes. Source: Waudby-Smith and Ramdas, JRSS-B 2024, with the signs of
    notes/detectors.md 2.6; `EdgeCounts` says how sums of p suffice.
    """

    eps: float
    groups: Ints
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        """Check the target; ValueError unless 0 < eps <= 0.4 and dispersion >= 1."""
        if not 0 < self.eps <= LARGEST_EPS or self.dispersion < 1:
            raise ValueError(f"need 0 < eps <= {LARGEST_EPS} and dispersion >= 1, got {self.eps} and {self.dispersion}")

    @property
    def weights(self) -> Floats:
        """Weights float64[5] of the alternatives."""
        return np.full(len(BETS), 1 / len(BETS))

    def signs(self, n: Ints, sum_p: Ints, sum_y: Ints) -> Floats:
        """Return the signs s float64[S, 64] for the next pane from sums int64[S, 64] of earlier ones.

        s = tanh(residual / sqrt(variance)) of the micro-bin's group, a multiple of 2^-20; 0 without history.
        """
        mean = sum_p / (np.maximum(n, 1) * float(SCALE))
        variance = np.rint(n * mean * (1 - mean) * SIGN_STEPS).astype(np.int64)
        residual = in_groups(sum_y * SCALE - sum_p, self.groups) / SCALE
        z = residual / np.sqrt(in_groups(variance, self.groups) / SIGN_STEPS + 1e-9)
        return np.asarray((np.rint(np.tanh(z) * SIGN_STEPS) / SIGN_STEPS)[:, self.groups])

    def log_bad(self, signs: Floats, n: Ints, sum_p: Ints, sum_y: Ints) -> Ints:
        """Return int64[S, 5] fixed point: evidence that the ECE is above eps, from the pane's counts int64[S, 64]."""
        slot, cell = np.nonzero(n)
        edges = EdgeCounts.of(cell, n[slot, cell], sum_p[slot, cell], sum_y[slot, cell])
        out = np.zeros((len(n), len(BETS)), dtype=np.int64)
        np.add.at(out, slot, _log_factors(edges, signs[slot, cell], -self.eps, self.dispersion))
        return out

    def log_good(self, n: Ints, sum_p: Ints, sum_y: Ints) -> Ints:
        """Return int64[2, 5, 15] fixed point for `SignedMirror`: evidence per sign and group of one slot, int64[64]."""
        cell = np.flatnonzero(n)
        edges = EdgeCounts.of(cell, n[cell], sum_p[cell], sum_y[cell])
        out = np.zeros((2, GROUPS, len(BETS)), dtype=np.int64)
        for j, sign in enumerate((-1.0, 1.0)):
            np.add.at(
                out[j], self.groups[cell], _log_factors(edges, np.full(len(cell), sign), self.eps, self.dispersion)
            )
        return np.ascontiguousarray(out.transpose(0, 2, 1))
