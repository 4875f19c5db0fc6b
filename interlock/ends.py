"""Whether kafka-python has read a topic up to where it ended, also where no record stands any more. Light: guards use it.

Offsets have gaps: markers of transactions, what these took back, what compaction removed. A client's position passes most
of them, but not a gap at the very end of a partition: there a broker has nothing to answer with, for ever.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

QUIET = 1.0
"""Seconds without records after which a broker is asked whether there are any."""

PATIENCE = 5.0
"""Seconds in which it must answer; else it is asked again later."""


class Ends:
    """What must be read of partitions, offsets by partition: `ends`. `probe` makes a consumer like the one that reads."""

    def __init__(self, probe: Callable[[], KafkaConsumer]) -> None:
        """Begin with nothing to read."""
        self.ends: dict[TopicPartition, int] = {}
        self._probe, self._quiet_since = probe, time.monotonic()

    def reached(self, consumer: KafkaConsumer, *, brought: bool) -> bool:
        """Whether a consumer has read everything; `brought` says whether its last poll brought records."""
        if brought:
            self._quiet_since = time.monotonic()
        positions = {place: consumer.position(place, timeout_ms=1000) or 0 for place in self.ends}
        self.ends = {place: end for place, end in self.ends.items() if positions[place] < end}
        if self.ends and time.monotonic() - self._quiet_since >= QUIET:
            with closing(self._probe()) as probe:
                if _has_nothing(probe, {place: positions[place] for place in self.ends}):
                    self.ends = {}
            self._quiet_since = time.monotonic()
        return not self.ends


def _has_nothing(probe: KafkaConsumer, positions: Mapping[TopicPartition, int]) -> bool:
    """Whether a broker answers a consumer that knows nothing yet, for all partitions, and has no record for it."""
    probe.assign(list(positions))
    for place, offset in positions.items():
        probe.seek(place, offset)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if _polled(probe):
            return False
        if all(probe.highwater(place) is not None for place in positions):
            return not _polled(probe) and all(probe.position(place) == offset for place, offset in positions.items())
    return False


def _polled(probe: KafkaConsumer) -> dict[Any, Any]:
    found: dict[Any, Any] = probe.poll(timeout_ms=200)
    return found
