"""What the means count: of a number that predictions carry, or of the losses that labels decide; and scores by label."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from interlock.columns import NUMBER, Column
from interlock.detectors.fixed import SCALE
from interlock.detectors.losses import brier, log_loss, loss_bin, within
from interlock.policies.expressions import TRUE
from interlock.policies.expressions import UNDECIDED as UNKNOWN
from interlock.policies.plan import BINS_FROM, CLIPPED, DUE, ERRORS, FOUND, UNDECIDED, Kind, Series
from interlock.streams.ratios_labelled import Due
from interlock.streams.tally import Ints

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

UNSTATED = -1
"""Stands for a probability that an event does not state."""

Cells = Iterator[tuple[Mask, Ints | int, Ints | None]]
"""Rows that are counted, the cell of each of them (or of all), and what they add to it beside 1; None: they add 1."""


def numbers(column: Column | None, rows: int) -> Floats:
    """Return the numbers of a column, float64[n]; NaN where there is no number: nothing, a text, true, null."""
    if column is None:
        return np.full(rows, np.nan)
    return np.where((column.kind == NUMBER) & np.isfinite(column.number), column.number, np.nan)


def fixed(p: Floats) -> Ints:
    """Return probabilities in units of 1/SCALE, UNSTATED where there is none: int64[n]."""
    known = ~np.isnan(p)
    return np.where(known, np.round(np.where(known, p, 0.0) * SCALE), UNSTATED).astype(np.int64)


def stated(series: Series, columns: Mapping[str, Column], p: Ints) -> Ints:
    """Return the probability that a series judges: of the class that it names, else `p`; UNSTATED where there is none."""
    return fixed(numbers(columns.get(series.stated), len(p))) if series.stated else p


def known(series: Series, columns: Mapping[str, Column], p: Ints) -> Mask:
    """Return which predictions say what a loss, or an AUROC, is of, bool[n]."""
    if series.kind in ERRORS:
        there: Mask = ~np.isnan(numbers(columns.get("prediction"), len(p)))
        return there
    probable: Mask = stated(series, columns, p) != UNSTATED
    return probable


def due(said: Mask, where: NDArray[np.int8]) -> Due:
    """Return which predictions are due a label: those that say what is judged, bool[n] as `where` and `said`."""
    inside = where == TRUE
    return Due(inside & said, {DUE: inside & said, UNDECIDED: (where == UNKNOWN) | (inside & ~said)})


def of_field(series: Series, columns: Mapping[str, Column], where: NDArray[np.int8]) -> Cells:
    """Yield what a mean of a field counts."""
    values, inside = numbers(columns.get(series.field), len(where)), where == TRUE
    there = ~np.isnan(values)
    yield (where == UNKNOWN) | (inside & ~there), UNDECIDED, None
    yield from _binned(series, values, inside & there)


def of_losses(series: Series, said: Floats, meant: Floats) -> Cells:
    """Yield what a mean of losses counts of m joined pairs: `said` a probability or a number, `meant` 0, 1 or a number."""
    found = ~np.isnan(said) & ~np.isnan(meant)
    yield found, FOUND, None
    yield ~found, UNDECIDED, None
    yield from _binned(series, _loss(series.kind, said, meant), found)


def of_scores(said: Floats, meant: Floats) -> Cells:
    """Yield what an AUROC counts of m joined pairs: their scores in bins, and the positives among them."""
    found = ~np.isnan(said) & ~np.isnan(meant)
    yield found, FOUND, None
    yield ~found, UNDECIDED, None
    place = BINS_FROM + 2 * loss_bin(fixed(np.where(found, said, 0.0)))
    yield found, place, None
    yield found & (meant == 1), place + 1, None


def _loss(kind: Kind, said: Floats, meant: Floats) -> Floats:
    if kind is Kind.BRIER:
        return brier(said, meant)
    if kind is Kind.LOG_LOSS:
        return log_loss(said, meant)
    with np.errstate(over="ignore"):  # an error beyond all doubles counts as the cap
        error = np.abs(said - meant)
        return error if kind is Kind.MAE else error * error


def _binned(series: Series, values: Floats, rows: Mask) -> Cells:
    if series.span is None:
        raise ValueError(series.key)
    share, clipped = within(np.where(rows, values, series.span[0]), series.span)
    place = BINS_FROM + 2 * loss_bin(share)
    yield rows & clipped, CLIPPED, None
    yield rows, place, None
    yield rows, place + 1, share
