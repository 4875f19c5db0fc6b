"""The control topic: what the judge publishes and guards obey. Light, since serving systems import it.

A record is JSON under a key that says what it is: a control under (model, slo, scope, action, epoch), a lease under its
model. All records of a model are in one partition, so their order is the judge's.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

INPUTS = ("predictions", "outcomes", "abuse")
"""Topics that serving systems and labellers write; all have as many partitions, keyed by `event_id`."""

TOPICS = (
    *INPUTS,
    "tallies",
    "verdicts",
    "control",
    "acks",
    "audits",
    "pages",
    "commands",
    "checkpoints",
    "dead-letters",
)

MODES = ("normal", "throttled", "human_review", "safe_mode", "killed")
"""From the weakest to the strongest; the strongest that matches a request wins."""

ACTION_MODES = {
    "notify": "normal",
    "throttle": "throttled",
    "route_to_human_review": "human_review",
    "degrade_to_safe_mode": "safe_mode",
    "kill_switch": "killed",
}

CONTENT_TYPE = "content-type"
"""Header of every message that we send: its value is one of the types below."""

JSON_LINES, JSON, ARROW = "application/x-ndjson", "application/json", "application/vnd.apache.arrow.stream"

T = TypeVar("T")

Key = tuple[str, str, str, str, int]
"""A control's place: model, slo, scope (as canonical JSON), action, epoch."""


class ControlRecord(Struct, frozen=True):
    """A control as guards read it; `interlock.records.Control` is what writes it. Unknown fields are passed over."""

    control_id: str
    epoch: int
    model: str
    scope: dict[str, str]
    action: str
    mode: str
    state: str
    slo: str
    parameters: dict[str, Any] = {}
    cause: str = ""
    ts: int = 0
    issued_at: int = 0

    @property
    def key(self) -> Key:
        """Where it belongs: what replaces it has the same key."""
        return self.model, self.slo, scope_text(self.scope), self.action, self.epoch


class Lease(Struct, frozen=True, kw_only=True):
    """A heartbeat of the judge of one model: until `lease_until` (ms, wall clock), guards may trust what they know.

    `in_force` is the digest of all engaged controls of the model. When no lease is held for `grace` ms, guards serve in
    at least the mode `on_lost`.
    """

    model: str
    seq: int
    issued_at: int
    lease_until: int
    in_force: str
    grace: int
    on_lost: str


def scope_text(scope: Mapping[str, str]) -> str:
    """Return a scope as canonical JSON: pairs of name and value, sorted."""
    return msgspec_json.encode(sorted(scope.items())).decode()


def control_key(control: ControlRecord) -> bytes:
    """Return the Kafka key of a control: compaction keeps the last record of every epoch."""
    return msgspec_json.encode(("control", *control.key))


def lease_key(model: str) -> bytes:
    """Return the Kafka key of a model's lease."""
    return msgspec_json.encode(("lease", model))


def read_control(value: bytes) -> ControlRecord:
    """Return the control in a record; msgspec.DecodeError if it is none."""
    return read_json(value, ControlRecord)


def read_lease(value: bytes) -> Lease:
    """Return the lease in a record; msgspec.DecodeError if it is none."""
    return read_json(value, Lease)


def read_json(value: bytes, kind: type[T]) -> T:
    """Return the record of a kind in a message; msgspec.DecodeError if it is none, whatever it is instead."""
    try:
        return msgspec_json.decode(value, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these two through
        raise DecodeError(str(error)) from error


def in_force(engaged: Iterable[tuple[str, int]]) -> str:
    """Return the digest of a model's engaged controls, given as (control_id, epoch): SHA-256 of their sorted list."""
    return "sha256:" + hashlib.sha256(msgspec_json.encode(sorted(engaged))).hexdigest()


def strongest(modes: Iterable[str]) -> str:
    """Return the strongest of these modes, normal if there is none; a mode that nobody knows means safe mode."""
    return MODES[max((MODES.index(mode if mode in MODES else "safe_mode") for mode in modes), default=0)]
