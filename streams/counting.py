"""Events into counts: which cells of which series a chunk of predictions, or of joined pairs, adds to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import among
from interlock.policies.expressions import FALSE, TRUE
from interlock.policies.only_inputs import has_inputs
from interlock.policies.plan import (
    AUDITABLE,
    DECIDED,
    DECISIONS,
    FLAGGED,
    HIT,
    LABELLED,
    LABELLED_RATIOS,
    LOSSES,
    SELECTED,
    UNDECIDABLE,
    UNDECIDED,
    VIOLATION,
    Kind,
    N,
    Plan,
    Series,
    audit_cell,
)
from interlock.streams import means, ratios, ratios_labelled
from interlock.streams.batch import Predictions
from interlock.streams.classes import Classes
from interlock.streams.counting_bins import Groups, add_bins
from interlock.streams.counting_inputs import Stated, count_inputs
from interlock.streams.means import stated
from interlock.streams.names import Names, slice_codes
from interlock.streams.river import Rivers
from interlock.streams.scoring import Scores
from interlock.streams.tally import NO_COHORT, Ints, OpenCounts, grouped, tabulate

Mask = NDArray[np.bool_]

FIXED = 1 << 32
"""Unit of sums of probabilities: integers, so that they add up to the same bits in any order (DESIGN.md, law 1)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """n fresh predictions with what was found out about them; `pane`, `version` int64[n] are panes and codes.

    `classes`: what they say, `bins`: where the streams of drift fall, uint8[F, n]; each if the plan asks.
    """

    batch: Predictions
    scores: Scores
    pane: Ints
    version: Ints
    late: Mask
    p: Ints
    classes: Classes | None = None
    bins: NDArray[np.uint8] | None = None

    def rows(self) -> int:
        """Return n."""
        return len(self.pane)


def probabilities(batch: Predictions) -> Ints:
    """Return the probability that calibration judges, in units of 1/FIXED, -1 where there is none: int64[n].

    The score; for an event without one, the probability of its top class.
    """
    return means.fixed(np.where(np.isnan(batch.score), batch.top_probability, batch.score))


@dataclass(frozen=True, slots=True)
class Counted:
    """Per series: which of n rows it counts, their slice codes int64[n], for ratios the hits, for rules the violations."""

    inside: dict[int, Mask]
    slices: dict[int, Ints]
    hits: dict[int, Mask]
    violations: dict[int, Mask]


class Counter:
    """Counts chunks into one shard's open panes by a plan."""

    def __init__(self, plan: Plan, levels: int, names: Names, *, inputs: bool = False) -> None:
        """Count for `plan`, with `levels` audit levels; slices get their codes from `names`.

        `inputs`: also what performance is estimated from, which only a reference that knows calibration can read.
        """
        self._plan, self._levels, self._names, self._inputs = plan, levels, names, inputs
        self.rivers = Rivers(plan)

    def predictions(self, chunk: Chunk, into: OpenCounts) -> Counted:
        """Count a chunk of predictions."""
        counted = Counted({}, {}, {}, {})
        groups: dict[tuple[str, ...], Groups] = {}
        for place, series in self._plan.counted:
            if series.by not in groups:
                slices = slice_codes(chunk.batch.columns, series.by, chunk.rows(), self._names)
                groups[series.by] = Groups(slices, *grouped([chunk.pane, chunk.version, slices]))
            where = self._where(series, chunk)
            counted.slices[place] = groups[series.by].slices
            at = (chunk, groups[series.by])
            if series.kind in (*ratios.KINDS, Kind.RIVER):
                self._ratio(into, place, at, self._hits(place, at, where), counted)
                continue
            if series.kind in (*LABELLED_RATIOS, *LOSSES, Kind.AUROC):
                self._due(into, place, at, where, counted)
                continue
            if series.kind is Kind.MEAN:
                counted.inside[place] = where == TRUE
                self._mean(into, place, at, where)
                continue
            counted.inside[place] = self._counts(series, chunk, where == TRUE)
            if series.kind is Kind.NEVER:
                counted.violations[place] = self._never(into, place, at, where)
            elif series.where is not None:
                self._count(into, place, at, (where != TRUE) & (where != FALSE), UNDECIDED)
            self._series(into, place, at, counted.inside[place])
        return counted

    def _hits(self, place: int, at: tuple[Chunk, Groups], where: NDArray[np.int8]) -> ratios.Counts:
        series, (chunk, groups) = self._plan.series[place], at
        if series.kind is Kind.RIVER:
            return self.rivers.counts(place, chunk.batch, where, (chunk.version, groups.slices))
        return ratios.counts(series, chunk.batch, chunk.scores, where)

    def _ratio(
        self, into: OpenCounts, place: int, at: tuple[Chunk, Groups], found: ratios.Counts, counted: Counted
    ) -> None:
        counted.inside[place], counted.hits[place] = found.counted, found.counted & found.hits
        for rows, cell in ((found.counted, N), (counted.hits[place], HIT), (found.undecided, UNDECIDED)):
            self._count(into, place, at, rows, cell)

    def _due(
        self, into: OpenCounts, place: int, at: tuple[Chunk, Groups], where: NDArray[np.int8], counted: Counted
    ) -> None:
        chunk, series = at[0], self._plan.series[place]
        if series.kind in LABELLED_RATIOS:
            due = ratios_labelled.due(self._plan, series, chunk.classes, where)
        else:
            due = means.due(means.known(series, chunk.batch.columns, chunk.p), where)
        counted.inside[place] = due.counted
        for cell, rows in due.cells.items():
            self._count(into, place, at, rows, cell)
        if self._inputs and has_inputs(series):
            scored = ~np.isnan(chunk.batch.score)
            stated = Stated(chunk.p, scored, chunk.scores.compared, chunk.classes)
            count_inputs(into, (place, series), (stated, due.counted, at[1]), self._plan)

    def _mean(self, into: OpenCounts, place: int, at: tuple[Chunk, Groups], where: NDArray[np.int8]) -> None:
        chunk, groups = at
        for rows, cell, weight in means.of_field(self._plan.series[place], chunk.batch.columns, where):
            if isinstance(cell, int):
                self._count(into, place, at, rows, cell)
            elif rows.any():
                (group, cells), sums = tabulate(
                    [groups.group[rows], cell[rows]], [] if weight is None else [weight[rows]]
                )
                pane, version, slices = (key[group] for key in groups.keys)
                into.add((pane, NO_COHORT, place, version, slices, cells), sums[-1])

    def _where(self, series: Series, chunk: Chunk) -> NDArray[np.int8]:
        if series.where is None:
            where = np.full(chunk.rows(), TRUE, np.int8)
        else:
            where = series.where.evaluate(chunk.batch.columns, chunk.rows())
        if series.kind in LABELLED and series.kind is not Kind.RECALL:  # whose labels are due, audits decide
            where = np.where(chunk.scores.labelled, where, np.int8(FALSE))
        if not series.variant:
            return where
        ours = among(chunk.batch.columns["variant"], (series.variant,))
        return np.where(ours, where, np.int8(FALSE)).astype(np.int8)

    def _counts(self, series: Series, chunk: Chunk, where: Mask) -> Mask:
        """Return which rows the series counts."""
        if series.kind is Kind.RECALL:
            return where & chunk.scores.scored
        if series.kind is Kind.DRIFT:
            return where & chunk.scores.compared & (chunk.bins is not None)
        if series.kind is Kind.ECE:
            where = where & (stated(series, chunk.batch.columns, chunk.p) >= 0)
            if series.high_impact:
                where = where & among(chunk.batch.columns["decision"], self._plan.policy.high_impact)
        return where

    def _series(self, into: OpenCounts, place: int, where: tuple[Chunk, Groups], counts: Mask) -> None:
        chunk, _ = where
        kind = self._plan.series[place].kind
        if kind is Kind.DRIFT:
            self._count(into, place, where, counts, N)
            add_bins(into, place, (chunk.bins, counts), where[1])
        elif kind is Kind.EVENTS:
            self._count(into, place, where, counts, N)
            self._count(into, place, where, counts & chunk.late, HIT)
        elif kind is Kind.ABUSE:
            self._count(into, place, where, counts, N)
        elif kind is Kind.ECE:
            self._count(into, place, where, counts, DECISIONS)
        elif kind is Kind.RECALL:
            self._recall(into, place, where, counts)

    def _recall(self, into: OpenCounts, place: int, where: tuple[Chunk, Groups], counts: Mask) -> None:
        scores = where[0].scores
        self._count(into, place, where, counts & scores.flagged, FLAGGED)
        for level in range(self._levels):
            here = counts & ~scores.flagged & (scores.level == level)
            self._count(into, place, where, here, audit_cell(level, AUDITABLE))
            self._count(into, place, where, here & scores.selected, audit_cell(level, SELECTED))

    def _never(self, into: OpenCounts, place: int, where: tuple[Chunk, Groups], inside: NDArray[np.int8]) -> Mask:
        state = _never_states(self._plan.series[place], where[0], inside)
        for cell in (VIOLATION, DECIDED, UNDECIDABLE):
            self._count(into, place, where, state == cell, cell)
        broken: Mask = state == VIOLATION
        return broken

    @staticmethod
    def _count(into: OpenCounts, place: int, where: tuple[Chunk, Groups], rows: Mask, cell: int) -> None:
        if not rows.any():
            return
        counts = np.bincount(where[1].group[rows])
        some = np.flatnonzero(counts)
        pane, version, slices = (key[some] for key in where[1].keys)
        into.add((pane, NO_COHORT, place, version, slices, cell), counts[some])


def _never_states(series: Series, chunk: Chunk, inside: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return VIOLATION, DECIDED or UNDECIDABLE per row, -1 outside the rule: `where && when`, errors absorbed."""
    if series.when is None:
        raise ValueError(series.rule)
    when = series.when.evaluate(chunk.batch.columns, chunk.rows())
    state = np.full(chunk.rows(), UNDECIDABLE, np.int8)
    state[when == FALSE] = DECIDED
    state[(when == TRUE) & (inside == TRUE)] = VIOLATION
    state[inside == FALSE] = -1
    return state
