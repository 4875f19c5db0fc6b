"""What is done when a verdict stays unknown: `on_unknown` of the policy (DESIGN.md §4, VERDICTS.md §3)."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, Describe, Owner, ReleaseCommand, ScopeKey, scope_key
from interlock.policies.model_parts import Patience
from interlock.policies.said import Said
from interlock.policies.scalars import show_duration
from interlock.policies.succession import Left, Place
from interlock.records import Control, Verdict


@dataclass(slots=True)
class Standing:
    """An unknown state of one scope: which, since when (event time, ms), by which verdict, and what it lacks."""

    state: str
    since: int
    verdict_id: str
    reason: str | None


class Unknowns:
    """Controls of one SLO that engage where its verdict stays unknown, and end where it is another.

    Each state has controls of its own under the name `SLO.state`, so that their epochs and the SLO's never mix. Time is
    event time: `since` is the `ts` of the verdict that began the state.
    """

    def __init__(self, context: Context, describe: Describe) -> None:
        """Start before the first verdict; `describe` gives the parameters of a scope's controls."""
        self._slo = context.slo.name
        asked = context.policy.on_unknown
        self._patience: dict[str, Patience] = asked.by_state() if asked else {}
        self._controls = {
            state: Controls(
                Owner(context.model, f"{self._slo}.{state}", patience.action, context.policy.digest), describe
            )
            for state, patience in self._patience.items()
        }
        self._standing: dict[ScopeKey, Standing] = {}

    def hear(self, said: Said) -> list[Control]:
        """Take in what a pane yielded, as of its end `said.ts`; return the controls that end and that engage."""
        found = [control for verdict in said.verdicts for control in self._hear(verdict)]
        for scope in said.freed:
            found += self._leave(scope, said.ts, "", "it had no event for a window and is judged no more")
        due = self.due()
        if due is not None and due <= said.ts:
            found += [self._engage(key, said.ts) for key in sorted(self._standing) if self._waits(key, said.ts)]
        return found

    def due(self) -> int | None:
        """Return the event time (ms) at which the next control engages if nothing changes; None if none does."""
        return min((self._deadline(one) for key, one in self._standing.items() if not self._engaged(key)), default=None)

    def release(self, command: ReleaseCommand, ts: int) -> list[Control]:
        """End the engaged control that a person names; if the state stands, its time is counted anew from `ts`."""
        slo, _, state = command.slo.partition(".")
        if slo != self._slo or state not in self._controls or not self._controls[state].named(command):
            return []
        self._standing[scope_key(command.scope)].since = ts
        return [self._controls[state].release(command.scope, command.cause)]

    def held(self) -> list[Controls]:
        """Return the controls of all states."""
        return list(self._controls.values())

    def take_over(self, left: Left, fits: Place) -> None:
        """Go on with the controls of an earlier policy; what is engaged ends when the verdict is another."""
        for state, controls in self._controls.items():
            left.give(controls, fits)
            for key, ts in controls.engaged.items():
                self._standing[key] = Standing(state, ts, "", None)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        standing = [(key, astuple(one)) for key, one in self._standing.items()]
        return {"standing": standing, "controls": {state: x.snapshot() for state, x in self._controls.items()}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        self._standing = {tuple((name, value) for name, value in key): Standing(*x) for key, x in saved["standing"]}
        for state, controls in saved["controls"].items():
            self._controls[state].restore(controls)

    def _hear(self, verdict: Verdict) -> list[Control]:
        key, reason = scope_key(verdict.scope), verdict.evidence.get("reason")
        stood = self._standing.get(key)
        if stood is not None and stood.state == verdict.state:
            stood.reason = reason
            return []
        left = self._leave(verdict.scope, verdict.ts, verdict.verdict_id, f"it is {verdict.state}")
        if verdict.state in self._patience:
            self._standing[key] = Standing(verdict.state, verdict.ts, verdict.verdict_id, reason)
        return left

    def _leave(self, scope: Mapping[str, str], ts: int, verdict_id: str, news: str) -> list[Control]:
        key = scope_key(scope)
        stood = self._standing.get(key)
        engaged = stood is not None and self._engaged(key)
        self._standing.pop(key, None)
        if stood is None or not engaged:
            return []
        told = {"since": stood.since, "until": ts}
        sentence = f"{self._slo} is no longer {stood.state} in {_where(key)}: {news}"
        cause = Cause(ts, verdict_id or stood.verdict_id, sentence, told)
        return [self._controls[stood.state].release(scope, cause)]

    def _engage(self, key: ScopeKey, now: int) -> Control:
        stood = self._standing[key]
        patience = self._patience[stood.state]
        told = {"since": stood.since, "for": patience.for_} | ({"reason": stood.reason} if stood.reason else {})
        reason = f": {stood.reason}" if stood.reason else ""
        sentence = f"{self._slo} is {stood.state} for {show_duration(patience.for_)} in {_where(key)}{reason}"
        return self._controls[stood.state].engage(dict(key), Cause(now, stood.verdict_id, sentence, told))

    def _waits(self, key: ScopeKey, now: int) -> bool:
        return self._deadline(self._standing[key]) <= now and not self._engaged(key)

    def _engaged(self, key: ScopeKey) -> bool:
        return key in self._controls[self._standing[key].state].engaged

    def _deadline(self, stood: Standing) -> int:
        return stood.since + self._patience[stood.state].for_


def _where(key: ScopeKey) -> str:
    return ", ".join(value for _, value in key) or "the whole model"
