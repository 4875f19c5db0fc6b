"""The bins of what drift watches, learned from the rows of a reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.cycle import DAY, EXPLAINED, WEEK, explained
from interlock.detectors.dispersion import bins_dispersion, hourly_dispersion
from interlock.detectors.drift import BINS, KNOWN, LEAST_ROWS, MISSING, NEW, RARE, SIGMAS, Bins, Hours, normal_scores
from interlock.detectors.surprisal import good_turing_upper
from interlock.streams.drift_bins import OTHERS, DriftStream

BEYOND = 2
"""Rows that may be expected beyond the range of n others: an event leaves either end with probability 1/(n + 1)."""
MOST_NEW = 0.5
SIGNIFICANT = 4
"""Digits of the bounds in a bin's name."""

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fresh = Callable[[Mask], float]
FEW = (
    "{name}: the hour explains {share:.0%} of the variance between hours, but few hours have {rows} rows: drift compares it "
    "with all hours"
)


@dataclass(frozen=True, slots=True)
class Times:
    """When n rows were: their panes int64[n], which tell phi, and their hours since 1970 int64[n], which tell a cycle.

    None where that is not known. `doubts` gathers what people should know.
    """

    pane: Ints | None = None
    hour: Ints | None = None
    doubts: list[str] = field(default_factory=list)


UNKNOWN = Times()


def number_stream(name: str, values: NDArray[np.float64], times: Times = UNKNOWN) -> DriftStream:
    """Return the bins of a number: at most 16 of about equal mass, fewer where values are tied.

    `values` float64[n], NaN where there is none, at least one of them finite.
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
    new = _beyond(values)
    centres = tuple((ends[:-1] / 2 + ends[1:] / 2).tolist())
    bins = Bins(name, tuple(labels), (0,) * len(labels), True, new, centres=centres)
    bare = DriftStream(bins, tuple(edges.tolist()), (low, high))
    codes = bare.of_numbers(values)
    return _by_hour(_counted(bare, codes, times), codes, times, lambda rows: _beyond(values[rows]))


def _beyond(values: NDArray[np.float64]) -> float:
    """Return a bound on how often an event leaves the range of values like these."""
    beyond = BEYOND + int(np.isinf(values).sum())
    return min(MOST_NEW, float(beyond + SIGMAS * np.sqrt(beyond)) / (len(values) + 1))


def category_stream(name: str, codes: NDArray[np.int32], known: Sequence[str], times: Times = UNKNOWN) -> DriftStream:
    """Return the bins of a category: its most frequent values, then the rest; `codes` int32[n] of `known`, -1 missing.

    A value with fewer than 25 rows has no bin of its own: how frequent it is, is not known.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(known))
    frequent = int((counts >= RARE).sum())
    whole = frequent == len(known) <= BINS - KNOWN
    own = tuple(known[: min(frequent, BINS - KNOWN - (not whole))])
    labels = ("missing", "unseen codes", *own, *(() if whole else (OTHERS,)))
    new = good_turing_upper(np.append(counts, (codes < 0).sum()))
    bare = DriftStream(Bins(name, labels, (0,) * len(labels), False, float(min(new, MOST_NEW))), values=own)
    bins, often = bare.of_vocabulary(known)[codes], np.append(counts, int((codes < 0).sum()))  # code -1 reads the last
    return _by_hour(_counted(bare, bins, times), bins, times, lambda rows: _never_seen(often[codes[rows]]))


def _never_seen(often: Ints) -> float:
    """Return a bound on how often an event of an hour brings a value that no hour had; `often` int64[n]: its values' counts.

    Good–Turing by leaving one out: a row whose value was seen once, in all hours, would have been new.
    """
    single, double = int((often == 1).sum()), -(-int((often == 2).sum()) // 2)  # noqa: PLR2004 - N2 of the formula
    rest = max(len(often) - single - 2 * double, 0)
    return min(MOST_NEW, good_turing_upper(np.array([1] * single + [2] * double + [rest])))


def _counted(stream: DriftStream, codes: Codes, times: Times) -> DriftStream:
    """Return the stream with the counts of its bins and their dispersion over panes."""
    width = len(stream.bins.labels)
    counts = np.bincount(codes, minlength=width)
    bins = replace(stream.bins, counts=tuple(counts.tolist()))
    if times.pane is not None:
        bins = replace(bins, phi=bins_dispersion(_table(times.pane, codes, width), _waves(bins)))
    return replace(stream, bins=bins)


def _by_hour(stream: DriftStream, codes: Codes, times: Times, new: Fresh) -> DriftStream:
    """Return the stream with references of each hour, if a cycle explains enough; `new` bounds NEW of some rows."""
    if times.hour is None:
        return stream
    bins, width = stream.bins, len(stream.bins.labels)
    hour, place = np.unique(times.hour, return_inverse=True)
    shares = explained(_table(place.astype(np.int64), codes, width), hour, _waves(bins))
    for cycle in (cycle for cycle in (WEEK, DAY) if shares[cycle] > EXPLAINED):
        counts = _table(times.hour % cycle, codes, width, cycle)
        rows = counts.sum(axis=1)
        if rows[rows >= LEAST_ROWS].sum() * 2 >= len(codes):
            share = shares[DAY] + (shares[WEEK] if cycle == WEEK else 0.0)
            fresh = tuple(new(times.hour % cycle == c) if rows[c] else MOST_NEW for c in range(cycle))
            hours = Hours(tuple(map(tuple, counts.tolist())), fresh, _phi(bins, counts, codes, times), share)
            return replace(stream, bins=replace(bins, hours=hours))
    if max(shares.values()) > EXPLAINED:
        times.doubts.append(FEW.format(name=bins.name, share=max(shares.values()), rows=LEAST_ROWS))
    return stream


def _phi(bins: Bins, by_hour: Ints, codes: Codes, times: Times) -> float:
    """Return the dispersion that the hours do not explain."""
    if times.pane is None or times.hour is None:
        return bins.phi
    cycle, width = by_hour.shape
    seen = _table(times.pane, times.hour % cycle, cycle)
    return hourly_dispersion(_table(times.pane, codes, width), seen, by_hour, _waves(bins))


def _table(row: Ints, column: Codes | Ints, width: int, rows: int = 0) -> Ints:
    """Return how many there are of each (row, column), int64[R, width], R at least `rows`."""
    least = max(rows, int(row.max()) + 1) * width
    return np.bincount(row * width + column, minlength=least).reshape(-1, width).astype(np.int64)


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
