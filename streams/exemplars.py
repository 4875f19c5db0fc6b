"""Causing events by name: a few per pane and slice, chosen by keyed hash, so that a page can say what it was."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import Exemplar
from interlock.policies.plan import Kind, Plan
from interlock.streams.counting import Chunk, Counted
from interlock.streams.names import Names
from interlock.streams.scoring import Scorer
from interlock.streams.tally import EXEMPLARS, Ints

Rows = NDArray[np.intp]

EXPLAINED = (Kind.OOD, Kind.UNSEEN, Kind.MISSING, Kind.RANGE)
"""Ratios whose hits have a feature as their cause."""


class Explainer:
    """Names causing events of a shard's chunks."""

    def __init__(self, plan: Plan, scorer: Scorer, names: Names) -> None:
        """Explain the series of `plan`: reasons come from the scorer, slices from `names`."""
        self._plan, self._scorer, self._names = plan, scorer, names

    def violations(self, chunk: Chunk, ts: Ints, counted: Counted) -> list[Exemplar]:
        """Return every never-event violation, by the rule that it broke."""
        found = []
        for place, mask in counted.violations.items():
            rows = np.flatnonzero(mask)
            rule = self._plan.series[place].rule
            found += self._exemplars(place, chunk, ts, (rows, counted.slices[place], [rule] * len(rows)))
        return found

    def oddities(self, chunk: Chunk, ts: Ints, counted: Counted) -> list[Exemplar]:
        """Return some hits of each ratio that a feature can explain, with that feature."""
        found = []
        for place, series in enumerate(self._plan.series):
            if series.kind in EXPLAINED:
                rows = smallest(chunk, counted.slices[place], np.flatnonzero(counted.hits[place]))
                reasons = self._reasons(series.kind, chunk, rows)
                found += self._exemplars(place, chunk, ts, (rows, counted.slices[place], reasons))
        return found

    def _reasons(self, kind: Kind, chunk: Chunk, rows: Rows) -> list[str]:
        if kind in (Kind.MISSING, Kind.RANGE):
            return self._scorer.failing(chunk.batch, rows, outside=kind is Kind.RANGE)
        return self._scorer.reasons(chunk.batch, rows)

    def _exemplars(self, place: int, chunk: Chunk, ts: Ints, named: tuple[Rows, Ints, Sequence[str]]) -> list[Exemplar]:
        rows, slices, reasons = named
        batch = chunk.batch
        return [
            Exemplar(
                int(chunk.pane[row]),
                place,
                self._names.values[slices[row]],
                int(batch.ids.h1[row]),
                batch.ids.text(row),
                reason,
                int(ts[row]),
                (batch.model.text(row), batch.version.text(row)),
            )
            for row, reason in zip(rows.tolist(), reasons, strict=True)
        ]


def smallest(chunk: Chunk, slices: Ints, rows: Rows) -> Rows:
    """Keep the EXEMPLARS rows of smallest key per pane, version and slice."""
    groups = (chunk.batch.ids.h1[rows], slices[rows], chunk.version[rows], chunk.pane[rows])
    order = rows[np.lexsort(groups)]
    same = np.ones(len(order), np.bool_)
    for values in (slices, chunk.version, chunk.pane):
        same[1:] &= values[order][1:] == values[order][:-1]
    same[:1] = False
    starts = np.flatnonzero(~same)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    kept: Rows = order[rank < EXEMPLARS]
    return kept
