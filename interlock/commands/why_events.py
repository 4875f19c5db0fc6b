"""The events behind a verdict, as they were frozen, or why one is not there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from rich.console import Console

from interlock.commands.why_show import PREFIX, heading, paragraph
from interlock.policies.why import Explanation
from interlock.policies.why_words import when
from interlock.sinks.evidence import Frozen, State, wall

WHY_NOT: Mapping[State, str] = {
    "removed": "Kafka did not have it any more (retention) when it was to be frozen",
    "unknown": "no tally that Kafka still had says where it stood",
    "another": "another event, or none that can be read, stood where it was",
}
NOT_THERE = "not frozen, or its time is over"


class Evidence(Protocol):
    """Where frozen events are read."""

    def read(self, controls: Sequence[str], now: int) -> list[Frozen]:
        """Return the events of controls that have not expired at `now` (ms); UserError if we may not read them."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An event that a verdict names; `frozen` is None if the store does not have it."""

    event_id: str
    frozen: Frozen | None

    @property
    def why_not(self) -> str:
        """Why it has no payload; empty if it has one."""
        if self.frozen is None:
            return NOT_THERE
        return WHY_NOT.get(self.frozen.state, "")


def frozen_events(told: Explanation, store: Evidence) -> list[Shown]:
    """Return the events that a verdict names, and those of the controls that it moved."""
    with closing(store):
        rows = store.read([one.control_id for one in told.done], wall())
    moved = {one.control_id for one in told.done if one.of_this}
    found: dict[str, Frozen] = {}
    for row in rows:
        if row.event_id not in found or row.state == "frozen":
            found[row.event_id] = row
    names = [*told.evidence.events, *(row.event_id for row in rows if row.control_id in moved)]
    return [Shown(name, found.get(name)) for name in dict.fromkeys(names)]


def plain_events(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return them as plain values; `payload` is the event, null where it is not there."""
    return [_plain(one) for one in shown]


def _plain(one: Shown) -> dict[str, Any]:
    if one.frozen is None:
        return {"event_id": one.event_id, "state": "missing", "why_not": one.why_not, "payload": None}
    told = msgspec.structs.asdict(one.frozen)
    return told | {"payload": _payload(one.frozen), "why_not": one.why_not}


def show_events(screen: Console, shown: Sequence[Shown]) -> None:
    """Print each event with its fields, or why it is not there."""
    heading(screen, "Events")
    if not shown:
        paragraph(screen, "The verdict names none: what it rests on is no single event.")
    for one in shown:
        _event(screen, one)


def _event(screen: Console, one: Shown) -> None:
    row = one.frozen
    if row is None or one.why_not:
        paragraph(screen, f"{one.event_id}: {one.why_not}.")
        return
    reason = f", {row.reason}" if row.reason else ""
    paragraph(screen, f"{one.event_id}, {when(row.event_ts)}{reason}:")
    for name, value in _fields(_payload(row) or {}):
        paragraph(screen, f"  {name}: {msgspec.json.encode(value).decode()}")
    paragraph(screen, f"  (frozen for control {row.control_id[:PREFIX]}, kept until {when(row.expires_at)})")


def _payload(row: Frozen) -> dict[str, Any] | None:
    return msgspec.json.decode(row.payload, type=dict[str, Any]) if row.payload else None


def _fields(whole: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield fields, those of objects by their path."""
    for name, value in whole.items():
        if isinstance(value, Mapping) and value:
            yield from _fields(value, f"{before}{name}.")
        else:
            yield before + name, value
