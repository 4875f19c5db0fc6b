"""How much more each indicator varies between panes of the reference than independent events would."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.dispersion import ece_dispersion, proportion_dispersion
from interlock.detectors.ece import BINS, micro_bin
from interlock.streams.counting import FIXED
from interlock.streams.fit_rows import Rows
from interlock.streams.labels import NO_CLASS

PANES = tuple(minutes * 60_000 for minutes in (10, 30, 60, 180, 360, 720, 1440))
PANE_EVENTS = 50
"""Median events of the pane that dispersion is estimated on: thinner ones say little."""

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Marks:
    """Of n rows, bool[n]: flagged by the reference's own scorer, by indicator, without some feature, held out.

    Of those held out: `new`, with a value that no other row has; `outside`, with a number beyond those of all other rows.
    """

    flagged: Mapping[str, Mask]
    missing: Mask
    held: Mask
    new: Mask
    outside: Mask


def dispersions(rows: Rows, marks: Marks, groups: Ints) -> dict[str, float]:
    """Return φ per indicator, from panes wide enough to hold 50 events in the median; empty if none is."""
    pane = panes(rows.ts)
    if pane is None:
        return {}
    last = int(pane.max()) + 1
    n = np.bincount(pane, minlength=last)
    found = {
        name: proportion_dispersion(np.bincount(pane[flagged], minlength=last), n)
        for name, flagged in marks.flagged.items()
    }
    found |= {
        "unseen_rate": proportion_dispersion(
            np.bincount(pane[marks.new], minlength=last), np.bincount(pane[marks.held], minlength=last)
        ),
    }
    for name, (counted, hits) in {**_made(rows, marks), **_labelled(rows)}.items():
        if (counted & hits).any():
            here = (np.bincount(pane[mask], minlength=last) for mask in (counted & hits, counted))
            found[name] = proportion_dispersion(*here)
    due = (rows.y >= 0) & (rows.p >= 0)
    if due.any():
        cell = pane[due] * BINS + micro_bin(rows.p[due] / float(FIXED))
        seen, positive = (np.bincount(c, minlength=last * BINS) for c in (cell, cell[rows.y[due] == 1]))
        found["decision_ece"] = ece_dispersion(seen.reshape(last, BINS), positive.reshape(last, BINS), groups)
    return found


def _made(rows: Rows, marks: Marks) -> dict[str, tuple[Mask, Mask]]:
    """Return what the ratios of predictions count, and their hits."""
    every = np.ones(len(rows.ts), np.bool_)
    return {
        "missing_rate": (every, marks.missing),
        "range_violations": (marks.held, marks.outside),
        "abstention_rate": (every, rows.abstained),
    }


def _labelled(rows: Rows) -> dict[str, tuple[Mask, Mask]]:
    """Return what the ratios of labels count, and their hits, as `streams/ratios_labelled.py` has them."""
    said, meant = rows.said, rows.meant
    named = (said.name != NO_CLASS) & (meant.name != NO_CLASS)
    known = (said.positive >= 0) & (meant.positive >= 0)
    says, means = known & (said.positive == 1), known & (meant.positive == 1)
    return {
        "accuracy": (named, named & (said.name == meant.name)),
        "precision": (says, means),
        "recall": (means, says),
        "false_positive_rate": (known & ~means, says),
        "false_negative_rate": (means, ~says),
    }


def panes(ts: Ints) -> Ints | None:
    """Return the pane of each row, numbered without gaps: the narrowest with 50 events in the median pane."""
    for width in PANES:
        _, pane, counts = np.unique(ts // width, return_inverse=True, return_counts=True)
        if len(counts) > 1 and np.median(counts) >= PANE_EVENTS:
            return pane.astype(np.int64)
    return None
