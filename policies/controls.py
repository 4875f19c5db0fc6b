"""Controls of one SLO: identities, epochs and the records that tell serving systems what to do (DESIGN.md §5)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.policies.model_base import Action
from interlock.records import Control, Mode

MODES: dict[Action, Mode] = {
    "degrade_to_safe_mode": "safe_mode",
    "route_to_human_review": "human_review",
    "kill_switch": "killed",
    "throttle": "throttled",
    "notify": "normal",
}
"""The mode that a scope is served in while an action is engaged."""

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
class Owner:
    """Whose controls they are."""

    model: str
    slo: str
    action: Action
    policy_digest: str


class Controls:
    """Epochs and engaged scopes of one SLO's action; one SLO's timing never changes another's ids."""

    def __init__(self, owner: Owner) -> None:
        """Start with nothing engaged."""
        self._owner = owner
        self.epochs: dict[ScopeKey, int] = {}
        self.engaged: dict[ScopeKey, int] = {}

    def engage(self, scope: Scope, cause: Cause) -> Control:
        """Open the next epoch of a scope; ValueError if it is engaged already."""
        key = scope_key(scope)
        if key in self.engaged:
            raise ValueError(f"{self._owner.slo} is engaged in {dict(scope)}")
        self.epochs[key] = self.epochs.get(key, 0) + 1
        self.engaged[key] = cause.ts
        return self._record(scope, "engaged", cause)

    def update(self, scope: Scope, cause: Cause) -> Control:
        """Say more about an engaged control: same id, same epoch."""
        return self._record(scope, "engaged", cause)

    def release(self, scope: Scope, cause: Cause) -> Control:
        """Close the epoch of an engaged scope."""
        del self.engaged[scope_key(scope)]
        return self._record(scope, "released", cause)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"epochs": list(self.epochs.items()), "engaged": list(self.engaged.items())}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same owner's controls."""
        self.epochs, self.engaged = (
            {tuple((name, value) for name, value in key): number for key, number in saved[kept]}
            for kept in ("epochs", "engaged")
        )

    def control_id(self, scope: Scope, epoch: int) -> str:
        """Return `H(model, slo, scope, action, epoch)` (STREAM.md §3)."""
        owner = self._owner
        return identity(owner.model, owner.slo, scope_key(scope), owner.action, epoch)

    def _record(self, scope: Scope, state: str, cause: Cause) -> Control:
        owner, epoch = self._owner, self.epochs[scope_key(scope)]
        return Control(
            control_id=self.control_id(scope, epoch),
            epoch=epoch,
            model=owner.model,
            scope=dict(scope),
            action=owner.action,
            mode=MODES[owner.action],
            state="engaged" if state == "engaged" else "released",
            parameters={},
            slo=owner.slo,
            verdict_id=cause.verdict_id,
            cause=cause.sentence,
            evidence=dict(cause.evidence),
            policy_digest=owner.policy_digest,
            ts=cause.ts,
            issued_at=cause.ts,
        )
