"""Where the events stand that tallies name: read from `tallies`, so that they can be fetched when a control engages."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from interlock.connection import Connection
from interlock.ends import Ends
from interlock.errors import Unreachable
from interlock.policies.causes import NOWHERE
from interlock.reaching import consumer, settings_of
from interlock.streams import wire

MOST = 200_000
"""Events that are remembered, the latest: a week of tallies names fewer, as a rule."""

CONNECT, PATIENCE = 10_000, 60.0
"""Milliseconds to find a broker, seconds without progress after which it counts as away."""


class Standing(NamedTuple):
    """Where an event of `predictions` stands, offset and index, when it happened (ms), the reasons why it is named."""

    partition: int
    at: tuple[int, int]
    ts: int
    reasons: frozenset[str]


Named = tuple[tuple[str, str], Standing]
"""A model and an event's id, and where it stands."""


class Standings:
    """Remembers where events stand; no model's events are taken for another's."""

    def __init__(self, most: int = MOST) -> None:
        """Start with none."""
        self._found: dict[tuple[str, str], Standing] = {}
        self._most = most

    def take(self, value: bytes) -> None:
        """Take in a message of `tallies`; one that cannot be read names nothing."""
        try:
            named = list(_named(wire.decode(value)))
        except wire.UnreadableTallyError:
            return
        for about, one in named:
            known = self._found.pop(about, one)
            same = known[:2] == one[:2]
            self._found[about] = one._replace(reasons=known.reasons | one.reasons) if same else one
        while len(self._found) > self._most:
            del self._found[next(iter(self._found))]

    def get(self, model: str, event_id: str) -> Standing | None:
        """Return where an event stands; None if no tally said so, or too long ago."""
        return self._found.get((model, event_id))


def _named(record: wire.Record) -> Iterator[Named]:
    if isinstance(record, wire.Triggered):
        one = record.trigger
        if one.at != NOWHERE:
            yield (one.model, one.event_id), Standing(one.shard, one.at, one.ts, frozenset([one.rule]))
    if isinstance(record, wire.Tallies):
        for x in record.record.exemplars:
            if not x.n and x.at != NOWHERE:
                about = x.version[0], x.event_id
                yield about, Standing(record.record.shard, x.at, x.ts, frozenset([x.reason]))


class TallyReader:
    """Reads all of `tallies`, on and on, as a member of no group."""

    def __init__(self, connection: Connection) -> None:
        """Start without a connection, at the oldest tally."""
        self._connection, self._topic = connection, connection.prefix + "tallies"
        self._at: dict[TopicPartition, int] = {}
        self._reader: Any = None
        self.standings = Standings()

    def catch_up(self) -> None:
        """Read up to where the topic ends now.

        Raises:
            Unreachable: the broker is away; what was read stays.
        """
        try:
            for record in self._unread():
                self.standings.take(record.value or b"")
        except KafkaError as error:
            self.close()
            raise Unreachable(f"{self._connection.bootstrap}: {str(error) or type(error).__name__}") from None

    def close(self) -> None:
        """Let go of the broker."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _unread(self) -> Iterable[Any]:
        reader = self._open()
        ends = Ends(self._client)
        ends.ends = {place: end for place, end in reader.end_offsets(reader.assignment()).items() if end}
        records: list[Any] = []
        heard = time.monotonic()
        while not ends.reached(reader, brought=bool(records)):
            records = [one for some in reader.poll(timeout_ms=500).values() for one in some]
            heard = time.monotonic() if records else heard
            for record in records:
                self._at[TopicPartition(record.topic, record.partition)] = record.offset + 1
                yield record
            if time.monotonic() - heard > PATIENCE:
                raise Unreachable(f"{self._topic} cannot be read to its end")

    def _open(self) -> KafkaConsumer:
        """Return the reader of all partitions, which may have become more."""
        if self._reader is None:
            self._reader = self._client()
        places = {TopicPartition(self._topic, n) for n in self._partitions()}
        if places != self._reader.assignment():
            self._reader.assign(sorted(places))
            for place in places:
                if place in self._at:
                    self._reader.seek(place, self._at[place])
                else:
                    self._reader.seek_to_beginning(place)
        return self._reader

    def _partitions(self) -> set[int]:
        return set(self._reader.partitions_for_topic(self._topic) or ())

    def _client(self) -> KafkaConsumer:
        return consumer(
            **settings_of(self._connection),
            bootstrap_timeout_ms=CONNECT,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=10_000,
            isolation_level=self._connection.isolation_level,
        )
