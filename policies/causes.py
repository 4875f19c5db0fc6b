"""What caused a machine's hits: some causing events by name, and how many events have which reason."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EVENTS = 8
"""Causing events that a slice keeps, those of its newest panes."""
REASONS = 16
"""Reasons that a slice keeps of one pane, the most frequent: its counts are merged by then, so that all agree."""
SHOWN = 8
"""Reasons that a verdict tells."""
NOWHERE = (-1, -1)
"""Where the count of a reason stands."""


@dataclass(frozen=True, slots=True, order=True)
class Exemplar:
    """A causing event by name, or the count of events of one reason: then `n` > 0, and `event_id` is empty.

    Keyed hashes of ids, or hashes of reasons, choose which are kept, so that partitions and order do not matter. `at` is
    where the event stands in its shard's partition, offset and index: for whoever fetches it, never part of a verdict.
    """

    pane: int
    series: int
    slice: str
    key: int
    event_id: str
    reason: str
    ts: int
    version: tuple[str, str]
    n: int = 0
    at: tuple[int, int] = NOWHERE


@dataclass(slots=True)
class Causes:
    """Causes of one SLO by slot: events as (-tick, key, id, reason), and counts as (pane, ((reason, n), ...))."""

    panes: int
    events: dict[int, list[tuple[int, int, str, str]]] = field(default_factory=dict)
    counts: dict[int, list[tuple[int, tuple[tuple[str, int], ...]]]] = field(default_factory=dict)

    def take(self, pane: int, found: Sequence[Exemplar], slot: Callable[[str], int]) -> None:
        """Take in all causes of a pane of the SLO, later than the last; `slot` says where a slice counts."""
        by_slot: dict[int, list[Exemplar]] = {}
        for one in found:
            by_slot.setdefault(slot(one.slice), []).append(one)
        for number, causes in by_slot.items():
            self._add(number, pane, causes)

    def _add(self, slot: int, pane: int, found: Sequence[Exemplar]) -> None:
        counted: Counter[str] = Counter()
        kept = self.events.get(slot, [])
        for one in found:
            if one.n:
                counted[one.reason] += one.n
            else:
                kept.append((-one.pane, one.key, one.event_id, one.reason))
        self.events[slot] = sorted(kept)[:EVENTS]
        if counted:
            inside = [old for old in self.counts.get(slot, []) if old[0] > pane - self.panes]
            self.counts[slot] = [*inside, (pane, _most(counted, REASONS))]

    def told(self, slot: int, since: int) -> dict[str, object]:
        """Return the reasons of a slot's hits in panes from `since` on, the most frequent first, and events by id."""
        total: Counter[str] = Counter()
        for pane, counted in self.counts.get(slot, []):
            if pane >= since:
                total.update(dict(counted))
        events = self.events.get(slot, [])
        told: dict[str, object] = {}
        if total:
            told["causes"] = [{"reason": reason, "n": n} for reason, n in _most(total, SHOWN)]
        if events:
            told["events"] = [event for _, _, event, _ in events]
        return told

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        self.events.pop(slot, None)
        self.counts.pop(slot, None)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "events": {slot: list(kept) for slot, kept in self.events.items()},
            "counts": {slot: list(kept) for slot, kept in self.counts.items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.events = {slot: [(a, b, c, d) for a, b, c, d in kept] for slot, kept in saved["events"].items()}
        self.counts = {
            slot: [(pane, tuple((reason, n) for reason, n in counted)) for pane, counted in kept]
            for slot, kept in saved["counts"].items()
        }


def _most(counted: Counter[str], most: int) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:most])
