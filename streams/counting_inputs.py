"""Predictions into cells by what they state and say: what performance is estimated from while no label is there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS, micro_bin
from interlock.detectors.fixed import SCALE
from interlock.detectors.losses import brier, log_loss, within
from interlock.policies.model_parts import POSITIVE as USUAL
from interlock.policies.only_inputs import COLUMNS, NAMED, SCORED, UNPLACED
from interlock.policies.plan import INPUTS_FROM, Kind, Plan, Series
from interlock.streams.classes import Classes
from interlock.streams.counting_bins import Groups, cells_of
from interlock.streams.tally import NO_COHORT, Ints, OpenCounts, tabulate

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stated:
    """n predictions: the probability p int64[n] in units of 1/SCALE, negative without; whether it is the score, bool[n].

    `known`: of the model whose calibration the reference knows; `said`: their classes, if the plan asks for them.
    """

    p: Ints
    scored: Mask
    known: Mask
    said: Classes | None


def count_inputs(into: OpenCounts, series: tuple[int, Series], made: tuple[Stated, Mask, Groups], plan: Plan) -> None:
    """Count those of n predictions, bool[n], whose labels will count in the series at this place."""
    (place, one), (stated, rows, groups) = series, made
    if not rows.any():
        return
    group, bins = groups.group[rows], micro_bin(np.maximum(stated.p[rows], 0) / float(SCALE))
    if one.kind in SCORED:
        keys, sums = _losses(one, stated.p[rows], _signed(plan, stated)[rows], (group, bins))
    else:
        way = _ways(plan, one, stated)[rows]
        column = np.where(way < 0, UNPLACED, 1 + way * BINS + bins)
        cells, counts = cells_of(group * COLUMNS + column, len(groups.keys[0]) * COLUMNS)
        keys, sums = list(np.divmod(cells, COLUMNS)), counts
    pane, version, slices = (key[keys[0]] for key in groups.keys)
    into.add((pane, NO_COHORT, place, version, slices, keys[1] + INPUTS_FROM), sums)


def _signed(plan: Plan, stated: Stated) -> Mask:
    """Return which predictions have a score of the class that the reference takes for the positive one, bool[n]."""
    usual = tuple(plan.policy.labels.positive_values) == USUAL
    return stated.scored & stated.known & usual


def _ways(plan: Plan, series: Series, stated: Stated) -> Ints:
    """Return which way each prediction counts, int64[n]; -1 where what it states tells nothing of the indicator."""
    if stated.said is None:
        raise ValueError(series.key)
    sign = stated.said.positive.astype(np.int64)
    named = series.kind is Kind.ACCURACY and plan.predicted is None
    rest = np.where(stated.known & (stated.p >= 0) & named, NAMED, -1)
    return np.where(_signed(plan, stated) & (sign >= 0), sign, rest)


def _losses(series: Series, p: Ints, signed: Mask, at: tuple[Ints, Ints]) -> tuple[list[Ints], Ints]:
    """Return group and column of each cell, and what it holds: n and both sums of losses per bin, and who has none."""
    if series.span is None:
        raise ValueError(series.key)
    loss, (group, bins), score = brier if series.kind is Kind.BRIER else log_loss, at, p / float(SCALE)
    yes, no = (within(loss(score, np.full(len(p), y)), series.span)[0] for y in (1.0, 0.0))
    column = np.where(signed, 1 + 3 * bins, UNPLACED)
    (groups, columns), sums = tabulate([group, column], [yes, no])
    placed = columns != UNPLACED
    parts = [(groups, columns, sums[0])] + [
        (groups[placed], columns[placed] + what, sums[what][placed]) for what in (1, 2)
    ]
    return [np.concatenate([part[j] for part in parts]) for j in (0, 1)], np.concatenate([part[2] for part in parts])
