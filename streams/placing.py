"""Whether events sit where murmur2 puts their ids: producers with another partitioner part outcomes from predictions."""

from collections import Counter
from typing import NamedTuple

from interlock.partitions import partition_of
from interlock.streams.batch import Ids

SAMPLED = 8
"""Events of a chunk that are looked at."""


class Placed(NamedTuple):
    """Events of a topic that were looked at, and how many of them sit where murmur2 puts them."""

    looked: int
    right: int

    @property
    def share(self) -> float | None:
        """The share that sits where it should; None before any was looked at."""
        return self.right / self.looked if self.looked else None


class Placing:
    """What one shard has seen, by topic, since it was started: a sample of every chunk."""

    def __init__(self, number: int, shards: int) -> None:
        """Look at events of partition `number` of `shards`."""
        self._number, self._shards = number, shards
        self._looked: Counter[str] = Counter()
        self._right: Counter[str] = Counter()

    def look(self, topic: str, ids: Ids) -> None:
        """Look at a few events of a chunk, spread over it."""
        count = len(ids.h1)
        rows = range(0, count, -(-count // SAMPLED)) if count else ()
        self._looked[topic] += len(rows)
        self._right[topic] += sum(partition_of(ids.text(row).encode(), self._shards) == self._number for row in rows)

    def of(self, topic: str) -> Placed:
        """Return what was seen of a topic."""
        return Placed(self._looked[topic], self._right[topic])
