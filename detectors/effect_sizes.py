"""How large a difference between two sets of counts is: for display, never to decide (notes/detectors.md 1.3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def effect_sizes(counts: Ints, reference: Ints, centres: Sequence[float] = ()) -> dict[str, float]:
    """Return PSI, Jensen-Shannon divergence, Hellinger distance and, of ordered bins, KS and W1.

    `counts` and `reference` int64[K], half an event added to each; `centres`, of the last bins, gives W1 in units of the
    values. Without any difference PSI is about (K - 1)(1/n + 1/m): with few events it is large and means nothing.
    """
    c, r = (np.array(x, np.float64) + 0.5 for x in (counts, reference))
    c, r = c / c.sum(), r / r.sum()
    middle = (c + r) / 2
    found = {
        "psi": float(((c - r) * np.log(c / r)).sum()),
        "js": float((c * np.log(c / middle)).sum() + (r * np.log(r / middle)).sum()) / 2,
        "hellinger": float(np.sqrt(max(0.0, 1 - np.sqrt(c * r).sum()))),
    }
    if len(centres) > 1:
        apart = np.abs(np.cumsum(_whole(c[-len(centres) :]) - _whole(r[-len(centres) :])))[:-1]
        found |= {"ks": float(apart.max()), "w1": float((apart * np.diff(centres)).sum())}
    return found


def psi(counts: Ints, reference: Ints) -> NDArray[np.float64]:
    """Return the PSI float64[F] of F streams with counts int64[F, K] each; bins that neither has add nothing."""
    some = (counts > 0) | (reference > 0)
    c, r = (np.where(some, x + 0.5, 0.0) for x in (counts, reference))
    c, r = c / c.sum(axis=1, keepdims=True), r / r.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(some, (c - r) * np.log(c / r), 0.0)
    return np.array([float(row.sum()) for row in terms])


def _whole(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    whole: NDArray[np.float64] = shares / shares.sum()
    return whole
