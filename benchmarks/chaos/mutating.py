"""Messages that went wrong in every way that bytes and fields can: a seeded mutator of good ones."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from interlock.protocol import ARROW, CONTENT_TYPE, JSON

TOPICS = ("predictions", "outcomes", "abuse")
START, EVERY = 1_700_000_000_000, 100

SHARES, FRAME = (0.4, 0.3, 0.2, 0.05, 0.05), 4
"""How often bytes, a value, a field, the type, or the bytes of a frame of Arrow are wrong; which of them is the frame."""

Headers = Sequence[tuple[str, bytes]]


class Mutant(NamedTuple):
    """A message of a topic. Whatever it holds, it is one event at least, and exactly one unless it is a frame of Arrow."""

    topic: str
    value: bytes | None
    headers: Headers = ()
    is_frame: bool = False


ODD: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"0", b"1e999", b"-1e999", b"1e-400", b"NaN", b"Infinity", b"9223372036854775808", b'""',
    b"-9223372036854775809", b"1" * 400, b'"' + b"x" * 3000 + b'"', b"[]", b"{}", b"[1,[2,[3]]]", b'{"a":{"b":null}}',
    b'"\\ud800"', b'"\\u0000"', b'"2026-01-01T00:00:00Z"', b'"1700000000000"', b"0.1", b"-0.0", b"[" * 2000, b"'x'",
)  # fmt: skip
"""What may stand where a value is expected."""

TYPES = (b"text/plain", b"", b"\xff\xfe", b"application/avro", ARROW.encode(), JSON.encode() + b"; charset=latin-1")


def event(topic: str, i: int) -> dict[str, Any]:
    """Return a good event of a topic, by its number."""
    made: dict[str, Any] = {"event_id": f"e{i}", "ts": START + i * EVERY}
    if topic == "outcomes":
        return made | {"label": i % 4 != 0}
    made |= {"model": "m", "model_version": "1", "segment": {"tenant": ("north", "south", "west")[i % 3]}}
    if topic == "abuse":
        return made | {"category": "spam"}
    return made | {
        "score": 0.75,
        "ood_score": 0.1,
        "decision": "pay",
        "features": {"amount": float(i % 100), "code": "a"},
    }


def text(made: Mapping[str, Any]) -> bytes:
    """Return an event as JSON."""
    return json.dumps(made, separators=(",", ":")).encode()


def _topic(i: int) -> str:
    return TOPICS[0] if i % 20 < 10 else TOPICS[1] if i % 20 < 19 else TOPICS[2]


@dataclass
class Mutator:
    """Yields mutants of a seed."""

    seed: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Start."""
        self.rng = np.random.default_rng(self.seed)

    def good(self, count: int) -> Iterator[Mutant]:
        """Yield the messages before anything is done to them: one in twenty is a frame of Arrow."""
        for i, way in enumerate(self._ways(count)):
            made = event(_topic(i), i)
            yield Mutant(_topic(i), _frame(made), is_frame=True) if way == FRAME else Mutant(_topic(i), text(made))

    def mutants(self, count: int) -> Iterator[Mutant]:
        """Yield a mutant of each of them."""
        ways: Sequence[Callable[[str, int], Mutant]] = (self._bytes, self._value, self._field, self._typed, self._arrow)
        for i, way in enumerate(self._ways(count)):
            yield ways[way](_topic(i), i)

    def _ways(self, count: int) -> list[int]:
        chosen: list[int] = np.random.default_rng([self.seed, count]).choice(5, count, p=SHARES).tolist()
        return chosen

    def _int(self, below: int) -> int:
        return int(self.rng.integers(below))

    def _bytes(self, topic: str, i: int) -> Mutant:
        """Wrong bytes in a message of JSON; never a line feed, so that it stays one event."""
        return Mutant(topic, self._bent(text(event(topic, i))).replace(b"\n", b"\t"))

    def _bent(self, value: bytes) -> bytes:
        at, to = sorted((self._int(len(value) + 1), self._int(len(value) + 1)))
        junk = self.rng.bytes(1 + self._int(8))
        made = (
            value[:at],
            value[:at] + value[to:],
            value[:to] + value[at:],
            value[:at] + junk + value[at:],
            junk * (1 + self._int(50)),
            value.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + value,
            value + value,
            self._flipped(value),
        )
        return made[self._int(len(made))]

    def _flipped(self, value: bytes) -> bytes:
        made = bytearray(value)
        for _ in range(1 + self._int(4)):
            made[self._int(len(made))] ^= 1 << self._int(8)
        return bytes(made)

    def _value(self, topic: str, i: int) -> Mutant:
        """An odd value in the place of a good one."""
        good = event(topic, i)
        names = list(good)
        name = names[self._int(len(names))]
        return Mutant(topic, text(good | {name: "@@"}).replace(b'"@@"', ODD[self._int(len(ODD))]))

    def _field(self, topic: str, i: int) -> Mutant:
        """A field that is not there, has another name, is there twice, or is of another topic."""
        good = event(topic, i)
        names = list(good)
        name = names[self._int(len(names))]
        match self._int(4):
            case 0:
                good.pop(name)
            case 1:
                good[name.upper()] = good.pop(name)
            case 2:
                return Mutant(topic, text(good)[:-1] + b',"%s":%s}' % (name.encode(), ODD[self._int(len(ODD))]))
            case _:
                good = event(TOPICS[self._int(3)], i) | {"more": {"a": [i] * self._int(50)}}
        return Mutant(topic, text(good))

    def _typed(self, topic: str, i: int) -> Mutant:
        """A good message under a wrong type, or none at all."""
        if self._int(10) == 0:
            return Mutant(topic, (None, b"", b" ")[self._int(3)])
        return Mutant(topic, text(event(topic, i)), [(CONTENT_TYPE, TYPES[self._int(len(TYPES))])])

    def _arrow(self, topic: str, i: int) -> Mutant:
        """A frame of Arrow with wrong bytes."""
        frame = _frame(event(topic, i))
        bent = frame[: self._int(len(frame))] if self._int(2) else self._flipped(frame)
        return Mutant(topic, bent, [(CONTENT_TYPE, ARROW.encode())] if self._int(2) else (), is_frame=True)


def _frame(made: Mapping[str, Any]) -> bytes:
    table, sink = pa.Table.from_pylist([dict(made)]), pa.BufferOutputStream()
    ipc: Any = pa.ipc
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
