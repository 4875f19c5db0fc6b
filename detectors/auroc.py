"""How well scores tell positives from negatives (AUROC), from counts of scores by label."""

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.losses import BINS, loss_bin

POINTS: NDArray[np.float64] = np.array([0.0, 0.5, 1.0])
"""What a pair of a positive and a negative says: in the wrong order, tied, in the right one."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

__all__ = ["BINS", "POINTS", "auroc", "pairs", "score_bin"]

score_bin = loss_bin
"""The bin of a score in units of 1/SCALE: fine at both ends, where rare classes have their scores. Scores of one bin are tied."""


def _orders(negatives: Ints, positives: Ints) -> Floats:
    """Return float64[S, 3]: the pairs in the wrong order, tied, and in the right order, of counts int64[S, bins]."""
    tied = (negatives * positives).sum(axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    right = (below * positives).sum(axis=1)
    total = negatives.sum(axis=1) * positives.sum(axis=1)
    return np.stack([total - right - tied, tied, right], axis=1).astype(np.float64)


def auroc(negatives: Ints, positives: Ints) -> Floats:
    """Return float64[S]: the share of pairs in the right order, ties by half (Mann-Whitney); NaN without pairs."""
    orders = _orders(negatives, positives)
    total = orders.sum(axis=1)
    return np.where(total > 0, (orders[:, 2] + orders[:, 1] / 2) / np.maximum(total, 1.0), np.nan)


def pairs(negatives: Ints, positives: Ints) -> Floats:
    """Return float64[S, 3]: what min(positives, negatives) disjoint pairs say on average over all ways to form them.

    A pairing of positives with different negatives gives independent observations in {0, 1/2, 1} whose mean is the AUROC;
    bets on them are e-values, and so is their average over all pairings. The average is at least the exponential of the
    average logarithm (Jensen), which these shares give: evidence from them is never above a valid e-value. Source:
    Hoeffding, JASA 1963, section 5, on U-statistics as averages of sums of independent terms.
    """
    orders = _orders(negatives, positives)
    least = np.minimum(negatives.sum(axis=1), positives.sum(axis=1)).astype(np.float64)
    said: Floats = orders / np.maximum(orders.sum(axis=1), 1.0)[:, None] * least[:, None]
    return said
