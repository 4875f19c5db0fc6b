"""Labels and reviews into counts: which cells of which series a joined pair adds to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import micro_bin
from interlock.policies.plan import (
    CONFIRMED,
    ERRORS,
    LABELLED_RATIOS,
    LABELS,
    LOSSES,
    MISSED,
    REVIEWED,
    SETTLED,
    TOP_LABELS,
    Kind,
    Plan,
    Series,
    audit_cell,
)
from interlock.streams import means, ratios_labelled
from interlock.streams.classes import Classes
from interlock.streams.counting import FIXED, Mask
from interlock.streams.labels import NO_CLASS, class_hash
from interlock.streams.tally import Ints, OpenCounts, tabulate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Met:
    """m predictions that met a fact: panes of arrival and of the prediction, version code, whether it stands for its outcome."""

    arrival: Ints
    cohort: Ints
    version: Ints
    first: Mask


@dataclass(frozen=True, slots=True)
class Labelled(Met):
    """m predictions that met their label: p (or -1), y in {-1, 0, 1}.

    `said` and `meant` are the classes of the prediction and of the label; `guess` and `truth` float64[m] their numbers
    (NaN: none); `stated` int64[m] the probability of the class that a series names, by its position.
    `top`: p is the probability of the class that
    the prediction named, and y whether the label names it too.
    """

    p: Ints
    y: NDArray[np.int8]
    said: Classes
    meant: Classes
    guess: Floats
    truth: Floats
    stated: Mapping[int, Ints]
    top: Mask


@dataclass(frozen=True, slots=True)
class Reviewed(Met):
    """m predictions that met their review: found out of distribution or not; flagged, selected at this level of audits."""

    confirmed: Mask
    flagged: Mask
    selected: Mask
    level: NDArray[np.int8]


def count_reviews(plan: Plan, pairs: Reviewed, slices: Mapping[int, Ints], into: OpenCounts) -> None:
    """Count reviews; `slices` as for labels."""
    for place, codes in slices.items():
        if plan.series[place].kind is Kind.RECALL:
            _reviews(into, place, (pairs, codes), codes >= 0)


def count_labels(plan: Plan, pairs: Labelled, slices: Mapping[int, Ints], into: OpenCounts) -> None:
    """Count labels; `slices` has the slice code of each pair per joined series, -1 where it does not count."""
    for place, codes in slices.items():
        inside = codes >= 0
        if not inside.any():
            continue
        kind = plan.series[place].kind
        if kind is Kind.EVENTS:
            _pairs(into, place, (pairs, codes), inside & pairs.first, LABELS)
        elif kind is Kind.ECE:
            p, y = judged(plan.series[place], place, pairs)
            _reliability(into, place, (replace(pairs, p=p, y=y), codes), inside & (y >= 0))
        elif kind in (*LOSSES, Kind.AUROC):
            _means(into, (place, plan.series[place]), (pairs, codes), inside)
        elif kind in LABELLED_RATIOS:
            found = ratios_labelled.settled(plan, plan.series[place], pairs.said, pairs.meant)
            for cell, rows in found.items():
                _pairs(into, place, (pairs, codes), inside & rows, cell)


def judged(series: Series, place: int, pairs: Labelled) -> tuple[Ints, NDArray[np.int8]]:
    """Return the probability that a series judges and whether it came true: p int64[m], y int8[m] in {-1, 0, 1}."""
    if series.named is None:
        return pairs.p, pairs.y
    label = pairs.meant.name
    same = (label == np.uint64(class_hash(series.named))).astype(np.int8)
    return pairs.stated[place], np.where(label == NO_CLASS, np.int8(-1), same)


def _means(into: OpenCounts, series: tuple[int, Series], where: tuple[Labelled, Ints], inside: Mask) -> None:
    """Count losses, or scores by label, in bins."""
    (place, of), (pairs, codes) = series, where
    said, meant = pairs.guess, pairs.truth
    if of.kind not in ERRORS:
        p, y = judged(of, place, pairs)
        said, meant = np.where(p < 0, np.nan, p / FIXED), np.where(y < 0, np.nan, y)
    found = means.of_scores(said, meant) if of.kind is Kind.AUROC else means.of_losses(of, said, meant)
    for counted, cell, weight in found:
        rows = inside & counted
        if isinstance(cell, int):
            _pairs(into, place, where, rows, cell)
        elif rows.any():
            keys = [pairs.arrival[rows], pairs.cohort[rows], pairs.version[rows], codes[rows], cell[rows]]
            keys, sums = tabulate(keys, [] if weight is None else [weight[rows]])
            into.add((keys[0], keys[1], place, *keys[2:]), sums[-1])


def _pairs(into: OpenCounts, place: int, where: tuple[Met, Ints], rows: Mask, cell: int) -> None:
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
    _pairs(into, place, where, rows & pairs.top, TOP_LABELS)


def _reviews(into: OpenCounts, place: int, where: tuple[Reviewed, Ints], rows: Mask) -> None:
    pairs, _ = where
    _pairs(into, place, where, rows & pairs.flagged, REVIEWED)
    _pairs(into, place, where, rows & pairs.flagged & pairs.confirmed, CONFIRMED)
    for level in np.unique(pairs.level[rows]).tolist() if rows.any() else ():
        audited = rows & ~pairs.flagged & pairs.selected & (pairs.level == level)
        _pairs(into, place, where, audited, audit_cell(level, SETTLED))
        _pairs(into, place, where, audited & pairs.confirmed, audit_cell(level, MISSED))
