"""The ECE as a value with its interval, from micro-bins of a window; and its weighted 95th percentile."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from interlock.detectors.ece import BETS, EVENT, GROUPS, LARGEST_EPS, EdgeCounts, in_groups
from interlock.detectors.fixed import SCALE

DEBIAS_STEPS = 8
"""Fixed-point steps of the folded-normal correction; fixed, so that batching cannot change a bit."""

CELLS = 2048
"""Cells of the histogram of signed residuals over [-1, 1]."""

STEP = 1e-4
"""The lower bound is a multiple of this."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _reliability(n: Ints, sum_p: Ints, sum_y: Ints, groups: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (n, mean p, mean y) float64[S, 15] by group; means are 0 where n = 0."""
    counts = in_groups(n, groups)
    some = np.maximum(counts, 1)
    mean_p = in_groups(sum_p, groups) / (some * float(SCALE))
    return counts.astype(np.float64), mean_p, in_groups(sum_y, groups) / some


def _weighted_mean(values: Floats, n: Floats) -> Floats:
    """Return float64[S]: the mean over groups weighted by n, added in the groups' order; NaN where n = 0."""
    total, weight = np.zeros(len(n)), np.zeros(len(n))
    for g in range(GROUPS):
        total = total + n[:, g] * values[:, g]
        weight = weight + n[:, g]
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def ece_plugin(n: Ints, sum_p: Ints, sum_y: Ints, groups: Ints) -> Floats:
    """Return the plain ECE float64[S], sum of n_b |mean p - mean y| / N: biased upwards by noise; NaN if N = 0.

    Counts are int64[S, 64] micro-bins. Source: Naeini, Cooper and Hauskrecht, AAAI 2015.
    """
    counts, mean_p, mean_y = _reliability(n, sum_p, sum_y, groups)
    return _weighted_mean(np.abs(mean_y - mean_p), counts)


def ece_value(n: Ints, sum_p: Ints, sum_y: Ints, groups: Ints) -> Floats:
    """Return the debiased ECE float64[S]: each group's |residual| is the mean of a folded normal, solved for its centre.

    A residual below the mean of pure noise counts as 0; NaN where nothing was counted. Source: notes/detectors.md 4.1 (`ece_debiased`).
    """
    counts, mean_p, mean_y = _reliability(n, sum_p, sum_y, groups)
    spread = np.sqrt(_variance(mean_p, mean_y) / np.maximum(counts, 1)) + 1e-12
    noise = spread * math.sqrt(2 / math.pi)
    size = np.abs(mean_y - mean_p)
    centre = np.where(size > noise, size, 0.0)
    for _ in range(DEBIAS_STEPS):
        ratio = centre / spread
        folded = noise * np.exp(-ratio * ratio / 2) + centre * (1 - 2 * np.asarray(ndtr(-ratio)))
        centre = np.maximum(centre + (size - folded), 0.0)
    return _weighted_mean(centre, counts)


def kumar_l2(n: Ints, sum_p: Ints, sum_y: Ints, groups: Ints) -> Floats:
    """Return the debiased l2 calibration error float64[S]; groups with one event do not count; NaN if none does.

    Source: Kumar, Liang and Ma, NeurIPS 2019.
    """
    counts, mean_p, mean_y = _reliability(n, sum_p, sum_y, groups)
    usable = np.where(counts > 1, counts, 0.0)
    square = (mean_p - mean_y) ** 2 - mean_y * (1 - mean_y) / np.maximum(counts - 1, 1)
    return np.sqrt(np.maximum(_weighted_mean(square, usable), 0.0))


def ece_upper(n: Ints, sum_p: Ints, sum_y: Ints, groups: Ints, alpha: float = 0.05) -> Floats:
    """Return an upper bound float64[S] of the ECE at level 1 - alpha; 1 where nothing was counted.

    Plug-in + sqrt(2 v ln(1/alpha) / N), v the events' mean variance; asymptotic (VERDICTS.md section 2). With a
    dispersion phi give alpha ** phi: the same as N / phi events.
    """
    counts, mean_p, mean_y = _reliability(n, sum_p, sum_y, groups)
    total = in_groups(n, groups).sum(axis=1)
    mean_variance = _weighted_mean(_variance(mean_p, mean_y), counts)
    width = np.sqrt(2 * mean_variance * math.log(1 / alpha) / np.maximum(total, 1))
    bound = _weighted_mean(np.abs(mean_y - mean_p), counts) + width
    return np.where(total > 0, np.minimum(bound, 1.0), 1.0)


def _variance(mean_p: Floats, mean_y: Floats) -> Floats:
    """Return the larger of the two variances that an event of a group may have: as predicted, as seen."""
    return np.maximum(mean_p * (1 - mean_p), mean_y * (1 - mean_y))


def weighted_p95(values: Sequence[float], weights: Sequence[int], q: float = 0.95) -> float | None:
    """Return the smallest value v such that the weight of values <= v is at least q of all; None without weight."""
    total = sum(weights)
    if total == 0:
        return None
    below = 0
    for value, weight in sorted(zip(values, weights, strict=True)):
        below += weight
        if below >= q * total - 1e-9 * total:  # 0.95 has no exact double
            return value
    raise ValueError(f"q must be at most 1, got {q}")


class SignedResiduals:
    """Lower bounds of the ECE over the last `window` panes, by inverting the betting test with the predictable signs.

    Per slot an int64 histogram of s (y - p), rounded down to 2048 cells over [-1, 1], with events at their micro-bins'
    edges (`EdgeCounts`); panes are added and subtracted exactly, and kept as filled cells only.
    """

    def __init__(self, slots: int, window: int, dispersion: float = 1.0) -> None:
        """Start without panes; log e-values are divided by the dispersion."""
        self._counts = np.zeros((slots, CELLS), dtype=np.int64)
        self._panes: deque[tuple[int, Ints, Ints, Ints]] = deque()
        self._window = window
        self._dispersion = dispersion

    def add(self, pane: int, signs: Floats, n: Ints, sum_p: Ints, sum_y: Ints) -> None:
        """Take in a judged pane: the signs float64[S, 64] it was judged with, and its counts int64[S, 64]."""
        slot, cell = np.nonzero(n)
        edges = EdgeCounts.of(cell, n[slot, cell], sum_p[slot, cell], sum_y[slot, cell])
        parts = edges.residuals(signs[slot, cell])
        counts = np.concatenate([part[0] for part in parts])
        level = np.concatenate([_cell_below(part[1]) for part in parts])
        rows, kept = np.tile(slot, len(parts)), counts > 0
        self._panes.append((pane, rows[kept], level[kept], counts[kept]))
        np.add.at(self._counts, (rows[kept], level[kept]), counts[kept])
        self.expire(pane)

    def expire(self, pane: int) -> None:
        """Drop the panes that are not later than pane - window."""
        while self._panes and self._panes[0][0] <= pane - self._window:
            _, rows, level, counts = self._panes.popleft()
            np.subtract.at(self._counts, (rows, level), counts)

    def snapshot(self) -> dict[str, Any]:
        """Return the panes kept as plain arrays: `panes` (pane, filled cells), and the `cells` (slot, cell, count)."""
        empty = np.zeros((0, 3), dtype=np.int64)
        return {
            "panes": np.array([(pane[0], len(pane[1])) for pane in self._panes], dtype=np.int64).reshape(-1, 2),
            "cells": np.concatenate([empty, *(np.stack(pane[1:], axis=1) for pane in self._panes)]),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots and the same window."""
        self._counts[:] = 0
        self._panes.clear()
        cells = np.array(saved["cells"], dtype=np.int64)
        start = 0
        for pane, size in np.asarray(saved["panes"]).tolist():
            rows, level, counts = cells[start : start + size].T.copy()
            self._panes.append((pane, rows, level, counts))
            np.add.at(self._counts, (rows, level), counts)
            start += size

    def lower(self, slot: int, alpha: float = 0.05) -> float:
        """Return the largest eps, to 1e-4 and at most 0.4, that the slot's evidence rejects at level alpha; else 0."""
        counts = self._counts[slot] / (EVENT * self._dispersion)
        rejected, kept = 0, round(LARGEST_EPS / STEP) + 1
        while kept - rejected > 1:
            middle = (rejected + kept) // 2
            if _log_wealth(counts, middle * STEP) >= -math.log(alpha):
                rejected = middle
            else:
                kept = middle
        return rejected * STEP


def _cell_below(residual: Floats) -> Ints:
    """Return the cell int64[m] whose lower edge is at most the residual."""
    return np.minimum(np.floor((residual + 1) * (CELLS // 2)).astype(np.int64), CELLS - 1)


def _log_wealth(counts: Floats, eps: float) -> float:
    """Return ln of the mean over stakes of the product of 1 + lambda (x - eps) over a histogram float64[2048]."""
    x = np.arange(CELLS) / (CELLS // 2) - 1 - eps
    logs = [float(np.add.reduce(counts * np.log1p(bet * x))) for bet in BETS]
    return float(np.logaddexp.reduce(logs)) - math.log(len(BETS))
