"""Counts of open panes, and the records in which closed ones leave a shard (STREAM.md §3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import NOWHERE, Exemplar
from interlock.streams.names import distinct

Ints = NDArray[np.int64]

PANE, COHORT, SERIES, VERSION, SLICE, CELL, COUNT = range(7)
"""Rows of a table of counts, int64[7, n]. COHORT is -1 where a count has no cohort."""

NO_COHORT = -1
EXEMPLARS, REASONS = 8, 128
"""Causing events, and reasons with their counts, kept per pane, series, version and slice: what a verdict can tell."""
LOOSE = 4096
"""Exemplars that may lie about before they are merged; no effect on results."""

PREDICTIONS, JOINED, ABUSE = "predictions", "joined", "abuse"
CHAINS = (PREDICTIONS, JOINED, ABUSE)


@dataclass(frozen=True, slots=True)
class TallyRecord:
    """Panes `(after, through]` of one chain of one shard: `counts` int64[7, n], codes of versions and slices in it."""

    shard: int
    chain: str
    after: int
    through: int
    counts: Ints
    versions: tuple[tuple[str, str], ...] = ()
    slices: tuple[str, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()


def tabulate(keys: Sequence[Ints], weights: Sequence[Ints] = ()) -> tuple[list[Ints], list[Ints]]:
    """Return the distinct rows of `keys` and, for each, the count of rows followed by the sums of `weights`.

    Sums are exact: int64 throughout.
    """
    rows, group = grouped(keys)
    sums = [np.bincount(group, minlength=len(rows[0]))]
    for weight in weights:
        total = np.zeros(len(rows[0]), np.int64)
        np.add.at(total, group, weight)
        sums.append(total)
    return rows, sums


def grouped(keys: Sequence[Ints]) -> tuple[list[Ints], Ints]:
    """Return the distinct rows of `keys`, in order, and which of them each row is: int64[n]. At least one row.

    Keys are packed into one integer.
    """
    lows = [int(k.min()) for k in keys]
    spans = [int(k.max()) - low + 1 for k, low in zip(keys, lows, strict=True)]
    total = math.prod(spans)
    if total >= 1 << 62:
        rows, group = np.unique(np.stack(keys), axis=1, return_inverse=True)
        return list(rows), group.reshape(-1)
    packed = np.zeros(len(keys[0]), np.int64)
    for key, low, span in zip(keys, lows, spans, strict=True):
        packed = packed * span + (key - low)
    packed, group = distinct(packed, total)
    columns = []
    for low, span in zip(reversed(lows), reversed(spans), strict=True):
        packed, code = np.divmod(packed, span)
        columns.append(code + low)
    return columns[::-1], group


@dataclass(slots=True)
class OpenCounts:
    """Counts of one chain's open panes."""

    parts: list[Ints] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)
    _room: int = LOOSE

    def add(self, keys: Sequence[Ints | int], counts: Ints) -> None:
        """Add counts under pane, cohort, series, version, slice and cell (scalars spread)."""
        part = np.empty((7, len(counts)), np.int64)
        for row, key in enumerate(keys):
            part[row] = key
        part[COUNT] = counts
        self.parts.append(part)
        if len(self.parts) > 512:  # noqa: PLR2004 - bounds memory between closings; no effect on results
            self.parts = [self.merged()]

    def subtract(self, other: "OpenCounts") -> None:
        """Take other counts away."""
        for part in other.parts:
            taken = part.copy()
            taken[COUNT] *= -1
            self.parts.append(taken)

    def explain(self, causes: Sequence[Exemplar]) -> None:
        """Add causes."""
        self.exemplars += causes
        if len(self.exemplars) > self._room:
            self.exemplars = list(fewest(self.exemplars))
            self._room = LOOSE + 2 * len(self.exemplars)

    def merged(self) -> Ints:
        """Return all open counts as one table in a canonical order."""
        if not self.parts:
            return np.zeros((7, 0), np.int64)
        table = np.concatenate(self.parts, axis=1)
        if not table.shape[1]:
            return table
        keys, sums = tabulate(list(table[:COUNT]), [table[COUNT]])
        return np.stack([*keys, sums[1]])[:, sums[1] != 0]  # what was corrected away was never there

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {"counts": self.merged(), "exemplars": [plain_exemplar(x) for x in self.exemplars]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.parts, self.exemplars = [saved["counts"].copy()], [exemplar(x) for x in saved["exemplars"]]

    def close(self, through: int) -> tuple[Ints, tuple[Exemplar, ...]]:
        """Take out the counts and exemplars of panes up to and including `through`."""
        table = self.merged()
        closed = table[PANE] <= through
        self.parts = [table[:, ~closed]] if not closed.all() else []
        taken = tuple(x for x in self.exemplars if x.pane <= through)
        self.exemplars = [x for x in self.exemplars if x.pane > through]
        return table[:, closed], fewest(taken)


plain_exemplar = attrgetter(*(part.name for part in fields(Exemplar)))
"""The fields of an exemplar, which are plain values: what `dataclasses.astuple` says, without copying them one by one."""


def exemplar(saved: Sequence[Any]) -> Exemplar:
    """Return an exemplar from its fields."""
    pane, series, piece, key, event_id, reason, ts, version, n, *at = saved
    offset, index = at[0] if at else NOWHERE  # states of before have none
    return Exemplar(pane, series, piece, key, event_id, reason, ts, (version[0], version[1]), n, (offset, index))


def fewest(exemplars: Sequence[Exemplar]) -> tuple[Exemplar, ...]:
    """Keep the EXEMPLARS events and the REASONS reasons of smallest key per pane, series, version and slice.

    Counts of one reason are added up. A reason that is kept has been kept wherever it was counted, so that its count is
    whole: what is left out does not depend on partitions, chunks or order.
    """
    kept: list[Exemplar] = []
    room: dict[tuple[int, int, str, tuple[str, str], bool], int] = {}
    for x in sorted([*{one for one in exemplars if not one.n}, *_added(exemplars)], key=plain_exemplar):
        place = (x.pane, x.series, x.slice, x.version, x.n > 0)
        room[place] = room.get(place, 0) + 1
        if room[place] <= (REASONS if x.n else EXEMPLARS):
            kept.append(x)
    return tuple(kept)


def _added(exemplars: Sequence[Exemplar]) -> list[Exemplar]:
    """Return one count for each reason of a pane, series, version and slice."""
    total: dict[tuple[Any, ...], int] = {}
    for x in exemplars:
        if x.n:
            *alike, n, at = plain_exemplar(x)
            total[*alike, at] = total.get((*alike, at), 0) + n
    return [exemplar((*alike, n, at)) for (*alike, at), n in total.items()]


def local_record(shard: int, chain: str, span: tuple[int, int], closed: OpenCounts, names: "CodeTables") -> TallyRecord:
    """Close panes `(after, through]` into a record whose codes count from 0 within it."""
    counts, exemplars = closed.close(span[1])
    versions, counts[VERSION] = np.unique(counts[VERSION], return_inverse=True)
    slices, counts[SLICE] = np.unique(counts[SLICE], return_inverse=True)
    return TallyRecord(
        shard,
        chain,
        span[0],
        span[1],
        counts,
        tuple(names.versions[v] for v in versions.tolist()),
        tuple(names.slices[s] for s in slices.tolist()),
        exemplars,
    )


@dataclass(frozen=True, slots=True)
class CodeTables:
    """What version and slice codes stand for."""

    versions: Sequence[tuple[str, str]]
    slices: Sequence[str]
