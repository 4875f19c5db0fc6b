"""Bins of drift into cells: every stream of every event of a chunk, by pane, version and slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.drift import BINS
from interlock.policies.plan import BINS_FROM
from interlock.streams.tally import NO_COHORT, Ints, OpenCounts

Codes = NDArray[np.uint8]
DENSE = 1 << 22
"""Cells that may be counted in one array; more are sorted."""


@dataclass(frozen=True, slots=True)
class Groups:
    """n rows by pane, version and slice: slice codes int64[n], the distinct keys of groups, each row's group int64[n].

    Found once per chunk and split: to count a cell is then to count its rows by group.
    """

    slices: Ints
    keys: Sequence[Ints]
    group: Ints


def add_bins(into: OpenCounts, place: int, found: tuple[Codes | None, NDArray[np.bool_]], groups: Groups) -> None:
    """Count the bins uint8[F, n] of the rows that a series counts, bool[n]; no bins, no counts."""
    codes, rows = found
    if codes is None or not rows.any():
        return
    width = len(codes) * BINS
    group = groups.group
    if not rows.all():
        group, codes = group[rows], codes[:, rows]
    packed = np.arange(len(codes), dtype=np.int64)[:, None] * BINS + group * width
    packed += codes
    cells, counts = cells_of(packed.reshape(-1), len(groups.keys[0]) * width)
    of, cell = np.divmod(cells, width)
    pane, version, slices = (key[of] for key in groups.keys)
    into.add((pane, NO_COHORT, place, version, slices, cell + BINS_FROM), counts)


def cells_of(packed: Ints, span: int) -> tuple[Ints, Ints]:
    """Return the distinct cells and how often each came."""
    if span > DENSE:
        found, times = np.unique(packed, return_counts=True)
        return found, times
    counts = np.bincount(packed, minlength=span)
    cells = np.flatnonzero(counts)
    return cells, counts[cells]
