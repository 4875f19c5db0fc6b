"""What stands on `tallies`, read without the judge: how many events of every pane each shard has told of."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.chaos.stream import Packet
from interlock.policies.plan import LABELS, ORPHANS, N
from interlock.streams import wire
from interlock.streams.chains import EVENTS
from interlock.streams.clock import BEGINNING
from interlock.streams.tally import CELL, COUNT, PANE, SERIES, TallyRecord

Key = tuple[str, int, int]
"""What was counted (predictions, labels, orphans), by which shard, in which pane."""

CELLS = {("predictions", N): "predictions", ("joined", LABELS): "labels", ("joined", ORPHANS): "orphans"}


@dataclass
class Told:
    """The counts of the records of one run; every pane counts once, however often it was told."""

    counts: Counter[Key] = field(default_factory=Counter)
    differing: int = 0
    """Panes that were told twice, and not the same."""
    gaps: int = 0
    _frontiers: dict[tuple[int, str], int] = field(default_factory=dict)
    _panes: dict[tuple[int, str, int], bytes] = field(default_factory=dict)
    _parts: wire.Assembler = field(default_factory=wire.Assembler)

    def read(self, values: Iterable[bytes]) -> "Told":
        """Take in the values of the topic in their order."""
        for value in values:
            record = wire.decode(value)
            if isinstance(record, wire.Tallies) and (whole := self._parts.put(record)) is not None:
                self._take(whole)
        return self

    def _take(self, record: TallyRecord) -> None:
        source = record.shard, record.chain
        frontier = self._frontiers.get(source, BEGINNING)
        self.gaps += record.after > frontier
        for pane, counts in _by_pane(record):
            place = (*source, pane)
            if pane > frontier:
                self._panes[place] = _canonical(record, counts)
                self._count(record, pane, counts)
            else:
                self.differing += self._panes.get(place) != _canonical(record, counts)
        self._frontiers[source] = max(frontier, record.through)

    def _count(self, record: TallyRecord, pane: int, counts: np.ndarray) -> None:
        for cell, count in counts[[CELL, COUNT]][:, counts[SERIES] == EVENTS].T.tolist():
            if name := CELLS.get((record.chain, cell)):
                self.counts[name, record.shard, pane] += count


def _by_pane(record: TallyRecord) -> Iterator[tuple[int, np.ndarray]]:
    for pane in np.unique(record.counts[PANE]).tolist():
        yield pane, record.counts[:, record.counts[PANE] == pane]


def _canonical(record: TallyRecord, counts: np.ndarray) -> bytes:
    """Return the counts of a pane with names in place of the codes that a record gives them."""
    rows = [
        (cohort, series, record.versions[version], record.slices[part], cell, count)
        for _, cohort, series, version, part, cell, count in counts.T.tolist()
    ]
    return repr(sorted(rows)).encode()


def true_counts(packets: Iterable[Packet], tick: int, orphan_ttl: int) -> Counter[Key]:
    """Return the counts of events by what they are: labels when the outcome came, orphans when it was given up."""
    names = {"prediction": ("predictions", 0), "outcome": ("labels", 0), "orphan": ("orphans", orphan_ttl)}
    found: Counter[Key] = Counter()
    for packet in packets:
        for line in packet.lines:
            if line.kind in names:
                name, later = names[line.kind]
                found[name, packet.partition, (line.ts + later) // tick] += 1
    return found


def compared(found: Counter[Key], true: Counter[Key], before: int) -> tuple[int, int]:
    """Return how many events are missing, and how many too many, in the panes before one."""
    keys = [key for key in found | true if key[2] < before]
    lost = sum(max(0, true[key] - found[key]) for key in keys)
    return lost, sum(max(0, found[key] - true[key]) for key in keys)
