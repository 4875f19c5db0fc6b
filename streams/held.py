"""What a worker holds: shards and judges, each with where its state is written and how far that has come."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from interlock.errors import UserError
from interlock.protocol import CONTENT_TYPE, INPUTS
from interlock.streams.batch import Message
from interlock.streams.checkpoints import Saved, Writer
from interlock.streams.live import Outgoing
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard


def now_ms() -> int:
    """Return the wall clock in ms."""
    return int(time.time() * 1000)  # noqa: TID251 - a driver: leases, signs of life and idleness go by the wall


class Place(NamedTuple):
    """A topic, without prefix, and a partition."""

    topic: str
    partition: int


class Key(NamedTuple):
    """What reads places: "shard" or "judge", and its number."""

    kind: str
    number: int


def reader(place: Place) -> Key:
    """Return what reads a place."""
    return Key("judge" if place.topic == "tallies" else "shard", place.partition)


def readers(places: set[Place]) -> list[Key]:
    """Return what these places make.

    Raises:
        UserError: the topics of a shard came apart.
    """
    numbers = {topic: {p.partition for p in places if p.topic == topic} for topic in (*INPUTS, "tallies")}
    if len({frozenset(numbers[topic]) for topic in INPUTS}) != 1:
        shown = ", ".join(f"{topic} {sorted(numbers[topic])}" for topic in INPUTS)
        raise UserError(f"the topics of a shard came apart: {shown}; every worker of the group must be of this version")
    return [Key("shard", n) for n in sorted(numbers[INPUTS[0]])] + [Key("judge", n) for n in sorted(numbers["tallies"])]


@dataclass(slots=True)
class Held:
    """A shard or a judge that is ours, and its checkpoints: `saved` is the mark that the last durable one covers."""

    it: LiveShard | LiveJudge
    writer: Writer
    saved: Mapping[str, int] | None = None
    saved_at: float = 0.0
    saved_size: int = 0
    pause: float = 0.0
    heard: dict[str, float] = field(default_factory=dict)
    """Per topic, when records last came (monotonic seconds)."""
    idle: set[str] = field(default_factory=set)
    damaged: bool = False
    """Whether states of it were left, but none that is whole: it begins anew, and needs all records from the first on."""
    torn: bool = False
    """Whether a step of it has failed half-way: such a state belongs to no position, and is saved nowhere."""
    missing: Saved | None = None
    """The state whose blocks are still to be read back: until then it counts nothing, and is saved nowhere."""
    filling: asyncio.Task[None] | None = None
    """What reads them back."""

    @property
    def positions(self) -> dict[str, int]:
        """What its state covers."""
        return {"tallies": self.it.position} if isinstance(self.it, LiveJudge) else dict(self.it.positions)

    @property
    def moved(self) -> Mapping[str, int]:
        """A mark that changes when there is something new to save: signs of life are not."""
        return {"news": self.it.news} if isinstance(self.it, LiveJudge) else dict(self.it.positions)

    @property
    def size(self) -> int:
        """Bytes of all events that were ever remembered: it grows by what there is to save."""
        return sum(store.remembered for store in self.it.shard.stores()) if isinstance(self.it, LiveShard) else 0

    def save(self) -> list[Outgoing]:
        """Return the messages of its state."""
        self.torn = True  # a disk that cannot be read leaves blocks named that were never sent
        state = self.it.snapshot(blocks=True) if isinstance(self.it, LiveShard) else self.it.snapshot()
        said = self.writer.write(state)
        self.torn = False
        return said

    async def whole(self) -> bool:
        """Wait until its memory was read back; return whether it is: else it was let go meanwhile, or that has failed."""
        if self.filling is not None:
            await asyncio.wait({self.filling})
        return self.missing is None

    def leave(self) -> None:
        """Read back no more."""
        filling, self.filling = self.filling, None
        if filling is not None:
            filling.cancel()

    def close(self) -> None:
        """Let go what is on disk."""
        self.leave()
        if isinstance(self.it, LiveShard):
            self.it.close()

    def take(self, topic: str, records: Sequence[Any], end: int) -> list[Outgoing]:
        """Take in all of a topic up to an offset; return what it says.

        Markers of transactions, and what these took back, are no records: nothing was heard by them.
        """
        self.torn = True  # until it is done, and for good if it is not
        if records:
            self.hear(topic)
        said = list(_taken(self.it, topic, records)) if records else []
        self.it.passed(topic, end)
        self.torn = False
        return said

    def hear(self, topic: str) -> None:
        """Note that records of a topic came."""
        self.heard[topic] = time.monotonic()
        self.idle.discard(topic)

    def silence(self, topic: str) -> float:
        """Return for how long no records of a topic came, in seconds."""
        return time.monotonic() - self.heard.setdefault(topic, time.monotonic())


def _taken(it: LiveShard | LiveJudge, topic: str, records: Sequence[Any]) -> Iterable[Outgoing]:
    if isinstance(it, LiveJudge):
        return it.read([(record.offset, record.value or b"") for record in records], now_ms())
    if topic == "outcomes":
        it.patience(patient=True)
    return it.read(topic, list(map(message_of, records)))


def message_of(record: Any) -> Message:
    """Return a record of Kafka as a shard takes it."""
    kind = _content_type(record.headers) if record.headers else None
    return Message(record.value or b"", record.offset, record.timestamp, kind)


def _content_type(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    for name, value in headers:
        if name == CONTENT_TYPE:
            return None if value is None else value.decode("utf-8", "replace")
    return None
