"""Controls of one SLO: identities, epochs and the records that tell serving systems what to do (DESIGN.md §5)."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.policies.model_base import Action
from interlock.policies.scalars import DAY
from interlock.records import Control, Mode

MODES: dict[Action, Mode] = {
    "degrade_to_safe_mode": "safe_mode",
    "route_to_human_review": "human_review",
    "kill_switch": "killed",
    "throttle": "throttled",
    "notify": "normal",
}
"""The mode that a scope is served in while an action is engaged."""

KEPT = ("epochs", "engaged", "released")
"""What controls remember of each scope: its last epoch, and when it was engaged and released."""

Scope = Mapping[str, str]
ScopeKey = tuple[tuple[str, str], ...]


def identity(*parts: object) -> str:
    """Return a name that any replay derives again: SHA-256 of the parts' canonical JSON, 32 hex digits."""
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def scope_key(scope: Scope) -> ScopeKey:
    """Return a scope as a key."""
    return tuple(sorted(scope.items()))


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a control changes: event time ms, the verdict, a sentence, the numbers."""

    ts: int
    verdict_id: str
    sentence: str
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ReleaseCommand:
    """A person's word that ends one engaged control, and no other: `by` whom, why, `ts` in ms."""

    model: str
    slo: str
    scope: Scope
    control_id: str
    epoch: int
    ts: int
    by: str
    reason: str

    @property
    def cause(self) -> Cause:
        """Why the control ends."""
        why = f": {self.reason}" if self.reason else ""
        return Cause(self.ts, "", f"released by {self.by}{why}", {"by": self.by, "reason": self.reason})


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose controls they are."""

    model: str
    slo: str
    action: Action
    policy_digest: str


Describe = Callable[[Scope], dict[str, object]]
"""What a guard must know of a scope to tell whether a request belongs to it."""


def by_itself(scope: Scope) -> dict[str, object]:  # noqa: ARG001 - the scope says it all
    """Describe a scope that needs no more words: the whole model, a version."""
    return {}


class Controls:
    """Epochs and engaged scopes of one SLO's action; one SLO's timing never changes another's ids."""

    def __init__(self, owner: Owner, describe: Describe = by_itself) -> None:
        """Start with nothing engaged; `describe` gives a control's parameters at the time it is written."""
        self.owner, self._describe = owner, describe
        self.epochs: dict[ScopeKey, int] = {}
        self.engaged: dict[ScopeKey, int] = {}
        self.released: dict[ScopeKey, int] = {}

    def engage(self, scope: Scope, cause: Cause) -> Control:
        """Open the next epoch of a scope; ValueError if it is engaged already.

        Within a day of the last release its evidence says when that was: it updates the incident (VERDICTS.md §4).
        """
        key = scope_key(scope)
        if key in self.engaged:
            raise ValueError(f"{self.owner.slo} is engaged in {dict(scope)}")
        self.epochs[key] = self.epochs.get(key, 0) + 1
        self.engaged[key] = cause.ts
        at = self.released.get(key)
        again = at is not None and cause.ts - at <= DAY
        return self._record(scope, "engaged", cause, {"released_at": at} if again else {})

    def update(self, scope: Scope, cause: Cause, *, worsened: bool = False) -> Control:
        """Say more about an engaged control: same id, same epoch; its evidence says that it is an update.

        `worsened`: it had been a ticket, and pages from here on.
        """
        return self._record(scope, "engaged", cause, {"update": True} | ({"worsened": True} if worsened else {}))

    def release(self, scope: Scope, cause: Cause) -> Control:
        """Close the epoch of an engaged scope."""
        key = scope_key(scope)
        del self.engaged[key]
        self.released[key] = cause.ts
        return self._record(scope, "released", cause, {})

    def named(self, command: ReleaseCommand) -> bool:
        """Return whether a command names what is engaged: this scope, in this epoch, by this id."""
        key, epoch = scope_key(command.scope), command.epoch
        engaged = key in self.engaged and self.epochs[key] == epoch
        return engaged and command.control_id == self.control_id(command.scope, epoch)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {kept: list(getattr(self, kept).items()) for kept in KEPT}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same owner's controls."""
        self.epochs, self.engaged, self.released = (
            {tuple((name, value) for name, value in key): number for key, number in saved[kept]} for kept in KEPT
        )

    @property
    def name(self) -> tuple[str, str]:
        """The SLO, or its unknown state, and the action: with a scope, what an epoch is of."""
        return self.owner.slo, self.owner.action

    def inherit(self, before: "Controls") -> None:
        """Go on from the epochs of an earlier policy, so that none comes twice; nothing is engaged by that."""
        for key, epoch in before.epochs.items():
            self.epochs[key] = max(epoch, self.epochs.get(key, 0))
        for key, ts in before.released.items():
            self.released[key] = max(ts, self.released.get(key, ts))

    def control_id(self, scope: Scope, epoch: int) -> str:
        """Return `H(model, slo, scope, action, epoch)` (STREAM.md §3)."""
        owner = self.owner
        return identity(owner.model, owner.slo, scope_key(scope), owner.action, epoch)

    def _record(self, scope: Scope, state: str, cause: Cause, told: Mapping[str, object]) -> Control:
        owner, epoch = self.owner, self.epochs[scope_key(scope)]
        return Control(
            control_id=self.control_id(scope, epoch),
            epoch=epoch,
            model=owner.model,
            scope=dict(scope),
            action=owner.action,
            mode=MODES[owner.action],
            state="engaged" if state == "engaged" else "released",
            parameters=self._describe(scope),
            slo=owner.slo,
            verdict_id=cause.verdict_id,
            cause=cause.sentence,
            evidence={**cause.evidence, **told},
            policy_digest=owner.policy_digest,
            ts=cause.ts,
            issued_at=cause.ts,
        )
