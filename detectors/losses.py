"""Losses of predictions once their labels are there, and the bins that count losses: sums exact, evidence never too large."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log1p, xlogy

from interlock.detectors.fixed import SCALE

BINS = 64
"""Bins over [0, 1]; each counts n and the sum of what fell into it, in units of 1/SCALE."""

_B = np.arange(BINS + 1, dtype=np.int64)
EDGES: NDArray[np.int64] = (3 * BINS * _B**2 - 2 * _B**3) * (SCALE // BINS**3)
"""Edges int64[65] in units of 1/SCALE, exact: 3 t^2 - 2 t^3 at t = b/64. Fine at both ends, where small targets bet high."""

POINTS: NDArray[np.float64] = EDGES / float(SCALE)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Span = tuple[float, float]


def brier(p: Floats, y: Floats) -> Floats:
    """Return (p - y)^2 of probabilities p and labels y in {0, 1}. Source: Brier, Monthly Weather Review 1950."""
    gap: Floats = p - y
    return gap * gap


def log_loss(p: Floats, y: Floats) -> Floats:
    """Return -ln of the probability that was given to the label, inf where that was 0.

    By scipy's functions, which take one value at a time: numpy's logarithm may differ in the last bit with the batch.
    """
    yes, no = -xlogy(1.0, p), -log1p(-p)
    loss: Floats = np.where(y == 1, yes, no)
    return loss


def within(values: Floats, span: Span) -> tuple[Ints, NDArray[np.bool_]]:
    """Return where values lie in a span (low, high), int64 from 0 to SCALE, and which had to be moved to its ends."""
    low, high = span
    share = (np.clip(values, low, high) - low) / (high - low)
    return np.rint(share * SCALE).astype(np.int64), (values < low) | (values > high)


def loss_bin(share: Ints) -> Ints:
    """Return the bin int64[n] of places in [0, SCALE]; SCALE falls into the last."""
    found = np.searchsorted(EDGES, share, side="right") - 1
    return np.minimum(found, BINS - 1).astype(np.int64)


def at_edges(n: Ints, total: Ints) -> Floats:
    """Return float64[S, 65]: the values of each bin moved to its edges such that their number and sum stay.

    `n`, `total` int64[S, 64]. Logarithms of betting factors are concave in the value, so at the edges they add up to
    the least of all values that the counts allow: evidence from bins is never above the evidence of the values.
    """
    high = (total - n * EDGES[:-1]) / (EDGES[1:] - EDGES[:-1]).astype(np.float64)
    out = np.zeros((len(n), BINS + 1))
    out[:, :-1] = n - high
    out[:, 1:] += high
    return np.maximum(out, 0.0)
