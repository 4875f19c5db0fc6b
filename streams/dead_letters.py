"""Dead letters on their way back: which events they stand for, and whether these can be read now. Pure.

A letter carries the first 4 KiB of its event. All of it comes from the record that the letter names, as long as Kafka
keeps that; what is neither there nor whole in the letter is gone, and is never guessed.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from interlock.events import MAX_ID_BYTES
from interlock.protocol import CONTENT_TYPE, INPUTS, JSON
from interlock.streams.batch import AbuseReports, DeadLetter, Message, Outcomes, Predictions, Wanted
from interlock.streams.decode import Decoder, abuse_decoder, outcome_decoder, prediction_decoder, sniff
from interlock.streams.decode_events import Event, event_of
from interlock.streams.live_shard import RENAMED
from interlock.streams.mapping import Mapping as FieldMap

REFED = "interlock-refed"
"""Header of an event that is fed again, and of the mark on `dead-letters` that it was: the letter's identity."""

MAX_SKEW = 300_000
"""Milliseconds by which an event may be ahead of its record, where no policy says."""

Headers = tuple[tuple[str, bytes], ...]


class Fate(StrEnum):
    """What becomes of a dead letter."""

    READY = "ready"
    DONE = "fed before"
    REFUSED = "still unreadable"
    GONE = "gone"


class Letter(msgspec.Struct, frozen=True):
    """A dead letter, one JSON line. `partition` is None where a file was read; `offset` counts its events then."""

    topic: str
    offset: int
    index: int
    reason: str
    detail: str
    raw: str
    size: int
    digest: str
    partition: int | None = None

    @property
    def identity(self) -> str:
        """Where its event stood: topic/partition/offset/index."""
        return f"{self.topic}/{self.partition}/{self.offset}/{self.index}"

    @property
    def whole(self) -> Event | None:
        """Its event, if the letter carries all of it, to the byte."""
        raw = self.raw.encode("utf-8", "surrogatepass")
        return Event(raw, JSON, raw) if hashlib.sha256(raw).hexdigest() == self.digest else None


class Found(Protocol):
    """The shape of a Kafka record."""

    @property
    def value(self) -> bytes | None:
        """Its bytes."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def timestamp(self) -> int:
        """Its append time, in ms."""

    @property
    def headers(self) -> Any:
        """Pairs of name and value."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What becomes of a letter, with the message that takes its place if it is ready; `why` says what is missing else."""

    letter: Letter
    fate: Fate
    value: bytes = b""
    key: bytes | None = None
    headers: Headers = ()
    why: str = ""


def read_letter(line: bytes) -> Letter:
    """Return the dead letter in a JSON line; msgspec.MsgspecError or UnicodeDecodeError if it is none."""
    letter = msgspec.json.decode(line, type=Letter)
    if letter.topic not in INPUTS:
        raise msgspec.ValidationError(f"expected a topic of {', '.join(INPUTS)}, got {letter.topic[:100]}")
    return letter


Refusal = Callable[[str, Message], DeadLetter | None]
"""Why a message of a topic cannot be read; None if all of it can."""


def refusals(paths: frozenset[str] = frozenset(), max_skew: int = MAX_SKEW, *, embedded: bool = True) -> Refusal:
    """Return what says whether a message can be read; `paths` are the fields that a policy reads.

    `embedded`: also the predictions that outcomes carry.
    """
    wanted = Wanted(paths=paths)
    decoders: dict[str, Decoder[Predictions] | Decoder[Outcomes] | Decoder[AbuseReports]] = {
        "predictions": prediction_decoder(wanted, b"").timely(max_skew),
        "outcomes": outcome_decoder(b"", embedded=wanted if embedded else None).timely(max_skew),
        "abuse": abuse_decoder(wanted, b"").timely(max_skew),
    }

    def refused(topic: str, message: Message) -> DeadLetter | None:
        dead = decoders[topic]([message])[1]
        return dead[0] if dead else None

    return refused


@dataclass(frozen=True, slots=True)
class Repair:
    """Tries letters anew: as they are, and else by field names of `mapping`; `now` (ms) is when they would be appended.

    `anyway`: also what cannot be read, for readers that know more than we do.
    """

    now: int
    refused: Refusal
    mapping: FieldMap | None = None
    anyway: bool = False

    def __call__(self, letter: Letter, record: Found | None) -> Fed:
        """Return what becomes of a letter; `record` is what stands in Kafka where its event stood, if anything does."""
        event, fault = _original(letter, record)
        if event is None:
            return Fed(letter, Fate.GONE, why=fault)
        message, why = self._readable(letter.topic, event)
        if why is not None and not self.anyway:
            return Fed(letter, Fate.REFUSED, why=f"{why.reason}: {why.detail}")
        key = _key(message.value) if record is None else record.key
        return Fed(letter, Fate.READY, message.value, key, _headers(letter, message, record))

    def _readable(self, topic: str, event: Event) -> tuple[Message, DeadLetter | None]:
        """Return the event as it is or in our names, whichever can be read; else as it is, and why it cannot."""
        sent = Message(event.value, 0, self.now, event.content_type)
        why = self.refused(topic, sent)
        if why is None or self.mapping is None:
            return sent, why
        ours = sent._replace(value=RENAMED[sniff(sent)](self.mapping.of(topic), sent.value))
        still = self.refused(topic, ours)
        return (ours, None) if still is None else (sent, still)


def _original(letter: Letter, record: Found | None) -> tuple[Event | None, str]:
    """Return all of a letter's event, to the byte; else None and why there is none."""
    if record is not None:
        event = event_of(message_of(record), letter.index)
        if event is not None and hashlib.sha256(event.shown).hexdigest() == letter.digest:
            return event, ""
    if letter.whole is not None:
        return letter.whole, ""
    kept = f"the letter carries {len(letter.raw.encode('utf-8', 'surrogatepass'))} of {letter.size} bytes"
    return None, f"{kept}, and {'its record is not kept' if record is None else 'another event stands where it was'}"


def message_of(record: Found) -> Message:
    """Return a record as decoders take it."""
    kinds = (
        text.decode("utf-8", "replace") for name, text in record.headers if name == CONTENT_TYPE and text is not None
    )
    return Message(record.value or b"", 0, record.timestamp, next(kinds, None))


def _key(value: bytes) -> bytes | None:
    """Return the key of an event whose record is gone: its id."""
    try:
        found = msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None
    name = found.get("event_id") if isinstance(found, dict) else None
    return name.encode()[:MAX_ID_BYTES] if isinstance(name, str) else None


def _headers(letter: Letter, message: Message, record: Found | None) -> Headers:
    others = () if record is None else record.headers
    kept = tuple((name, text) for name, text in others if text is not None and name not in (CONTENT_TYPE, REFED))
    kind = () if message.content_type is None else ((CONTENT_TYPE, message.content_type.encode()),)
    return *kept, *kind, (REFED, letter.identity.encode())


def counted(fed: list[Fed]) -> Mapping[str, Mapping[Fate, int]]:
    """Return how many letters of each reason have which fate, the most frequent reason first."""
    table: dict[str, dict[Fate, int]] = {}
    for one in fed:
        row = table.setdefault(one.letter.reason, dict.fromkeys(Fate, 0))
        row[one.fate] += 1
    return dict(sorted(table.items(), key=lambda item: (-sum(item[1].values()), item[0])))
