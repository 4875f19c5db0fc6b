"""Dead letters from their topic, or a file, back to the topics that their events came from: each once.

A letter's event and the mark that it was fed again, a record without a value on `dead-letters`, are one transaction of a
producer that fences all others of its kind. So whoever is interrupted, repeats it or runs it twice sends nothing twice.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, ProducerFencedError

from interlock.connection import Connection
from interlock.ends import Ends
from interlock.errors import Unreachable, UserError
from interlock.reaching import consumer, producer, settings_of
from interlock.rights import REFEED
from interlock.streams.dead_letters import REFED, Fate, Fed, Letter, Repair, read_letter
from interlock.streams.originals import Originals

LETTERS = "dead-letters"
AT_ONCE = 200
"""Events in a transaction; readers wait for its end."""

CONNECT, TRANSACTION, ANSWER = 10_000, 15_000, 30.0
"""Milliseconds to find a broker and that a transaction may stay open after a kill, seconds for a message's answer."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)


class Letters:
    """Dead letters by identity, with the time (ms) at which each was written, and those that were fed again."""

    def __init__(self) -> None:
        """Start with none."""
        self.found: dict[str, tuple[Letter, int | None]] = {}
        self.done: set[str] = set()
        self.junk = 0

    def add(self, line: bytes, at: int | None) -> None:
        """Take in a line; what is no dead letter is counted."""
        try:
            letter = read_letter(line)
        except UNREADABLE:
            self.junk += 1
            return
        self.found.setdefault(letter.identity, (letter, at))

    def fates(self, repair: Repair, originals: Originals | None) -> Iterator[Fed]:
        """Yield what becomes of each letter, by where its event stood."""
        order = sorted(
            self.found.values(), key=lambda one: (one[0].topic, one[0].partition or 0, one[0].offset, one[0].index)
        )
        for letter, at in order:
            if letter.identity in self.done:
                yield Fed(letter, Fate.DONE)
            else:
                yield repair(letter, _record(letter, at, originals))


def _record(letter: Letter, at: int | None, originals: Originals | None) -> Any | None:
    """Return the record that a letter names, unless it came after the letter: then the topic was made anew."""
    if originals is None or letter.partition is None:
        return None
    record = originals.get(letter.topic, letter.partition, letter.offset)
    return record if record is None or at is None or record.timestamp <= at else None


def read_file(path: Path, into: Letters) -> None:
    """Read dead letters from a file of JSON lines; UserError if it cannot be read or has none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    for line in lines:
        if line.strip():
            into.add(line, None)
    if into.junk and not into.found:
        raise UserError(f"{path}: none of its lines is a dead letter, as `dead-letters.jsonl` has them")


def read_topic(connection: Connection, into: Letters, *, only_marks: bool = False) -> None:
    """Read the topic of dead letters up to its end: letters, unless `only_marks`, and what was fed again.

    Raises:
        Unreachable: no broker answers.
        UserError: there is no such topic.
    """
    try:
        with closing(_reader(connection)) as reader:
            for record in _records(reader, connection.prefix + LETTERS, Ends(lambda: _reader(connection))):
                if record.value is None:
                    into.done |= {text.decode() for name, text in record.headers if name == REFED}
                elif not only_marks:
                    for line in record.value.splitlines():
                        into.add(line, record.timestamp)
    except KafkaError as error:
        raise Unreachable(f"{connection.bootstrap}: {str(error) or type(error).__name__}") from None


def _reader(connection: Connection) -> KafkaConsumer:
    return consumer(
        **settings_of(connection),
        bootstrap_timeout_ms=CONNECT,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )


def _records(reader: Any, topic: str, unread: Ends) -> Iterator[Any]:
    places = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
    if not places:
        raise UserError(f"{topic}: no such topic; `interlock topics` creates it")
    reader.assign(places)
    unread.ends, brought = reader.end_offsets(places), True
    deadline = time.monotonic() + ANSWER + TRANSACTION / 1000
    while not unread.reached(reader, brought=brought):
        polled = reader.poll(timeout_ms=500)
        brought = bool(polled)
        for records in polled.values():
            deadline = time.monotonic() + ANSWER
            yield from records
        if time.monotonic() > deadline:
            raise Unreachable(f"{topic} cannot be read to its end")


class Feeder:
    """Sends events and their marks in transactions; use it as a context manager. It ends every other feeder."""

    def __init__(self, connection: Connection) -> None:
        """Take over from whoever fed before; what that had not finished never was.

        Raises:
            Unreachable: no broker answers.
        """
        self._connection = connection
        try:
            self._producer: KafkaProducer = producer(
                **settings_of(connection),
                bootstrap_timeout_ms=CONNECT,
                acks="all",
                allow_auto_create_topics=False,
                transactional_id=f"{connection.prefix}{REFEED}",
                transaction_timeout_ms=TRANSACTION,
            )
            self._producer.init_transactions()
        except KafkaError as error:
            raise Unreachable(f"{connection.bootstrap}: {str(error) or type(error).__name__}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=5)

    def send(self, fed: Iterable[Fed]) -> int:
        """Send the events of these letters; return how many, each once whatever happens.

        Raises:
            Unreachable: the broker is away; what was sent whole is marked, the rest goes when this is done again.
            UserError: another took over.
        """
        ready, sent = list(fed), 0
        for start in range(0, len(ready), AT_ONCE):
            part = ready[start : start + AT_ONCE]
            try:
                self._transact(part)
            except ProducerFencedError:
                raise UserError(f"another `--send` has taken over after {sent} events; it sends the rest") from None
            except ValueError as error:  # the topic has fewer partitions than it had
                raise UserError(f"after {sent} events: {error}") from None
            except KafkaError as error:
                said = f"{self._connection.bootstrap}: {str(error) or type(error).__name__}"
                raise Unreachable(f"{said}; {sent} were sent: do it again for the rest") from None
            sent += len(part)
        return sent

    def _transact(self, part: Sequence[Fed]) -> None:
        prefix = self._connection.prefix
        self._producer.begin_transaction()
        sent = []
        for one in part:
            identity, topic = one.letter.identity.encode(), prefix + one.letter.topic
            sent += [
                self._producer.send(topic, one.value, one.key, list(one.headers), partition=one.letter.partition),
                self._producer.send(prefix + LETTERS, None, identity, [(REFED, identity)]),
            ]
        for answer in sent:
            answer.get(timeout=ANSWER)
        self._producer.commit_transaction()
