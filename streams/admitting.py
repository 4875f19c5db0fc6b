"""Which events are new to a store that remembers ids: the many at once, ids that repeat within a chunk in their order."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.streams.batch import Ids
from interlock.streams.clock import Times
from interlock.streams.store import Rows, Store

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Which of n events are counted: the `fresh`, and those that are `revised`, which correct one; the store rows of each."""

    fresh: Mask
    rows: Rows
    revised: Mask
    corrections: Rows


@dataclass(frozen=True, slots=True)
class Known:
    """What a store knows of the ids of n events when they come, int64[n] each: the row of the id, or -1; its time and revision.

    `waits` bool[n]: it has not met, and is remembered whatever its time.
    """

    row: Rows
    e: Ints
    revision: Ints
    waits: Mask

    @classmethod
    def of(cls, store: Store, ids: Ids, *, facts: bool) -> "Known":
        """Ask a store."""
        row = store.find(ids.h1, ids.h2)
        e, revision, waits = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64), np.zeros(len(row), np.bool_)
        at = np.flatnonzero(row >= 0)
        if len(at):
            old = store.take(row[at])
            e[at] = old["e"]
            if facts:
                revision[at], waits[at] = old["revision"], store.met(row[at]) == 0
        return cls(row, e, revision, waits)


def admit(store: Store, ids: Ids, times: Times, memory: int, *, revision: NDArray[np.int32] | None = None) -> Admitted:
    """Enter events into a store that remembers ids for `memory` ms; facts, which have a `revision`, until they have met."""
    known, since = Known.of(store, ids, facts=revision is not None), times.watermark - memory
    remembered = (known.row >= 0) & (known.waits | (known.e >= since))
    fresh, before = ~remembered, np.zeros(len(since), np.int64)
    if revision is not None:
        revised = remembered & (revision > known.revision)
        before[revised] = known.row[revised] + 1
    repeats = _Repeats(known, times.effective, since, revision)
    inside = [one for places in _repeated(ids) for one in repeats.decide(places, fresh, before)]
    entered = fresh | (before > 0)
    number = store.end - 1 + np.cumsum(entered)
    for place, head in inside:
        before[place] = number[head] + 1
    rows = store.append(ids.h1[entered], ids.h2[entered], times.effective[entered])
    revised = before > 0
    if revision is not None:
        store.fill(rows, {"revision": revision[entered], "before": before[entered]})
    return Admitted(fresh, number[fresh], revised, number[revised])


def admit_apart(
    drawn: tuple[Store, int], others: tuple[Store, int], events: tuple[Ids, Times], first: Mask
) -> Admitted:
    """Enter the events of `first` bool[n] into one store and the rest into another, each with its memory in ms.

    Ids must always go to the same. The rows are those of the first store, -1 for events of the other.
    """
    fresh, rows = np.zeros(len(first), np.bool_), np.full(len(first), -1, np.int64)
    ids, times = events
    for (store, memory), mine in ((drawn, first), (others, ~first)):
        admitted = admit(store, ids.take(mine), times.take(mine), memory)
        fresh[mine] = admitted.fresh
        if mine is first:
            rows[first & fresh] = admitted.rows
    return Admitted(fresh, rows[fresh], np.zeros(len(first), np.bool_), rows[:0])


@dataclass(frozen=True, slots=True)
class _Repeats:
    """Decides events whose id comes more than once in a chunk, of which none has met yet."""

    known: Known
    e: Ints
    since: Ints
    revision: NDArray[np.int32] | None

    def decide(self, places: list[int], fresh: Mask, before: Ints) -> Iterator[tuple[int, int]]:
        """Correct `fresh` and `before` at the places of one id; yield each place that takes that of one in the chunk, and this."""
        head = -1
        for place in places:
            if head < 0:  # as it was decided by what the store knows
                head = place if fresh[place] or before[place] else -1
                continue
            fresh[place], before[place] = False, 0
            if self.revision is None:
                fresh[place] = self.e[head] < self.since[place]
                head = place if fresh[place] else head
            elif self.revision[place] > self.revision[head]:
                before[place] = 1  # until rows have numbers
                yield place, head
                head = place


def _repeated(ids: Ids) -> list[list[int]]:
    """Return the places of each id that comes more than once in a chunk, in order."""
    in_order = np.sort(ids.h1)
    if not (in_order[1:] == in_order[:-1]).any():
        return []
    places: dict[tuple[int, int], list[int]] = {}
    for place, key in enumerate(zip(ids.h1.tolist(), ids.h2.tolist(), strict=True)):
        places.setdefault(key, []).append(place)
    return [found for found in places.values() if len(found) > 1]
