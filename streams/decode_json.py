"""JSON messages into decoded Structs: the fast way for whole chunks, the slow one for just the events that need it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from operator import contains
from typing import Any, NamedTuple

import msgspec
import numpy as np

from interlock.events import MAX_EVENT_BYTES
from interlock.streams.batch import Lines, Message
from interlock.streams.decode_dead import Bad, Faults, Where
from interlock.streams.decode_json_read import missing
from interlock.streams.decode_json_shape import Part, Shape

ONE_VALUE = msgspec.json.Decoder(msgspec.Raw)


class Texts(NamedTuple):
    """Events as JSON texts, and where each stands."""

    values: list[bytes]
    where: Where
    from_file: bool = False

    def parts(self, rows: int) -> Iterator["Texts"]:
        """Yield stretches of at most `rows` events; at least one, perhaps empty."""
        for start in range(0, max(len(self.values), 1), rows):
            yield Texts(self.values[start : start + rows], self.where.part(start, start + rows), self.from_file)


class JsonReader:
    """Decodes events of one shape; what is bad gets a default Struct in its place and a fault."""

    def __init__(self, shape: Shape) -> None:
        """Compile the decoders."""
        self.shape = shape
        fast, general = shape.decoders()
        self._fast: Callable[[bytes], Any] = fast.decode
        self._general: Callable[[bytes], Any] = general.decode
        self._blank = _blank(shape)

    def read(self, texts: Sequence[bytes]) -> tuple[list[Any], Faults]:
        """Return a Struct per text, in order, and the faults by row."""
        faults: Faults = {}
        if texts and max(map(len, texts)) > MAX_EVENT_BYTES:
            texts = [self._within(text, row, faults) for row, text in enumerate(texts)]
        if not all(map(bytes.isascii, texts)):  # what is skipped while decoding must be text all the same
            texts = [self._text(text, row, faults) for row, text in enumerate(texts)]
        events: list[Any] = []
        rest = iter(texts)
        while True:
            try:
                # When decoding raises, what came before stays in the list: its length says which event it was.
                events.extend(map(self._fast, rest))
            except (ValueError, RecursionError):
                events.append(self._slow(texts[len(events)], len(events), faults))
            else:
                return events, faults

    def _within(self, text: bytes, row: int, faults: Faults) -> bytes:
        if len(text) <= MAX_EVENT_BYTES:
            return text
        faults[row] = Bad("too_large", f"$: expected at most {MAX_EVENT_BYTES} bytes, got {len(text)}")
        return b""

    def _text(self, text: bytes, row: int, faults: Faults) -> bytes:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            faults[row] = Bad("not_utf8", f"$: {error}")
            return b""
        return text

    def _slow(self, text: bytes, row: int, faults: Faults) -> Any:
        if row in faults:
            return self._blank
        try:
            return _coerce(self.shape.top, self.shape.groups, self._parse(text), "$")
        except Bad as fault:
            faults[row] = fault
            return self._blank

    def _parse(self, text: bytes) -> Any:
        try:
            return self._general(text)
        except msgspec.ValidationError as error:
            raise _mistyped(str(error)) from None
        except UnicodeDecodeError as error:
            raise Bad("not_utf8", f"$: {error}") from None
        except RecursionError:
            raise Bad("not_json", "$: expected JSON, found one nested too deeply") from None
        except ValueError as error:
            raise Bad("not_json", f"$: expected JSON: {error}") from None


def texts_of_lines(lines: Lines, topic: str) -> Texts:
    """Return the events of a stretch of a file."""
    count = len(lines.values)
    offsets = np.arange(lines.offset, lines.offset + count, dtype=np.int64)
    appended = np.full(count, lines.appended, dtype=np.int64)
    return Texts(lines.values, Where(topic, offsets, np.zeros(count, dtype=np.int32), appended), from_file=True)


def texts_of_messages(messages: Sequence[Message], topic: str) -> Texts:
    """Return the events of messages that hold a JSON object or JSON lines; an empty message is one bad event."""
    values, counts = [message.value for message in messages], [1] * len(messages)
    if any(map(contains, values, repeat(b"\n"))):
        parts = list(map(split, messages))
        values, counts = list(chain.from_iterable(parts)), list(map(len, parts))
    offsets = np.array([message.offset for message in messages], dtype=np.int64)
    appended = np.array([message.appended for message in messages], dtype=np.int64)
    ends = np.cumsum(counts, dtype=np.int64)
    index = np.arange(len(values), dtype=np.int64) - np.repeat(ends - counts, counts)
    return Texts(values, Where(topic, np.repeat(offsets, counts), index.astype(np.int32), np.repeat(appended, counts)))


def split(message: Message) -> list[bytes]:
    """Return the JSON texts of the events in a message."""
    value = message.value
    if b"\n" not in value:
        return [value]
    if message.content_type is None and _is_one_value(value):
        return [value]
    if message.content_type == "application/json":
        return [value]
    return [line for line in value.split(b"\n") if line and not line.isspace()] or [b""]


def _is_one_value(value: bytes) -> bool:
    try:
        ONE_VALUE.decode(value)
    except (ValueError, RecursionError):
        return False
    return True


def _blank(shape: Shape) -> Any:
    nothing = {f"f{place}": field for place, field in enumerate(shape.top.fields) if field.required}
    values = {place: 0 if field.name == "ts" else "" for place, field in nothing.items()}
    return shape.top.fast(**values)


def _coerce(part: Part, groups: dict[str, Part], value: Any, path: str) -> Any:
    read = []
    for place, field in enumerate(part.fields):
        item = getattr(value, f"f{place}")
        if field.name in groups and field.fast is None:
            below = groups[field.name]
            read.append(below.fast() if item is None else _coerce(below, {}, item, f"{path}.{field.name}"))
            continue
        found = field.read(item, f"{path}.{field.name}")
        if found is None and field.required:
            raise missing(f"{path}.{field.name}")
        read.append(found)
    return part.fast(*read)


def _mistyped(message: str) -> Bad:
    what, at, path = message.partition(" - at ")
    reason = "out_of_range" if what.startswith(("Number out of range", "Integer value out of range")) else "wrong_type"
    return Bad(reason, f"{path.strip('`') if at else '$'}: {what}")
