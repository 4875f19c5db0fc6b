"""How much more the counts of panes vary than independent events would: what evidence is divided by."""

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import in_groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def proportion_dispersion(hits: Ints, n: Ints) -> float:
    """Return phi >= 1: the dispersion of `hits` among `n`, int64[P] over the reference's panes.

    sum of (k - n q)^2 over sum of n q (1 - q), q the overall rate, times P / (P - 1); 1.0 where it cannot be told. For
    panes of one size that is Pearson's dispersion (McCullagh and Nelder 1989, section 4.5); the ratio of sums is not
    upset by panes where less than one hit is expected. Clusters of mean size g (geometric), hit or missed as one, give
    2 g - 1.
    """
    rate = float(int(hits.sum()) / max(int(n.sum()), 1))
    return _dispersion(hits - n * rate, n.astype(np.float64) * (rate * (1 - rate)), 1)


def ece_dispersion(n: Ints, sum_y: Ints, groups: Ints) -> float:
    """Return phi >= 1 for calibration evidence: counts int64[P, 64] of the reference's panes, groups int64[64].

    Outcomes are compared with the reference's own rate of each micro-bin, so that miscalibration is no dispersion.
    The larger of the dispersion per (pane, group) and per pane: the latter sees a pane in which all groups err
    together, as ECE evidence does. 1.0 where it cannot be told.
    """
    total = n.sum(axis=0)
    rate = sum_y.sum(axis=0) / np.maximum(total, 1)
    residual = sum_y - n * rate
    variance = n * (rate * (1 - rate))
    belongs = _members(groups)
    by_group = [(residual[:, cells].sum(axis=1), variance[:, cells].sum(axis=1)) for cells in belongs]
    fitted = int((in_groups(total, groups) > 0).sum())
    per_group = _dispersion(np.concatenate([r for r, _ in by_group]), np.concatenate([v for _, v in by_group]), fitted)
    return max(per_group, _dispersion(residual.sum(axis=1), variance.sum(axis=1), 1))


def _members(groups: Ints) -> list[Ints]:
    return [np.flatnonzero(groups == g).astype(np.int64) for g in np.unique(groups)]


def _dispersion(residual: Floats, variance: Floats, fitted: int) -> float:
    """Return sum of residual^2 over sum of variance, corrected for the rates fitted; at least 1."""
    filled = int((variance > 0).sum())
    if filled <= fitted:
        return 1.0
    return max(1.0, float((residual**2).sum() / variance.sum()) * filled / (filled - fitted))


def bins_dispersion(counts: Ints, scores: Floats) -> float:
    """Return phi >= 1 of the bins of a stream: counts int64[P, K] of the reference's panes, scores float64[D, K].

    The largest of Pearson's dispersion over all bins (multinomial: sum of squared residuals over sum of n p (1 - p)) and of
    the dispersion of each score's sum per pane: slow waves move neighbouring bins together, which bins alone hide.
    """
    n = counts.sum(axis=1)
    p = counts.sum(axis=0) / max(int(n.sum()), 1)
    residual = counts - n[:, None] * p
    found = [_dispersion(residual.reshape(-1), (n[:, None] * (p * (1 - p))).reshape(-1), int((p > 0).sum()))]
    for score in scores:
        centred = score - (p * score).sum()
        found.append(_dispersion(residual @ centred, n * float((p * centred**2).sum()), 1))
    return max(found)


def hourly_dispersion(counts: Ints, seen: Ints, by_hour: Ints, scores: Floats) -> float:
    """Return phi >= 1 of the bins of a stream that has a cycle: what the hours do not explain, as `bins_dispersion` has it.

    counts int64[P, K] of the reference's panes, `seen` int64[P, C] their events by hour, by_hour int64[C, K] the counts of
    each hour, scores float64[D, K]. A pane is expected to be what its own events' hours are.
    """
    p = by_hour / np.maximum(by_hour.sum(axis=1), 1)[:, None]
    residual, variance = counts - seen @ p, seen @ (p * (1 - p))
    found = [_dispersion(residual.reshape(-1), variance.reshape(-1), int((p > 0).sum()))]
    hours = int((by_hour.sum(axis=1) > 0).sum())
    for score in scores:
        spread = p @ score**2 - (p @ score) ** 2
        found.append(_dispersion(residual @ score, seen @ np.maximum(spread, 0.0), hours))
    return max(found)
