"""Which decisions may stay automatic: the score ranges whose error rate the labels prove to be low enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from interlock.detectors.ece import BINS, GROUPS, in_groups

Ints = NDArray[np.int64]

TINY = 1e-300
"""Stands for 0 where the beta function wants a positive parameter."""

Range = tuple[float, float]
"""Scores from the first number on, up to but without the second; one that ends at 1 has 1 in it."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What a score decides: the positive class from `boundary` on, the other one below; in [0, 1].

    `one_sided`: some scores are probabilities of the class that was named, so that low ones decide nothing.
    """

    boundary: float = 0.5
    one_sided: bool = False

    def errors(self, n: Ints, sum_y: Ints) -> Ints:
        """Return the wrong decisions of each micro-bin, int64[64], of n labels with `sum_y` positive.

        The micro-bin that the boundary cuts has the larger of both numbers; a low one that decides nothing, all of n.
        """
        edges = np.arange(BINS + 1) / BINS
        above, below = edges[:-1] >= self.boundary, edges[1:] <= self.boundary
        low = n if self.one_sided else sum_y
        mixed = np.where(below, low, np.maximum(n - sum_y, low))
        return np.asarray(np.where(above, n - sum_y, mixed), np.int64)

    def order(self, groups: Ints) -> list[int]:
        """Return the groups by confidence, the greatest first: the distance of their nearest score to the boundary.

        `groups` int64[64] is the group of each micro-bin. The order rests on nothing but the groups; of equals the
        smaller number comes first. One-sided, groups that lie below the boundary are left out.
        """
        centre = (np.arange(BINS) + 0.5) / BINS
        decides = np.full(BINS, not self.one_sided) | (centre >= self.boundary)
        nearest = {
            g: float(np.abs(centre[groups == g] - self.boundary).min()) for g in np.unique(groups[decides]).tolist()
        }
        return sorted(nearest, key=lambda g: (-nearest[g], g))


@dataclass(frozen=True, slots=True)
class Promise:
    """At most `rate` errors among automatic decisions, wrong with probability `delta`; counts are divided by phi."""

    rate: float
    delta: float = 0.05
    dispersion: float = 1.0

    def automatic(self, n: Ints, errors: Ints, order: Sequence[int]) -> tuple[int, ...]:
        """Return the groups of `order` that may stay automatic, from counts int64[15] by group.

        The ranges made of the first 1, 2, ... groups that have labels are tested in this order, and the first that fails
        ends it: groups 1..j pass when P(Bin(n_1..j, rate) <= errors_1..j) <= delta. So the error rate of what passes is
        above `rate` with probability at most delta, given n: to pass a false range, the first false one must be rejected
        (fixed-sequence testing, Maurer, Hothorn and Lehmacher 1995; the exact test of Clopper and Pearson 1934).
        """
        total = wrong = 0
        passed: list[int] = []
        for group in order:
            if not n[group]:
                continue
            total, wrong = total + int(n[group]), wrong + int(errors[group])
            if self._chance(total, wrong) > self.delta:
                break
            passed.append(group)
        return tuple(passed)

    def _chance(self, n: int, errors: int) -> float:
        """Return P(Bin(n, rate) <= errors), with counts divided by phi: 1 where everything is wrong or nothing is known."""
        right = (n - errors) / self.dispersion
        return float(betainc(max(right, TINY), errors / self.dispersion + 1, 1 - self.rate)) if right > 0 else 1.0


def by_group(bins: Ints, groups: Ints) -> Ints:
    """Return int64[15]: counts of the 64 micro-bins by group."""
    found: Ints = in_groups(bins[None], groups)[0]
    return found


def ranges(chosen: Sequence[int], groups: Ints) -> list[Range]:
    """Return the score ranges that some of the groups cover, ascending, neighbours joined."""
    inside = np.concatenate([[False], np.isin(groups, list(chosen)) & (groups < GROUPS), [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1]) / BINS
    return [(float(low), float(high)) for low, high in edges.reshape(-1, 2)]
