"""Conformal p-values of OOD scores: what share of familiar events looks at least as odd."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SCORES = 65_536
"""Calibration scores kept; more are thinned (`thin`)."""
STRATA = (0.20, 0.05)
"""Conformal p-values at which an unflagged event enters the middle and the upper audit stratum."""
STEP = 32
"""Levels of a `Scale` in one nat."""
_FARTHEST = 30  # nats that a scale goes on beyond the largest score
_LARGEST = 2.0**62
_AUDIT_FACTORS = (0.5, 2.0, 8.0)  # times the shares .80, .15 and .04 of familiar events: about 1 on average


def thin(scores: NDArray[np.int64], most: int = MAX_SCORES) -> NDArray[np.int64]:
    """Return the sorted scores, or the maximum of each of `most` blocks of equal size where there are more.

    With maxima of blocks a conformal p-value never shrinks, so what holds for all the scores holds for the thinned.
    The greatest score is always kept.
    """
    ordered = np.sort(scores)
    if len(ordered) <= most:
        return ordered
    ends = -(-np.arange(1, most + 1, dtype=np.int64) * len(ordered) // most)
    kept: NDArray[np.int64] = ordered[ends - 1]
    return kept


def audit_levels(rate: float) -> tuple[float, ...]:
    """Return the audit probability of each stratum of `Calibration.level`, lowest scores first.

    About rate/2, 2 rate and 8 rate, each rounded on the log scale to a power of two, 2**-k, and at most 1, so that
    sums of inverse probabilities stay exact. Familiar traffic is then audited at .8 to 1.3 times `rate` on average:
    .80 of it lies in the first stratum, .15 in the second, .04 (beside 1 % flagged) in the third. A rate of 0 audits
    nothing, a rate of 1 everything.
    """
    if rate <= 0.0 or rate >= 1.0:
        return (min(max(rate, 0.0), 1.0),) * len(_AUDIT_FACTORS)
    return tuple(min(1.0, 2.0 ** round(math.log2(rate * factor))) for factor in _AUDIT_FACTORS)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Scores of held-out reference events, sorted ascending: int64[m].

    An event exchangeable with them has p-value <= a with probability at most a (Vovk, Gammerman and Shafer,
    *Algorithmic Learning in a Random World*, 2005, proposition 2.8).
    """

    scores: NDArray[np.int64]

    def p_values(self, scores: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return `(#{calibration >= s} + 1) / (m + 1)` for each score, float64[n] in (0, 1]."""
        above = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return (above + 1) / (len(self.scores) + 1)

    def threshold(self, flag_rate: float) -> int:
        """Return the least score whose conformal p-value is at most `flag_rate`; an event is flagged from there on.

        With fewer than 1/flag_rate - 1 calibration scores no finite threshold proves the rate: int64's maximum.
        """
        allowed = math.floor(flag_rate * (len(self.scores) + 1)) - 1
        if allowed < 0:
            return int(np.iinfo(np.int64).max)
        if allowed >= len(self.scores):
            return int(np.iinfo(np.int64).min)
        return int(self.scores[len(self.scores) - 1 - allowed]) + 1

    def level(self, scores: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return each event's audit stratum, int8[n]: 0 for p > .20, 1 for p > .05, 2 for the oddest."""
        level = np.zeros(len(scores), dtype=np.int8)
        for p_value in STRATA:
            level += scores >= self.threshold(p_value)
        return level


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Oddities of one kind as nats of conformal surprise, so that those of several kinds may be added.

    `knots` int64[K] ascend; a score above i of them has `values[i]`, int64[K + 1] in the unit that the scale was made in.
    """

    knots: NDArray[np.int64]
    values: NDArray[np.int64]

    def of(self, scores: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the value of each score, int64[n]: a look-up, the same in any batching."""
        return self.values[np.searchsorted(self.knots, scores, side="left")]


def conformal_scale(scores: NDArray[np.int64], unit: int) -> Scale:
    """Return the scale of familiar events' scores int64[m], m >= 1: `-ln p` in 1/unit nat, rounded down to 1/32 nat.

    p is the conformal p-value of `Calibration`. Beyond the largest score, where p would say nothing more, it goes on by
    `ln(1 + (s - max) / (max - q90))`, q90 the score that a tenth exceeds: what is farther away stays odder.
    """
    ordered, m = np.sort(scores), len(scores)
    top = int(ordered[-1])
    width = max(top - int(ordered[int(0.9 * m)]), 1)
    end = math.log(m + 1)
    knots: list[int] = []
    for level in range(1, int((end + _FARTHEST) * STEP)):
        nats = level / STEP
        # The least s with p <= exp(-nats): fewer than `allowed` scores reach it.
        allowed = math.floor(math.exp(-nats) * (m + 1))
        inside = int(ordered[m - allowed]) if allowed >= 1 else top
        beyond = min(top + width * math.expm1(nats - end), _LARGEST)
        knots.append(inside if nats <= end else max(top, int(beyond)))
    ascending = np.array(knots, np.int64)
    return Scale(ascending, np.arange(len(ascending) + 1, dtype=np.int64) * unit // STEP)
