"""How often what was stated came true in the reference, by the stated probability."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS

LEAST = 20
"""Rows of the reference that a rate rests on; thinner micro-bins are pooled with their neighbours."""

HALVES = (range(BINS // 2), range(BINS // 2, BINS))
"""Micro-bins below one half, and from one half on: where most models begin to say the other class, nothing is pooled."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def rates(n: Ints, hits: Ints) -> Floats:
    """Return the share of hits of each micro-bin, float64[64], from its counts int64[64]; NaN where it is not known.

    Bins are pooled upwards until they hold LEAST rows; what is left over joins the last pool. A half with fewer rows
    in all is not known.
    """
    found = np.full(BINS, np.nan)
    for half in HALVES:
        for pool in _pools(n, half):
            found[pool] = hits[pool].sum() / n[pool].sum()
    return found


def _pools(n: Ints, half: range) -> list[list[int]]:
    pools: list[list[int]] = []
    open_: list[int] = []
    for place in half:
        open_.append(place)
        if n[open_].sum() >= LEAST:
            pools.append(open_)
            open_ = []
    if pools:
        pools[-1] += open_
    return pools


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often it came true in the reference, by micro-bin, NaN where that is not known.

    `positive`: of scores, that the label was positive; `right`: of the score, else of the likeliest class's probability,
    that the label was the class that the prediction said.
    """

    positive: tuple[float, ...]
    right: tuple[float, ...]

    @classmethod
    def of(cls, table: Ints) -> Self:
        """Return it from counts int64[64, 4]: scored rows, positive labels; rows with a class, right ones."""
        scored, positive, named, right = table.T
        return cls(tuple(rates(scored, positive).tolist()), tuple(rates(named, right).tolist()))
