"""What shards and judges publish, from Kafka into ClickHouse: each row once, whatever is sent twice."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel

from interlock.errors import Unreachable
from interlock.records import Control, Labels, Page, Verdict
from interlock.sinks.clickhouse import Batch, ClickHouseSink
from interlock.sinks.rows import (
    LetterRow,
    Rows,
    control_rows,
    letter_rows,
    page_rows,
    tally_rows,
    together,
    verdict_rows,
)
from interlock.streams import wire
from interlock.streams.dead_letters import Letter
from interlock.streams.junk import Junk, reason
from interlock.streams.outputs import tally_table
from interlock.streams.sink_target import Message

log = logging.getLogger("interlock.sink")

LEASE = b'["lease"'
"""How the keys of leases begin: they say nothing that is kept."""

UNFIT = (ValueError, TypeError, OverflowError, IndexError, KeyError)
"""What reading a message, or making rows of it, raises when it is not what its topic holds."""

Item = Any


class TableTarget:
    """Inserts batches by offsets; `connect` opens ClickHouse, anew after every failure, so that the schema is there."""

    name = "clickhouse"
    most, linger, recalls = 5_000, 1.0, False

    def __init__(self, connect: Callable[[], ClickHouseSink], prefix: str = "") -> None:
        """Start without a connection."""
        self._connect, self._prefix = connect, prefix
        self._sink: ClickHouseSink | None = None
        self._junk = Junk(log)
        self.rows = 0

    @property
    def counted(self) -> Mapping[str, int]:
        """What became of rows, and of messages that hold none."""
        return {"sent": self.rows, "unreadable": self._junk.count}

    @property
    def topics(self) -> Sequence[str]:
        """The topics that tables are filled from."""
        return tuple(KINDS)

    def recall(self, message: Message) -> None:
        """Do nothing: tables know again what they hold."""

    def take(self, messages: Sequence[Message]) -> None:
        """Insert the records of messages; those of one topic are rows of one table."""
        first, last = messages[0], messages[-1]
        rows = self._rows(messages)
        if not len(rows.times):
            return
        covers = f"{first.offset}-{last.offset} {_digest(messages)}"
        try:
            if self._sink is None:
                self._sink = self._connect()
            self._sink.insert(rows, Batch(f"{first.topic}-{first.partition}", covers))
        except Unreachable:
            self.close_connection()
            raise
        self.rows += len(rows.times)

    def _rows(self, messages: Sequence[Message]) -> Rows:
        """Return the rows of what can be read of messages."""
        kind = KINDS[messages[0].topic.removeprefix(self._prefix)]
        read = [(message, item) for message in messages for item in self._items(kind, message)]
        try:
            return kind.rows([item for _, item in read])
        except UNFIT:
            return kind.rows([item for message, item in read if self._fits(kind, message, item)])

    def _items(self, kind: "Kind", message: Message) -> list[Item]:
        try:
            return list(kind.read(message))
        except UNFIT as error:
            self._junk.skip(message, reason(error))
            return []

    def _fits(self, kind: "Kind", message: Message, item: Item) -> bool:
        try:
            kind.rows([item])
        except UNFIT as error:
            self._junk.skip(message, reason(error))
            return False
        return True

    def close_connection(self) -> None:
        """Let go of ClickHouse until the next batch."""
        if self._sink is not None:
            self._sink.close()
        self._sink = None

    def close(self) -> None:
        """Let go of ClickHouse and say what was done."""
        self.close_connection()
        log.info("stopped: %d rows, %d messages unreadable", self.rows, self._junk.count)


class Kind(NamedTuple):
    """How the messages of a topic become rows: `read` yields what is in one, `rows` makes rows of many such."""

    read: Callable[[Message], Iterable[Item]]
    rows: Callable[[Sequence[Item]], Rows]


def _records(kind: type[BaseModel]) -> Callable[[Message], Iterable[Item]]:
    return lambda message: [kind.model_validate_json(message.value or b"")]


def _controls(message: Message) -> Iterable[Item]:
    """Return the control in a message; leases and tombstones hold none."""
    if message.value is None or (message.key or b"").startswith(LEASE):
        return []
    return [Control.model_validate_json(message.value)]


def _letters(message: Message) -> Iterator[Item]:
    """Yield dead letters; they were read when their message was sent, by the shard of their partition."""
    for line in (message.value or b"").splitlines():
        told = msgspec.structs.asdict(msgspec.json.decode(line, type=Letter))
        yield LetterRow(at=message.ts, source=shard(int(told.pop("partition"))), **told)


def _tallies(message: Message) -> Iterable[Item]:
    """Return the counts in a message; a part of a record counts as well as the whole."""
    record = wire.decode(message.value or b"")
    return [record] if isinstance(record, wire.Tallies) and record.record.counts.shape[1] else []


def _tally_rows(parts: Sequence[Any]) -> Rows:
    """Return rows of counts; neighbours of one policy are made into a table at once."""
    made = []
    for (tick, series), group in groupby(parts, key=lambda part: (part.tick, part.series)):
        records = [part.record for part in group]
        names = [shard(record.shard) for record in records for _ in range(record.counts.shape[1])]
        made.append(tally_rows(tally_table(records, tick, series), Labels.of(names)))
    return together("tallies", made)


def shard(number: int) -> str:
    """Return the name of a shard, as tables call who counted."""
    return f"shard {number}"


def _digest(messages: Sequence[Message]) -> str:
    """Return a hash of messages: a broker that starts anew counts the same offsets again, of other messages."""
    found = hashlib.sha256()
    for message in messages:
        found.update(f"{message.offset} {message.ts} {len(message.value or b'')} ".encode())
        found.update(message.value or b"")
    return found.hexdigest()


KINDS = {
    "tallies": Kind(_tallies, _tally_rows),
    "verdicts": Kind(_records(Verdict), verdict_rows),
    "control": Kind(_controls, control_rows),
    "pages": Kind(_records(Page), page_rows),
    "dead-letters": Kind(_letters, letter_rows),
}
"""The topics that tables are filled from, without prefix."""
