"""Emitter: how serving systems and labellers tell Interlock what was predicted and what turned out (DESIGN.md §2).

    with Emitter("127.0.0.1:9092") as emit:
        emit.prediction(event_id=case, model="claims-triage", score=0.93, features={"amount": 1250.0})

Light: kafka-python and msgspec are all it needs. A call takes microseconds; a thread packs and sends.
"""

import os
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import json as msgspec_json

from interlock.connection import Connection as Connection
from interlock.delivery import Delivery
from interlock.emit_files import Files
from interlock.events import MAX_EVENT_BYTES, MAX_ID_BYTES, AbuseReport, Outcome, Prediction
from interlock.outbox import EmitError as EmitError
from interlock.packing import Event, Limits
from interlock.reaching import compression_of, settings_of

FIELDS = {
    "predictions": frozenset(Prediction.__struct_fields__),
    "outcomes": frozenset(Outcome.__struct_fields__),
    "abuse": frozenset(AbuseReport.__struct_fields__),
}
REQUIRED = {
    topic: tuple(name for name in ("event_id", "model", "category") if name in fields)
    for topic, fields in FIELDS.items()
}

MOST_BYTES = MAX_EVENT_BYTES - 4096
"""Bytes of JSON that an event may have: with its id and Kafka's framing, it still is a message of 1 MiB."""

OVERHEAD = 250
"""Bytes that an event takes in memory beside its JSON."""

CHUNK = 512
"""Events that `send_many` hands over together."""

PATIENCE = 30.0
"""Seconds that a flush waits unless told."""


class Out(Protocol):
    """Where events go."""

    @property
    def sent(self) -> int:
        """Events accepted."""

    @property
    def acknowledged(self) -> int:
        """Events that are safe."""

    @property
    def failed(self) -> int:
        """Events that were refused for good."""

    def put(self, events: Sequence[Event], size: int) -> None:
        """Accept events of this size together."""

    def flush(self, timeout: float | None) -> None:
        """Make safe what was accepted."""

    def close(self, timeout: float | None) -> None:
        """Make safe what was accepted, and stop."""

    def anew(self) -> Self:
        """Return what takes its place in a forked process."""


class Emitter:
    """Sends events, packed, in the background; what it accepts it delivers, however long the broker is away.

    Any thread may call it, and a forked process goes on with what it inherits. A field that is None is left out.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        prefix: str | None = None,
        instance: str | None = None,
        connection: Connection | None = None,
        kafka: Mapping[str, Any] | None = None,
        **limits: float,
    ) -> None:
        """Begin; nothing is connected before the first event.

        How Kafka is reached is said by `connection`; without one, by INTERLOCK_… variables, and `bootstrap` and `prefix`
        stand over theirs. `instance` is put into every prediction that names none. `kafka` are further settings of
        kafka-python's producer. `limits` are those of `interlock.packing.Limits`:
        `linger_ms`, `max_events`, `max_bytes`, `buffer_bytes`, `max_block_ms`.

        Raises:
            TypeError, ValueError: A limit that does not exist, or is impossible.
            UserError: Something is wrong with the connection, a line each.
        """
        to = connection or Connection.of_environment(bootstrap=bootstrap, prefix=prefix)
        settings = {**settings_of(to), **compression_of(to), **(kafka or {})}
        self._begin(Delivery(settings, Limits(**limits)), to.prefix, instance)  # type: ignore[arg-type]

    @classmethod
    def to_file(cls, folder: str | Path, *, instance: str | None = None) -> Self:
        """Return an emitter that appends to predictions.jsonl, outcomes.jsonl and abuse.jsonl, for `interlock replay`."""
        emitter = cls.__new__(cls)
        emitter._begin(Files(Path(folder)), "", instance)  # noqa: SLF001 - its own
        return emitter

    def _begin(self, out: Out, prefix: str, instance: str | None) -> None:
        self._out, self._instance = out, instance
        self._topics = {name: prefix + name for name in FIELDS}
        _EMITTING.add(self)

    def prediction(self, *, event_id: str, model: str, ts: int | str | None = None, **fields: Any) -> None:
        """Send what a model said, and what was done with it; fields are those of `interlock.events.Prediction`.

        `ts` is ms since 1970 UTC or RFC 3339, by default now.

        Raises:
            TypeError, ValueError: A field that does not exist, or no id.
            EmitError: There is no room for more; nothing was accepted.
        """
        fields["event_id"], fields["ts"], fields["model"] = event_id, ts, model
        self._send("predictions", fields)

    def outcome(self, *, event_id: str, ts: int | str | None = None, **fields: Any) -> None:
        """Send what turned out to be true of a prediction; fields are those of `interlock.events.Outcome`.

        `prediction`, which only `labels.joined_at_source` asks for, has the fields of one, `ts` and `model` among them.

        Raises: see `prediction`.
        """
        fields["event_id"], fields["ts"] = event_id, ts
        self._send("outcomes", fields)

    def abuse(self, *, event_id: str, model: str, category: str, ts: int | str | None = None, **fields: Any) -> None:
        """Send a report of misuse or harm; fields are those of `interlock.events.AbuseReport`.

        Raises: see `prediction`.
        """
        self._send("abuse", {"event_id": event_id, "ts": ts, "model": model, "category": category, **fields})

    def send_many(self, topic: str, events: Iterable[Mapping[str, Any]]) -> int:
        """Send whole events to `predictions`, `outcomes` or `abuse`; return how many.

        After an error those before the event that it names may have been accepted; sent again, they count once.

        Raises: see `prediction`; the message of a TypeError or ValueError names the event by its place, from 0.
        """
        if topic not in FIELDS:
            raise ValueError(f"topic {topic!r}; expected one of {', '.join(FIELDS)}")
        rows = iter(events)
        count = 0
        while chunk := list(islice(rows, CHUNK)):
            lines = []
            for row in chunk:
                try:
                    lines.append(self._event(topic, row))
                except (TypeError, ValueError) as error:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind(f"event {count + len(lines)}: {error}") from error
            self._out.put(lines, sum([line.size for line in lines]))
            count += len(lines)
        return count

    @property
    def sent(self) -> int:
        """Events accepted so far."""
        return self._out.sent

    @property
    def acknowledged(self) -> int:
        """Events that the broker has."""
        return self._out.acknowledged

    @property
    def failed(self) -> int:
        """Events that the broker refused for good, such as too large ones."""
        return self._out.failed

    def flush(self, timeout: float | None = PATIENCE) -> None:
        """Wait until everything accepted so far is acknowledged; `timeout` in seconds, None for ever.

        Raises:
            EmitError: Something is not acknowledged yet, or was refused since the last flush.
        """
        self._out.flush(timeout)

    def close(self, timeout: float | None = PATIENCE) -> None:
        """Flush and stop; more events are refused. A process that ends without it flushes for ten seconds.

        Raises:
            EmitError: Something was not acknowledged in time, and is lost.
        """
        _EMITTING.discard(self)
        self._out.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, topic: str, fields: Mapping[str, Any]) -> None:
        event = self._event(topic, fields)
        self._out.put((event,), event.size)

    def _event(self, topic: str, fields: Mapping[str, Any]) -> Event:
        row = {name: value for name, value in fields.items() if value is not None}
        if not row.keys() <= FIELDS[topic]:
            raise TypeError(_unknown(topic, row))
        for name in REQUIRED[topic]:
            if not (isinstance(value := row.get(name), str) and value):
                raise (ValueError if name not in row or value == "" else TypeError)(
                    f"{name}: found {fields.get(name)!r}; expected text"
                )
        if topic == "outcomes" and "prediction" in row:
            row["prediction"] = _predicted(row["prediction"])
        if "ts" not in row:
            row["ts"] = time.time_ns() // 1_000_000
        if self._instance is not None and topic == "predictions":
            row.setdefault("instance", self._instance)
        key = row["event_id"].encode()
        line = _encode(row)
        if len(key) > MAX_ID_BYTES or len(line) > MOST_BYTES:
            raise ValueError(
                f"event of {len(line)} bytes, its id of {len(key)}; expected at most {MOST_BYTES} and {MAX_ID_BYTES}"
            )
        return Event(self._topics[topic], key, line, len(line) + OVERHEAD)

    def _go_on(self) -> None:
        self._out = self._out.anew()


_EMITTING: "weakref.WeakSet[Emitter]" = weakref.WeakSet()


def _after_fork() -> None:
    for emitter in list(_EMITTING):
        emitter._go_on()  # noqa: SLF001 - a forked worker of a server has the emitter, but not its thread


os.register_at_fork(after_in_child=_after_fork)


def _unknown(topic: str, row: Mapping[str, Any]) -> str:
    unknown = ", ".join(sorted(map(repr, row.keys() - FIELDS[topic])))
    return f"{topic} have no field {unknown}; expected some of {', '.join(sorted(FIELDS[topic]))}"


def _predicted(fields: Any) -> dict[str, Any]:
    """Return the prediction that an outcome carries; it has the outcome's id, and needs its own time and model."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"prediction: found {fields!r}; expected the fields of a prediction")
    row = {name: value for name, value in fields.items() if value is not None and name != "event_id"}
    if not row.keys() <= FIELDS["predictions"]:
        raise TypeError(_unknown("predictions", row))
    for name in ("ts", "model"):
        if not row.get(name):
            raise ValueError(f"prediction.{name}: found {fields.get(name)!r}; an outcome's prediction needs it")
    return row


def _plain(value: Any) -> Any:
    """Return a number or list for what numpy and its like hold."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"found a {type(value).__name__}; expected text, numbers, booleans, lists and mappings of them")


_encode = msgspec_json.Encoder(enc_hook=_plain).encode
