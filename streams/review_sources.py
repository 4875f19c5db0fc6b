"""Where due reviews and done ones are found: a replay's folder and files, or the topics of a live pipeline."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from kafka import TopicPartition
from kafka.errors import AuthorizationError, KafkaError
from msgspec import DecodeError

from interlock.connection import Connection
from interlock.ends import Ends
from interlock.errors import Unreachable, UserError
from interlock.protocol import CONTENT_TYPE
from interlock.reaching import consumer, settings_of
from interlock.rights import lacks
from interlock.streams.batch import Message, Outcomes
from interlock.streams.decode import outcome_decoder
from interlock.streams.due import Due, read_due
from interlock.streams.files import Reader
from interlock.streams.reviews import Settled

AUDITS = "audits.jsonl"
TIMEOUT = 10_000


def due_of_replay(folder: Path) -> list[Due]:
    """Return what a replay found due, in its order.

    Raises:
        UserError: the folder has no such file, or a line of it is something else.
    """
    path, found = folder / AUDITS, []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; `interlock replay` writes it") from None
    for number, line in enumerate(lines, 1):
        try:
            found.append(read_due(line))
        except (DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}:{number}: not what `interlock replay` writes: {error}") from None
    return found


def settled_in_files(paths: Iterable[Path]) -> Settled:
    """Return which events, in which revision, outcomes in files call confirmed or not; UserError as `Reader` has it."""
    decode, settled = outcome_decoder(b""), Settled()
    for chunk in Reader("outcomes", 0)(paths):
        settled |= _settled(decode(chunk)[0])
    return settled


def of_topics(connection: Connection) -> tuple[list[Due], Settled]:
    """Return what stands on `audits`, and what `outcomes` says was reviewed; both as they are now.

    Raises:
        Unreachable: no broker answers.
        UserError: a topic does not exist, or may not be read.
    """
    due = []
    for record in _records(connection, "audits"):
        try:
            due.append(read_due(record.value or b""))
        except (DecodeError, UnicodeDecodeError):
            continue  # another's record, or a later version's: nothing that we can ask people about
    decode, settled = outcome_decoder(b""), Settled()
    for record in _records(connection, "outcomes"):
        message = Message(record.value or b"", record.offset, record.timestamp, _content_type(record.headers))
        settled |= _settled(decode([message])[0])
    return due, settled


def _settled(batch: Outcomes) -> Settled:
    rows = (batch.confirmed_ood >= 0).nonzero()[0].tolist()
    return {(batch.ids.text(row), int(batch.revision[row])) for row in rows}


def _content_type(headers: Any) -> str | None:
    return next((value.decode("utf-8", "replace") for name, value in headers or () if name == CONTENT_TYPE), None)


def _records(connection: Connection, name: str) -> Iterator[Any]:
    """Yield all records of a topic up to its ends as seen at the start."""
    topic = connection.prefix + name
    settings = {
        **settings_of(connection),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "bootstrap_timeout_ms": TIMEOUT,
        "request_timeout_ms": TIMEOUT,
        "isolation_level": connection.isolation_level,
    }
    try:
        with closing(consumer(**settings)) as reader:
            yield from _read(reader, topic, Ends(lambda: consumer(**settings)))
    except AuthorizationError:
        raise UserError(lacks("Read", "topic", topic)) from None
    except KafkaError as error:
        raise Unreachable(f"{connection.bootstrap}: {str(error) or type(error).__name__}") from None


def _read(reader: Any, topic: str, unread: Ends) -> Iterator[Any]:
    places = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
    if not places:
        raise UserError(
            f"{topic}: no such topic, which `interlock topics` creates; or: {lacks('Read', 'topic', topic)}"
        )
    reader.assign(places)
    unread.ends = reader.end_offsets(places)
    brought = True
    while not unread.reached(reader, brought=brought):
        polled = reader.poll(timeout_ms=500)
        brought = bool(polled)
        for records in polled.values():
            yield from records
