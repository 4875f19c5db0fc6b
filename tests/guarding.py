"""Helpers of the guard's tests: a clock that is set by hand, records, and a judge that keeps its own books."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from msgspec import json as msgspec_json

from interlock.control_state import ControlState
from interlock.protocol import ACTION_MODES, MODES, ControlRecord, Lease, control_key, in_force, lease_key, scope_text
from interlock.scopes import Request

NOW = 1_700_000_000_000.0
TTL, GRACE = 120_000, 600_000
MODEL = "claims"
Record = tuple[bytes | None, bytes | None]
REQUESTS = st.builds(
    Request,
    st.none() | st.dictionaries(st.sampled_from(["tenant", "region"]), st.sampled_from(["a", "b", "eu"])),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, "canary", "baseline"]),
)


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def control(**fields: Any) -> ControlRecord:
    """A control that is engaged for the whole model, with these fields changed; its mode is its action's."""
    whole: dict[str, Any] = {
        "epoch": 1,
        "model": MODEL,
        "scope": {},
        "action": "route_to_human_review",
        "state": "engaged",
        "slo": "ood_rate",
    } | fields
    place = (whole["model"], whole["slo"], scope_text(whole["scope"]), whole["action"], whole["epoch"])
    identity = {"control_id": "/".join(map(str, place)), "mode": ACTION_MODES.get(whole["action"], "normal")}
    return ControlRecord(**(identity | whole))


def lease(seq: int, *engaged: ControlRecord, **fields: Any) -> Lease:
    """A lease over these controls, valid for TTL from NOW."""
    whole: dict[str, Any] = {
        "model": MODEL,
        "issued_at": int(NOW),
        "lease_until": int(NOW) + TTL,
        "in_force": in_force((one.control_id, one.epoch) for one in engaged),
        "grace": GRACE,
        "on_lost": "safe_mode",
    }
    return Lease(**(whole | {"seq": seq} | fields))


def record(said: ControlRecord | Lease) -> Record:
    key = control_key(said) if isinstance(said, ControlRecord) else lease_key(said.model)
    return key, msgspec_json.encode(said)


def mode(state: ControlState, segment: Mapping[str, str] | None = None, **known: Any) -> str:
    return MODES[state.rank(known.pop("model", MODEL), Request(segment, **known))]


@dataclass
class Judge:
    """Publishes transitions and leases of one model, as a judge does that never errs."""

    model: str = MODEL
    records: list[Record] = field(default_factory=list)
    epochs: dict[tuple[str, str, str], int] = field(default_factory=dict)
    engaged: dict[tuple[str, str, str], ControlRecord] = field(default_factory=dict)
    seq: int = 0

    def turn(self, slo: str, scope: dict[str, str], action: str, **fields: Any) -> None:
        """Engage what is released, release what is engaged."""
        place = (slo, scope_text(scope), action)
        is_engaged = place in self.engaged
        self.epochs[place] = self.epochs.get(place, 0) + (not is_engaged)
        state = "released" if is_engaged else "engaged"
        said = control(
            model=self.model, slo=slo, scope=scope, action=action, epoch=self.epochs[place], state=state, **fields
        )
        if is_engaged:
            del self.engaged[place]
        else:
            self.engaged[place] = said
        self.records.append(record(said))

    def renew(self, **fields: Any) -> None:
        """Send a lease."""
        self.seq += 1
        self.records.append(record(lease(self.seq, *self.engaged.values(), model=self.model, **fields)))


def guarding(records: list[Record], clock: Clock | None = None, on_lost: str = "human_review") -> ControlState:
    state = ControlState(clock or Clock(), on_lost=on_lost)
    state.read(records)
    return state


def trusting(*controls: ControlRecord) -> ControlState:
    """A guard that holds a lease over these controls."""
    return guarding([*map(record, controls), record(lease(1, *controls))])


def encoded(*parts: object) -> bytes:
    return msgspec_json.encode(parts)


GOOD = record(control(state="released"))
NOTHING_SAID: list[tuple[str, Record]] = [
    ("tombstone", (GOOD[0], None)),
    ("tombstone", (None, None)),
    ("junk", (None, GOOD[1])),
    ("junk", (b"\xff", GOOD[1])),
    ("junk", (b"claims", GOOD[1])),
    ("junk", (b"[]", GOOD[1])),
    ("junk", (b"[[],1]", GOOD[1])),
    ("junk", (b"[" * 100_000, GOOD[1])),
    ("junk", (GOOD[0], b"")),
    ("junk", (GOOD[0], b'{"control_id":"\xff"}')),
    ("junk", (GOOD[0], b'{"state":"released"}')),
    ("junk", (GOOD[0], b"[" * 100_000)),
    ("junk", (GOOD[0], record(control(state="released", slo="another"))[1])),  # under another's key
    ("junk", (encoded("lease", "other"), record(lease(9))[1])),
    ("junk", (encoded("control", MODEL), GOOD[1])),
    ("unknown", (encoded("pause", MODEL), b"{}")),
]
