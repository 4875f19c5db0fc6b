"""What caused the hits of a pane and slice: how many have which reason, and a few events by name, so that a page can tell."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import Exemplar
from interlock.policies.plan import Kind, Plan, Series
from interlock.streams.batch import Predictions
from interlock.streams.counting import Chunk, Counted
from interlock.streams.names import Names
from interlock.streams.reasons import Reasons
from interlock.streams.scoring import Scorer
from interlock.streams.tally import EXEMPLARS, Ints

Rows = NDArray[np.intp]

EXPLAINED = (Kind.OOD, Kind.UNSEEN, Kind.MISSING, Kind.RANGE, Kind.RIVER)
"""Ratios whose hits have a feature as their cause, and detections of River."""


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
            reasons = Reasons(np.zeros(len(rows), np.intp), [self._plan.series[place].rule])
            found += self._events(place, chunk, ts, (rows, counted.slices[place], reasons))
        return found

    def oddities(self, chunk: Chunk, ts: Ints, counted: Counted) -> list[Exemplar]:
        """Return, of each ratio that a feature can explain, how many hits have which reason, and some of the hits."""
        found = []
        for place, series in self._plan.counted:
            if series.kind is Kind.DRIFT:
                rows, reasons = self._scorer.unfamiliar(chunk.batch, np.flatnonzero(counted.inside[place]))
                if len(rows):
                    found += self._counts(place, chunk, (rows, counted.slices[place], reasons), series.kind)
            if series.kind in EXPLAINED:
                rows, slices = np.flatnonzero(counted.hits[place]), counted.slices[place]
                if len(rows):
                    reasons = self._reasons(series, chunk, rows)
                    found += self._counts(place, chunk, (rows, slices, reasons), series.kind)
                    kept = np.isin(rows, smallest(chunk, slices, rows))
                    some = Reasons(reasons.codes[kept], reasons.texts)
                    found += self._events(place, chunk, ts, (rows[kept], slices, some))
        return found

    def _reasons(self, series: Series, chunk: Chunk, rows: Rows) -> Reasons:
        kind = series.kind
        if series.river is not None:
            return Reasons(np.zeros(len(rows), np.intp), [f"{series.river.name} on {', '.join(series.fields)}"])
        if kind in (Kind.MISSING, Kind.RANGE):
            return self._scorer.failing(chunk.batch, rows, outside=kind is Kind.RANGE)
        if kind is Kind.UNSEEN:
            found, reasons = self._scorer.unfamiliar(chunk.batch, rows)
            _, first = np.unique(found, return_index=True)  # the first feature of each row; rows ascend
            return Reasons(reasons.codes[first], reasons.texts)
        return self._scorer.reasons(chunk.batch, rows)

    def _events(self, place: int, chunk: Chunk, ts: Ints, named: tuple[Rows, Ints, Reasons]) -> list[Exemplar]:
        rows, slices, reasons = named
        batch = chunk.batch
        return [
            Exemplar(
                int(chunk.pane[row]),
                place,
                self._names.values[slices[row]],
                int(batch.ids.h1[row]),
                batch.ids.text(row),
                reasons.texts[code],
                int(ts[row]),
                (batch.model.text(row), batch.version.text(row)),
                at=(int(batch.offset[row]), int(batch.index[row])),
            )
            for row, code in zip(rows.tolist(), reasons.codes.tolist(), strict=True)
        ]

    def _counts(self, place: int, chunk: Chunk, named: tuple[Rows, Ints, Reasons], kind: Kind) -> list[Exemplar]:
        """Return how many of these rows have which reason, per pane, version and slice; every new value is one too."""
        rows, slices, reasons = named
        if kind in (Kind.OOD, Kind.UNSEEN):
            more, new = self._scorer.unfamiliar(chunk.batch, rows)
            reasons = reasons.also(new)
            pairs = np.unique(np.stack([np.concatenate([rows, more]), reasons.codes]), axis=1)
            rows, reasons = pairs[0], Reasons(pairs[1], reasons.texts)
        keys = np.stack([chunk.pane[rows], slices[rows], chunk.version[rows], reasons.codes])
        groups, first, sizes = np.unique(keys, axis=1, return_index=True, return_counts=True)
        said = zip(groups.T.tolist(), rows[first].tolist(), sizes.tolist(), strict=True)
        return [self._count(place, chunk.batch, one, reasons.texts) for one in said]

    def _count(
        self, place: int, batch: Predictions, said: tuple[list[int], int, int], texts: Sequence[str]
    ) -> Exemplar:
        (pane, slice_code, _, code), row, n = said
        version = batch.model.text(row), batch.version.text(row)
        reason = texts[code]
        return Exemplar(pane, place, self._names.values[slice_code], reason_key(reason), "", reason, 0, version, n)


def reason_key(reason: str) -> int:
    """Return what chooses among more reasons than are kept: the same wherever a reason comes up."""
    return int.from_bytes(hashlib.blake2b(reason.encode(), digest_size=8).digest(), "little")


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
