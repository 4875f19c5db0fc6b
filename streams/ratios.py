"""What the ratios of predictions count: of a chunk's events, which are observations, which are hits, which are neither."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import MISSING, NULL, STRING, Column
from interlock.policies.expressions import TRUE, UNDECIDED
from interlock.policies.plan import Kind, Series
from interlock.streams.batch import Predictions
from interlock.streams.scoring import Scores

Mask = NDArray[np.bool_]

KINDS = (Kind.OOD, Kind.UNSEEN, Kind.ABSTENTION, Kind.MISSING, Kind.RANGE, Kind.RATIO)
"""Kinds of series that count N and HIT of predictions."""

ABSTAIN = "abstain"
"""What a prediction or a decision says to answer nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of n predictions, bool[n]: counted at all, hits among those, and those that could not be decided."""

    counted: Mask
    hits: Mask
    undecided: Mask


def counts(series: Series, batch: Predictions, scores: Scores, where: NDArray[np.int8]) -> Counts:
    """Return what a ratio counts; `where` int8[n] says whether the series' filter holds."""
    inside, unknown = where == TRUE, where == UNDECIDED
    match series.kind:
        case Kind.OOD:
            return Counts(inside & scores.scored, scores.flagged, unknown)
        case Kind.UNSEEN:
            return Counts(inside & scores.told, scores.unseen, unknown)
        case Kind.MISSING:
            return Counts(inside & scores.compared, scores.missing, unknown)
        case Kind.RANGE:
            return Counts(inside & scores.ranged, scores.outside, unknown)
        case Kind.ABSTENTION:
            return Counts(inside, abstained(batch), unknown)
        case _:
            return _good(series, batch, inside, unknown)


def _good(series: Series, batch: Predictions, inside: Mask, unknown: Mask) -> Counts:
    if series.good is None:
        raise ValueError(series.key)
    good = series.good.evaluate(batch.columns, batch.rows())
    return Counts(inside & (good != UNDECIDED), good == TRUE, unknown | (inside & (good == UNDECIDED)))


def abstained(batch: Predictions) -> Mask:
    """Return which events have no answer: `abstain` as prediction or decision, or no answer of any kind."""
    silent = np.isnan(batch.score) & np.isnan(batch.top_probability)
    declared = np.zeros(batch.rows(), np.bool_)
    for path in ("prediction", "decision"):
        column = batch.columns.get(path)
        if column is not None:
            silent &= (column.kind == MISSING) | (column.kind == NULL)
            declared |= _is_text(column, ABSTAIN)
    return silent | declared


def _is_text(column: Column, text: str) -> Mask:
    string = column.kind == STRING
    same = np.array([value == text for value in column.texts] or [False])
    found: Mask = string & same[np.where(string, column.text, 0)]
    return found
