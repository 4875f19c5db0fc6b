"""Labels into counts: which cells of which series a joined pair adds to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import micro_bin
from interlock.policies.plan import (
    CONFIRMED,
    LABELLED_RATIOS,
    LABELS,
    MISSED,
    REVIEWED,
    SETTLED,
    Kind,
    Plan,
    audit_cell,
)
from interlock.streams import ratios_labelled
from interlock.streams.classes import Classes
from interlock.streams.counting import FIXED, Mask
from interlock.streams.tally import Ints, OpenCounts, tabulate


@dataclass(frozen=True, slots=True)
class Labelled:
    """m joined pairs: panes of arrival and of the prediction, version code, p (or -1), y in {-1, 0, 1}, OOD verdict.

    `said` and `meant` are the classes of the prediction and of the label.
    """

    arrival: Ints
    cohort: Ints
    version: Ints
    p: Ints
    y: NDArray[np.int8]
    ood: NDArray[np.int8]
    flagged: Mask
    selected: Mask
    level: NDArray[np.int8]
    said: Classes
    meant: Classes


def count_pairs(plan: Plan, pairs: Labelled, slices: Mapping[int, Ints], into: OpenCounts) -> None:
    """Count joined pairs; `slices` has the slice code of each pair per joined series, -1 where it does not count."""
    for place, codes in slices.items():
        inside = codes >= 0
        if not inside.any():
            continue
        kind = plan.series[place].kind
        if kind is Kind.EVENTS:
            _pairs(into, place, (pairs, codes), inside, LABELS)
        elif kind is Kind.ECE:
            _reliability(into, place, (pairs, codes), inside & (pairs.y >= 0))
        elif kind in LABELLED_RATIOS:
            found = ratios_labelled.settled(plan, plan.series[place], pairs.said, pairs.meant)
            for cell, rows in found.items():
                _pairs(into, place, (pairs, codes), inside & rows, cell)
        else:
            _reviews(into, place, (pairs, codes), inside & (pairs.ood >= 0))


def _pairs(into: OpenCounts, place: int, where: tuple[Labelled, Ints], rows: Mask, cell: int) -> None:
    pairs, codes = where
    if rows.any():
        keys, sums = tabulate([pairs.arrival[rows], pairs.cohort[rows], pairs.version[rows], codes[rows]])
        into.add((keys[0], keys[1], place, keys[2], keys[3], cell), sums[0])


def _reliability(into: OpenCounts, place: int, where: tuple[Labelled, Ints], rows: Mask) -> None:
    """Count n, sum of p and sum of y per micro-bin: cells 3 * bin + {0, 1, 2}."""
    pairs, codes = where
    if not rows.any():
        return
    p = pairs.p[rows]
    keys = [pairs.arrival[rows], pairs.cohort[rows], pairs.version[rows], codes[rows], micro_bin(p / FIXED)]
    (arrival, cohort, version, piece, cell), sums = tabulate(keys, [p, pairs.y[rows].astype(np.int64)])
    for what, total in enumerate(sums):
        into.add((arrival, cohort, place, version, piece, 3 * cell + what), total)


def _reviews(into: OpenCounts, place: int, where: tuple[Labelled, Ints], rows: Mask) -> None:
    pairs, _ = where
    confirmed = pairs.ood == 1
    _pairs(into, place, where, rows & pairs.flagged, REVIEWED)
    _pairs(into, place, where, rows & pairs.flagged & confirmed, CONFIRMED)
    for level in np.unique(pairs.level[rows]).tolist() if rows.any() else ():
        audited = rows & ~pairs.flagged & pairs.selected & (pairs.level == level)
        _pairs(into, place, where, audited, audit_cell(level, SETTLED))
        _pairs(into, place, where, audited & confirmed, audit_cell(level, MISSED))
