"""What the ratios of labels count: which predictions are due a label, and what a label that has come decides."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.policies.expressions import TRUE
from interlock.policies.expressions import UNDECIDED as UNKNOWN
from interlock.policies.plan import ASIDE, DUE, FOUND, HIT, MEANT, SAID, UNDECIDED, Kind, N, Plan, Series
from interlock.streams.classes import Classes, Signs, of_series
from interlock.streams.labels import NO_CLASS

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Due:
    """Of n predictions: those whose label will be counted, bool[n], and which of them each cell counts now."""

    counted: Mask
    cells: Mapping[int, Mask]


def due(plan: Plan, series: Series, said: Classes | None, where: NDArray[np.int8]) -> Due:
    """Return which predictions are due a label; of `precision`, those alone that say the class."""
    inside, unknown = where == TRUE, where == UNKNOWN
    if series.kind in (Kind.COVERAGE, Kind.STALENESS) or said is None:
        return Due(inside, {N: inside, UNDECIDED: unknown})
    known = inside & _known(plan, series, said)
    unknown |= inside & ~known
    aside = known & (of_series(series, said) == 0) if series.kind is Kind.PRECISION else np.zeros_like(known)
    return Due(known & ~aside, {DUE: known & ~aside, ASIDE: aside, UNDECIDED: unknown})


def settled(plan: Plan, series: Series, said: Classes, meant: Classes) -> Mapping[int, Mask]:
    """Return which of m joined pairs each cell counts, bool[m]."""
    if series.kind in (Kind.COVERAGE, Kind.STALENESS):
        return {HIT: meant.name != NO_CLASS}
    found = _known(plan, series, meant)
    if series.kind is Kind.ACCURACY:
        right = said.positive == meant.positive if plan.predicted else said.name == meant.name
        return {N: found, HIT: found & right, FOUND: found, UNDECIDED: ~found}
    says, means = of_series(series, said) == 1, of_series(series, meant)
    n, hits = _of_class(series.kind, says, means)
    cells = {N: n, HIT: n & hits, FOUND: found, UNDECIDED: ~found}
    return cells | {SAID: found & says, MEANT: means == 1}


def _known(plan: Plan, series: Series, classes: Classes) -> Mask:
    """Return of which events the class is known."""
    by_name = series.kind is Kind.ACCURACY and plan.predicted is None
    known: Mask = classes.name != NO_CLASS if by_name else of_series(series, classes) >= 0
    return known


def _of_class(kind: Kind, says: Mask, means: Signs) -> tuple[Mask, Mask]:
    """Return the observations of a kind, bool[m], and what makes one a hit."""
    match kind:
        case Kind.PRECISION:
            return means >= 0, means == 1
        case Kind.CLASS_RECALL:
            return means == 1, says
        case Kind.FALSE_POSITIVES:
            return means == 0, says
        case _:
            return means == 1, ~says
