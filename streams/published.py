"""What stands on the `control` topic: so that a judge that starts again repeats nothing, and leases say what is in force."""

from collections.abc import Iterator
from typing import Any

from msgspec import json as msgspec_json

from interlock.protocol import ControlRecord, Key, control_key, in_force, read_control, scope_text
from interlock.records import Control, control_line
from interlock.streams.live import Outgoing

ENGAGED, RELEASED = "engaged", "released"
Place = tuple[str, str, str, str]
"""A control's key without its epoch."""


class Published:
    """The newest record under every key, as this judge sent it or found it on the topic."""

    def __init__(self) -> None:
        """Start with an empty topic."""
        self._lines: dict[Key, tuple[str, bytes]] = {}
        self._newest: dict[Place, ControlRecord] = {}

    def found(self, value: bytes) -> None:
        """Take in a control that stands on the topic already."""
        self._keep(read_control(value), value)

    def send(self, control: Control, now: int) -> Outgoing | None:
        """Return the message of a control; None if it says nothing new, or would bring back what was released."""
        line = control_line(control.model_copy(update={"issued_at": now})).rstrip()
        record = read_control(line)
        known = self._lines.get(record.key)
        if known is not None and (known[0] == RELEASED != record.state or _says_nothing(record, known[1], line)):
            return None
        self._keep(record, line)
        return Outgoing("control", line, control_key(record))

    def epoch(self, control: Control) -> int:
        """Return the newest epoch of a control's place, 0 if there is none."""
        newest = self._newest.get((control.model, control.slo, scope_text(control.scope), control.action))
        return 0 if newest is None else newest.epoch

    def engaged(self, model: str) -> Iterator[ControlRecord]:
        """Yield the controls of a model that are in force."""
        return (x for x in self._newest.values() if x.model == model and x.state == ENGAGED)

    def digest(self, model: str) -> str:
        """Return the digest of a model's controls in force, as its lease carries it."""
        return in_force((x.control_id, x.epoch) for x in self.engaged(model))

    def models(self) -> set[str]:
        """Return the models that have had a control."""
        return {x.model for x in self._newest.values()}

    def _keep(self, record: ControlRecord, line: bytes) -> None:
        known = self._lines.get(record.key)
        if known is None or not (known[0] == RELEASED != record.state):
            self._lines[record.key] = (record.state, line)
        place = record.key[:4]
        newest = self._newest.get(place)
        if newest is None or (record.epoch, record.state == RELEASED) >= (newest.epoch, newest.state == RELEASED):
            self._newest[place] = record


def _says_nothing(record: ControlRecord, known: bytes, line: bytes) -> bool:
    """Return whether a record is what stands under its key, or older: within an epoch, later records replaced it."""
    return _said(known) == _said(line) or (record.state == ENGAGED and record.ts < read_control(known).ts)


def _said(line: bytes) -> dict[str, Any]:
    """Return what a control says, whenever it was issued."""
    fields: dict[str, Any] = msgspec_json.decode(line)
    fields.pop("issued_at", None)  # another's record may lack it
    return fields
