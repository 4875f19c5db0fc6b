"""What engaged a control, frozen: the events that it names, fetched from Kafka and kept for a while where few may read."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from pydantic import ValidationError

from interlock.connection import Connection
from interlock.policies.causes import NOWHERE
from interlock.records import Control, canonical_json
from interlock.sinks.evidence import Clock, Frozen, State, wall
from interlock.streams.dead_letters import message_of
from interlock.streams.decode_events import event_of
from interlock.streams.junk import Junk, reason
from interlock.streams.originals import Originals
from interlock.streams.sink_target import Message
from interlock.streams.standing import Standing, TallyReader

MINUTE = 60_000
"""Milliseconds between two looks for what has expired."""

LEASE = b'["lease"'
"""How the keys of leases begin."""

log = logging.getLogger("interlock.sink")


class Store(Protocol):
    """Where frozen events are kept."""

    def write(self, rows: Sequence[Frozen]) -> None:
        """Add the events of a control; the same again changes nothing."""

    def purge(self, now: int) -> int:
        """Remove what has expired at `now` (ms); return how many."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long events are kept (ms since the control was issued) and which of their fields; None: all."""

    ttl: int
    fields: tuple[str, ...] | None = None


class EvidenceTarget:
    """Takes controls; when one engages it fetches the events that it names, of which tallies have told before."""

    name, topics = "evidence", ("control",)
    most, linger, recalls = 100, 0.0, False

    def __init__(self, store: Store, connection: Connection, keeping: Keeping, clock: Clock = wall) -> None:
        """Start with nothing read."""
        self._store, self._connection, self._keeping, self._clock = store, connection, keeping, clock
        self._tallies, self._junk, self._purged_at = TallyReader(connection), Junk(log), 0
        self._counts = dict.fromkeys(("frozen", "removed", "unknown", "another", "expired", "nameless", "purged"), 0)

    @property
    def counted(self) -> Mapping[str, int]:
        """What became of events, of controls that were too old or named none, and of messages that hold no control."""
        return {**self._counts, "unreadable": self._junk.count}

    def recall(self, message: Message) -> None:
        """Do nothing: the store knows what it holds."""

    def take(self, messages: Sequence[Message]) -> None:
        """Freeze what engaging controls name, and forget what has expired."""
        for message in messages:
            control = self._control(message)
            if control is not None and control.state == "engaged":
                self._try(control, message)
        if self._clock() - self._purged_at >= MINUTE:
            self._purged_at = self._clock()
            self._counts["purged"] += self._store.purge(self._purged_at)

    def close(self) -> None:
        """Let go of all, and say what was done."""
        self._tallies.close()
        self._store.close()
        log.info("stopped: %s", ", ".join(f"{n} {what}" for what, n in self.counted.items()))

    def _control(self, message: Message) -> Control | None:
        if message.value is None or (message.key or b"").startswith(LEASE):
            return None
        try:
            return Control.model_validate_json(message.value)
        except ValidationError as error:
            self._junk.skip(message, reason(error))
            return None

    def _try(self, control: Control, message: Message) -> None:
        try:
            self._freeze(control)
        except (ValueError, OverflowError) as error:  # an id or a time that nothing of ours has written
            self._junk.skip(message, reason(error))

    def _freeze(self, control: Control) -> None:
        names, now = list(named(control)), self._clock()
        if control.issued_at + self._keeping.ttl <= now:
            self._counts["expired"] += 1
            return
        if not names:
            self._counts["nameless"] += 1
            return
        self._tallies.catch_up()  # a judge has read of its events there, before it engaged
        with Originals(self._connection) as originals:
            rows = [self._row(control, name, originals, now) for name in names]
        self._store.write(rows)
        for row in rows:
            self._counts[row.state] += 1
        log.info(
            "control %s: %d of %d events frozen", control.control_id, sum(bool(x.payload) for x in rows), len(rows)
        )

    def _row(self, control: Control, event_id: str, originals: Originals, now: int) -> Frozen:
        found = self._tallies.standings.get(control.model, event_id)
        state, payload = fetched(originals, found, event_id)
        about = found or Standing(-1, NOWHERE, control.ts, frozenset())
        return Frozen(
            control_id=control.control_id,
            event_id=event_id,
            model=control.model,
            slo=control.slo,
            scope=canonical_json(control.scope),
            reason="; ".join(sorted(about.reasons)),
            ts=control.ts,
            event_ts=about.ts,
            state=state,
            payload=kept(payload, self._keeping.fields) if payload else "",
            partition=about.partition,
            offset=about.at[0],
            index=about.at[1],
            frozen_at=now,
            expires_at=control.issued_at + self._keeping.ttl,
        )


def named(control: Control) -> Iterator[str]:
    """Yield the ids of the events that a control names, each once."""
    told = control.evidence
    first = told.get("first")
    ids = [told.get("event"), first.get("event") if isinstance(first, Mapping) else None]
    events = told.get("events")
    ids += events if isinstance(events, list | tuple) else []
    yield from dict.fromkeys(one for one in ids if isinstance(one, str) and one)


def fetched(originals: Originals, found: Standing | None, event_id: str) -> tuple[State, str]:
    """Return an event as JSON, or why there is none; an event of another id is never taken for it."""
    if found is None:
        return "unknown", ""
    record = originals.get("predictions", found.partition, found.at[0])
    if record is None:
        return "removed", ""
    event = event_of(message_of(record), found.at[1])
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        whole = msgspec.json.decode(event.shown) if event else None
        if isinstance(whole, dict) and ("event_id" not in whole or event_id in map(str, whole.values())):
            return "frozen", msgspec.json.encode(whole).decode()
    return "another", ""


def kept(payload: str, fields: Sequence[str] | None) -> str:
    """Return an event with these fields alone: `score`, or `features.age` for one of an object's."""
    if fields is None:
        return payload
    return msgspec.json.encode(_only(msgspec.json.decode(payload), fields)).decode()


def _only(whole: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in whole.items():
        inner = [field.removeprefix(f"{name}.") for field in fields if field.startswith(f"{name}.")]
        if name in fields:
            found[name] = value
        elif inner and isinstance(value, Mapping):
            found[name] = _only(value, inner)
    return found
