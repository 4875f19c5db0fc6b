"""What the shards' records add up to, chain by chain: how far all have come, and what has come behind (STREAM.md §3)."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import Exemplar
from interlock.policies.plan import LABELS, ORPHANS, N
from interlock.streams.clock import BEGINNING
from interlock.streams.tally import (
    CELL,
    COHORT,
    COUNT,
    NO_COHORT,
    PANE,
    PREDICTIONS,
    SERIES,
    Ints,
    TallyRecord,
    exemplar,
)

EVENTS = 0
"""The first series of every plan; each prediction, label and orphan is counted once in it, in one of these cells."""

EVENT_CELLS = (N, LABELS, ORPHANS)


class TallyGapError(RuntimeError):
    """A shard's record does not follow its last one: counts are missing, and judging on would be wrong."""


@dataclass(slots=True)
class ChainState:
    """One chain: how far each shard has come, and records whose panes are not complete over all shards.

    A shard whose source is `idle` is waited for no longer, until it reports progress. What it then brings of panes that
    are `merged` already counts in the first open one; `behind` is the number of those events.
    """

    reached: dict[int, int] = field(default_factory=dict)
    waiting: list[TallyRecord] = field(default_factory=list)
    merged: int = BEGINNING
    idle: set[int] = field(default_factory=set)
    behind: int = 0

    def put(self, record: TallyRecord) -> None:
        """Take in a record; what was seen before is dropped."""
        known = self.reached.get(record.shard, BEGINNING)
        if record.through <= known:
            return
        if record.after > known:
            raise TallyGapError(f"{record.chain} of shard {record.shard}: {record.after} after {known}")
        counts = self._opened(record.counts[:, record.counts[PANE] > known], record.chain)
        opened = self.merged + 1
        named = tuple(replace(x, pane=max(x.pane, opened)) for x in record.exemplars if x.pane > known)
        self.waiting.append(replace(record, after=known, counts=counts, exemplars=named))
        self.reached[record.shard] = record.through
        self.idle.discard(record.shard)

    def _opened(self, counts: Ints, chain: str) -> Ints:
        """Return counts with those of merged panes in the first open one; predictions keep their own as their cohort."""
        late = counts[PANE] <= self.merged
        if late.any():
            events = (counts[SERIES] == EVENTS) & np.isin(counts[CELL], EVENT_CELLS)
            self.behind += int(counts[COUNT, late & events].sum())
            if chain == PREDICTIONS:
                counts[COHORT] = np.where(late & (counts[COHORT] == NO_COHORT), counts[PANE], counts[COHORT])
            counts[PANE, late] = self.merged + 1
        return counts

    def complete(self, shards: int) -> int | None:
        """Return the last pane that all active shards have passed; None if every source is idle."""
        active = [self.reached.get(shard, BEGINNING) for shard in range(shards) if shard not in self.idle]
        return min(active, default=None)

    def furthest(self) -> int:
        """Return the last pane that any shard has passed."""
        return max(self.reached.values(), default=BEGINNING)

    def take(self, through: int) -> list[TallyRecord]:
        """Take out all panes up to `through`, and in any case the first open one: labels may need what came behind."""
        taken, kept, last = [], [], max(through, self.merged + 1)
        for record in self.waiting:
            early = record.counts[PANE] <= last
            taken.append(_part(record, early, tuple(x for x in record.exemplars if x.pane <= last)))
            kept.append(_part(record, ~early, tuple(x for x in record.exemplars if x.pane > last)))
        self.waiting, self.merged = list(filter(_tells, kept)), through
        return list(filter(_tells, taken))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        waiting = [
            (r.shard, r.chain, r.after, r.through, r.counts, r.versions, r.slices, [astuple(x) for x in r.exemplars])
            for r in self.waiting
        ]
        progress = {"reached": dict(self.reached), "merged": self.merged, "idle": sorted(self.idle)}
        return progress | {"waiting": waiting, "behind": self.behind}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.reached, self.merged = dict(saved["reached"]), saved["merged"]
        self.idle, self.behind = set(saved["idle"]), saved["behind"]
        self.waiting = [
            TallyRecord(
                shard,
                chain,
                after,
                through,
                counts,
                tuple((m, v) for m, v in versions),
                tuple(slices),
                tuple(map(exemplar, found)),
            )
            for shard, chain, after, through, counts, versions, slices, found in saved["waiting"]
        ]


def _tells(record: TallyRecord) -> bool:
    return bool(record.counts.shape[1] or record.exemplars)


def _part(record: TallyRecord, columns: NDArray[np.bool_], exemplars: tuple[Exemplar, ...]) -> TallyRecord:
    return replace(record, counts=record.counts[:, columns], exemplars=exemplars)
