"""Records of input topics, fetched by where they stand, as long as Kafka keeps them."""

import time
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from interlock.connection import Connection
from interlock.errors import Unreachable
from interlock.reaching import consumer, settings_of

CONNECT, PATIENCE = 10_000, 30.0
"""Milliseconds to find a broker, seconds to get one record."""


class Originals:
    """Fetches records; use it as a context manager."""

    def __init__(self, connection: Connection) -> None:
        """Open a reader that belongs to no group.

        Raises:
            Unreachable: no broker answers.
        """
        self._connection = connection
        self._held: dict[int, Any] = {}
        self._at: TopicPartition | None = None
        self._kept: dict[TopicPartition, range] = {}
        try:
            self._reader: Any = consumer(
                **settings_of(connection),
                bootstrap_timeout_ms=CONNECT,
                enable_auto_commit=False,
                auto_offset_reset="earliest",  # retention may take what we ask for: then it is not there
                isolation_level="read_committed",
            )
        except KafkaError as error:
            raise Unreachable(f"{connection.bootstrap}: {str(error) or type(error).__name__}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def get(self, topic: str, partition: int, offset: int) -> Any | None:
        """Return the record at an offset; None if Kafka does not keep it (any more).

        Raises:
            Unreachable: the broker is away.
        """
        place = TopicPartition(self._connection.prefix + topic, partition)
        try:
            if offset not in self._range(place):
                return None
            if place != self._at or offset not in self._held:
                self._fetch(place, offset)
        except UnicodeDecodeError:  # the name of a header: kafka-python cannot read past it
            self._held = {}
        except KafkaError as error:
            raise Unreachable(f"{self._connection.bootstrap}: {str(error) or type(error).__name__}") from None
        return self._held.get(offset)

    def _range(self, place: TopicPartition) -> range:
        """Return the offsets that a partition keeps, as first seen; none of one that does not exist."""
        if place not in self._kept:
            exists = place.partition in (self._reader.partitions_for_topic(place.topic) or ())
            ends = (
                [self._reader.beginning_offsets([place])[place], self._reader.end_offsets([place])[place]]
                if exists
                else [0, 0]
            )
            self._kept[place] = range(*ends)
        return self._kept[place]

    def _fetch(self, place: TopicPartition, offset: int) -> None:
        """Hold the records from an offset on; where only transactions' markers stand, none."""
        if place != self._at:
            self._reader.assign([place])
            self._at = place
        self._held = {}
        self._reader.seek(place, offset)
        deadline = time.monotonic() + PATIENCE
        while not self._held and self._reader.position(place) <= offset:
            self._held = {one.offset: one for one in self._reader.poll(timeout_ms=500).get(place, ())}
            if time.monotonic() > deadline:
                raise Unreachable(f"{place.topic}, partition {place.partition}: offset {offset} cannot be read")
