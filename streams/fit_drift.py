"""The bins of what drift watches, learned from the rows of a reference."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.dispersion import bins_dispersion
from interlock.detectors.drift import BINS, KNOWN, MISSING, NEW, RARE, SIGMAS, Bins, normal_scores
from interlock.detectors.surprisal import good_turing_upper
from interlock.streams.drift_bins import OTHERS, DriftStream

BEYOND = 2
"""Rows that may be expected beyond the range of n others: an event leaves either end with probability 1/(n + 1)."""
SIGNIFICANT = 4
"""Digits of the bounds in a bin's name."""

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]


def number_stream(name: str, values: NDArray[np.float64], pane: Ints | None) -> DriftStream:
    """Return the bins of a number: at most 16 of about equal mass, fewer where values are tied.

    `values` float64[n], NaN where there is none, at least one of them finite; `pane` int64[n] tells phi.
    """
    finite = np.sort(values[np.isfinite(values)])
    known = BINS - KNOWN
    places = len(finite) * np.arange(1, known) // known
    cuts = np.unique(finite[places])
    edges = cuts[cuts < finite[-1]]
    low, high = float(finite[0]), float(finite[-1])
    ends = np.concatenate([[low], edges, [high]])
    labels = ["missing", f"outside {_text(low)}-{_text(high)}"]
    labels += [f"bin {i + 1}: {_text(a)}-{_text(b)}" for i, (a, b) in enumerate(pairwise(ends))]
    beyond = BEYOND + int(np.isinf(values).sum())
    new = min(0.5, float(beyond + SIGMAS * np.sqrt(beyond)) / (len(values) + 1))
    centres = tuple((ends[:-1] / 2 + ends[1:] / 2).tolist())
    bins = Bins(name, tuple(labels), (0,) * len(labels), True, new, centres=centres)
    bare = DriftStream(bins, tuple(edges.tolist()), (low, high))
    return _counted(bare, bare.of_numbers(values), pane)


def category_stream(name: str, codes: NDArray[np.int32], known: Sequence[str], pane: Ints | None) -> DriftStream:
    """Return the bins of a category: its most frequent values, then the rest; `codes` int32[n] of `known`, -1 missing.

    A value with fewer than 25 rows has no bin of its own: how frequent it is, is not known.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(known))
    frequent = int((counts >= RARE).sum())
    whole = frequent == len(known) <= BINS - KNOWN
    own = tuple(known[: min(frequent, BINS - KNOWN - (not whole))])
    labels = ("missing", "unseen codes", *own, *(() if whole else (OTHERS,)))
    new = good_turing_upper(np.append(counts, (codes < 0).sum()))
    bare = DriftStream(Bins(name, labels, (0,) * len(labels), False, float(min(new, 0.5))), values=own)
    return _counted(bare, bare.of_vocabulary(known)[codes], pane)


def _counted(stream: DriftStream, codes: Codes, pane: Ints | None) -> DriftStream:
    """Return the stream with the counts of its bins and their dispersion over panes."""
    width = len(stream.bins.labels)
    counts = np.bincount(codes, minlength=width)
    bins = replace(stream.bins, counts=tuple(counts.tolist()))
    if pane is not None:
        table = np.bincount(pane * width + codes, minlength=(int(pane.max()) + 1) * width).reshape(-1, width)
        bins = replace(bins, phi=bins_dispersion(table, _waves(bins)))
    return replace(stream, bins=bins)


def _waves(bins: Bins) -> NDArray[np.float64]:
    """Return the scores of a shift and of a change in scale, float64[2, K]; none of a category."""
    if not bins.ordered or len(bins.labels) <= KNOWN + 1:
        return np.zeros((0, len(bins.labels)))
    z = normal_scores(bins.shares)
    scores = np.zeros((2, len(bins.labels)))
    scores[:, KNOWN:] = z.mean(axis=1), (z * z).mean(axis=1) - 1
    scores[1, [MISSING, NEW]] = 0.0
    return scores


def _text(value: float) -> str:
    return f"{value:.{SIGNIFICANT}g}"
