"""How much of what the bins of a stream vary comes with the hour of the day or of the week."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

DAY, WEEK = 24, 168
"""Hours of a cycle."""
DAYS, WEEKS = 7, 3
"""How many days, or weeks, must have been seen before their hours can be compared."""
EXPLAINED = 0.1
"""Share of the variance from which on a cycle has references of its own."""
CHANCE = 0.001
"""How often the variance between hours may be that large without a cycle (F test)."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def explained(counts: Ints, hour: Ints, scores: Floats) -> dict[int, float]:
    """Return the share of the variance between hours that each cycle explains: DAY -> share, WEEK -> share beyond the day's.

    `counts` int64[H, K] of the hours with events, `hour` int64[H] since 1970, ascending, scores float64[D, K] of shifts.
    Omega squared of a one-way analysis of variance of the hours' shares, weighted by their events, noise taken off (Hays
    1963): of all bins (chi-squared distance) or of a score's mean, whichever is larger. 0 where fewer than DAYS days or
    WEEKS weeks were seen, or where an F test with the degrees of freedom of a single score does not exclude chance.
    """
    n = counts.sum(axis=1)
    p = counts.sum(axis=0) / max(int(n.sum()), 1)
    residual = (counts - n[:, None] * p)[:, p > 0] / np.sqrt(p[p > 0])
    tried = [residual]
    for score in scores:
        centred = (score - (p * score).sum())[p > 0] * np.sqrt(p[p > 0])
        tried.append((residual @ centred)[:, None])
    seen = len(np.unique(hour // DAY)), len(np.unique(hour // WEEK))
    found = {DAY: 0.0, WEEK: 0.0}
    for one in tried:
        if seen[0] >= DAYS:
            found[DAY] = max(found[DAY], _share(one, n, np.zeros_like(hour), hour % DAY))
        if seen[1] >= WEEKS:
            found[WEEK] = max(found[WEEK], _share(one, n, hour % DAY, hour % WEEK))
    return found


def _share(values: Floats, n: Ints, coarse: Ints, fine: Ints) -> float:
    """Return omega squared of `fine` classes int64[H] beyond `coarse` ones, of summed deviations float64[H, D] of n events."""
    total = float(((values * values).sum(axis=1) / n).sum())
    by_fine, by_coarse = _between(values, n, fine), _between(values, n, coarse)
    free, left = len(np.unique(fine)) - len(np.unique(coarse)), len(n) - len(np.unique(fine))
    if free <= 0 or left <= 0 or total <= 0:
        return 0.0
    noise = max(total - by_fine, 0.0) / left
    gained = by_fine - by_coarse
    if noise > 0 and fdtrc(free, left, gained / free / noise) > CHANCE:
        return 0.0
    return max(0.0, (gained - free * noise) / (total + noise))


def _between(values: Floats, n: Ints, classes: Ints) -> float:
    """Return the sum of squares between classes."""
    events = np.bincount(classes, weights=n)
    sums = np.stack([np.bincount(classes, weights=column) for column in values.T])
    filled = events > 0
    return float((sums[:, filled] ** 2 / events[filled]).sum())
