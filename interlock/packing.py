"""Events of one partition, packed into one message of JSON lines: what a Kafka message costs is paid once for many."""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from interlock.protocol import CONTENT_TYPE, JSON_LINES

HEADERS = [(CONTENT_TYPE, JSON_LINES.encode())]


class Limits(Struct, frozen=True, kw_only=True):
    """When a message is sent, and how much may wait.

    A message goes `linger_ms` after its first event, or when it has `max_events` or `max_bytes`. Up to `buffer_bytes`
    wait in memory; beyond, a caller waits `max_block_ms` for room and then gets an EmitError.
    """

    linger_ms: float = 50
    max_events: int = 512
    max_bytes: int = 256 * 1024
    buffer_bytes: int = 64 << 20
    max_block_ms: float = 1000

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        for name in ("max_events", "max_bytes", "buffer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")


class Event(Struct, frozen=True, gc=False):
    """An event that was accepted: where it goes, its id, its line of JSON, bytes that it is counted as."""

    topic: str
    key: bytes
    line: bytes
    size: int


class Packed(NamedTuple):
    """A message: events of one partition, in the order of their acceptance."""

    topic: str
    partition: int
    events: list[Event]

    @property
    def key(self) -> bytes:
        """The first event's id."""
        return self.events[0].key

    @property
    def value(self) -> bytes:
        """The lines."""
        return b"\n".join([event.line for event in self.events])

    @property
    def size(self) -> int:
        """Bytes that its events are counted as."""
        return sum([event.size for event in self.events])

    def halves(self) -> tuple["Packed", "Packed"]:
        """Return two messages of half as many events, for a broker that takes no such large one."""
        middle = len(self.events) // 2
        return self._replace(events=self.events[:middle]), self._replace(events=self.events[middle:])


class _Bin:
    """A message in the making; `due` is when it must go, in seconds of the caller's clock."""

    __slots__ = ("bytes", "due", "events")

    def __init__(self, due: float) -> None:
        self.events: list[Event] = []
        self.bytes = 0
        self.due = due


class Packer:
    """Messages in the making, one per partition."""

    def __init__(self, limits: Limits) -> None:
        """Start with none."""
        self._limits = limits
        self._bins: dict[tuple[str, int], _Bin] = {}

    def add(self, event: Event, partition: int, due: float) -> Packed | None:
        """Add an event; return the message that has thereby become full, or that has no room for it."""
        place = (event.topic, partition)
        bin_ = self._bins.get(place)
        full = None
        if bin_ is not None and bin_.bytes + len(event.line) > self._limits.max_bytes:
            full, bin_ = self._take(place), None
        if bin_ is None:
            bin_ = self._bins[place] = _Bin(due)
        bin_.events.append(event)
        bin_.bytes += len(event.line) + 1
        if full is None and len(bin_.events) >= self._limits.max_events:
            full = self._take(place)
        return full

    def due(self, now: float) -> Iterator[Packed]:
        """Yield the messages that must go; `inf` asks for all."""
        for place in [place for place, bin_ in self._bins.items() if bin_.due <= now]:
            yield self._take(place)

    @property
    def next_due(self) -> float | None:
        """When the next message must go; None if there is none."""
        return min((bin_.due for bin_ in self._bins.values()), default=None)

    def _take(self, place: tuple[str, int]) -> Packed:
        return Packed(*place, self._bins.pop(place).events)
