"""`never_event_violations`: one confirmed violation breaches at once, and only a person lets go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.never import rate_bound
from interlock.policies.causes import Exemplar
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, ReleaseCommand, ScopeKey, by_itself, scope_key
from interlock.policies.plan import DECIDED, UNDECIDABLE, VIOLATION
from interlock.policies.said import Moment, Said
from interlock.policies.states import Facts, decide
from interlock.policies.succession import Left
from interlock.records import Control, State, Verdict

Ints = NDArray[np.int64]

MOST_VERSIONS = 64
"""Model versions judged apart; the counts of later ones go to `(other)`."""

OTHER_VERSION = "(other)"


@dataclass(slots=True)
class Ledger:
    """One version's counts per rule since the last release, int64[rules, 3]; when it was last seen and first broken."""

    counts: Ints
    last: int | None = None
    shown: State | None = None
    broken: tuple[int, str, str] | None = None


class NeverMachine:
    """Judges all never-event rules of a policy, per model version, over the time since the last release."""

    def __init__(self, context: Context) -> None:
        """Start before the first pane."""
        self.context = context
        self.describe = by_itself
        self.rules = context.policy.never_events
        self.controls = Controls(context.owner)
        self._versions: dict[str, Ledger] = {}
        if not self.rules:
            self._ledger("")

    def judge(self, pane: int, counts: Mapping[str, Ints]) -> None:
        """Take in an arrival pane: counts int64[rules, 3] by model version."""
        for version, found in sorted(counts.items()):
            ledger = self._ledger(version)
            ledger.counts += found
            if found[:, (VIOLATION, DECIDED)].any():
                ledger.last = pane

    @property
    def pending(self) -> bool:
        """Whether anything waits for a verdict: nothing does, a violation comes with its pane's counts."""
        return False

    def explain(self, pane: int, found: Sequence[Exemplar]) -> None:  # noqa: ARG002 - of a rule, the time says enough
        """Take in violations by name; the earliest since the release is the cause."""
        for cause in found:
            ledger, named = self._ledger(cause.version[1]), (cause.ts, cause.event_id, cause.reason)
            ledger.broken = min(ledger.broken or named, named)

    def trigger(self, version: str, cause: tuple[int, str, str], before: Controls | None = None) -> list[Control]:
        """Return the control of a violation that has just arrived, ahead of its pane; none if it is engaged already.

        Its id and epoch are those of the record that the pane will yield; of several violations it names the one that
        came first, the pane's record the one that happened first. `cause` are its time (ms), event and rule; `before` the
        controls that this machine has yet to take over.
        """
        ts, event_id, rule = cause
        known = before or self.controls
        scope = self._scope(version if version in self._versions or self._room() else OTHER_VERSION)
        key = scope_key(scope)
        if key in known.engaged:
            return []
        early = Controls(self.context.owner)
        early.epochs = dict(known.epochs)
        return [early.engage(scope, Cause(ts, "", f"never-event {rule}", {"event": event_id}))]

    def release(self, version: str, cause: Cause) -> Control:
        """Let go at a person's word: counts begin anew."""
        ledger = self._versions[version]
        ledger.counts[:] = 0
        ledger.broken = None
        return self.controls.release(self._scope(version), cause)

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:  # noqa: ARG002 - counts have no panes
        """End the engaged control of a version that a person names; none other."""
        if not self.controls.named(command):
            return []
        return [self.release(command.scope.get("version", ""), command.cause)]

    def held(self) -> list[Controls]:
        """Return the controls that the machine has."""
        return [self.controls]

    @staticmethod
    def names() -> dict[ScopeKey, str | None]:
        """Return nothing: a version's scope says how it is counted."""
        return {}

    def take_over(self, left: Left, pane: int) -> None:  # noqa: ARG002 - counts have no panes
        """Go on with the controls of an earlier policy: what it killed stays so until a person lets go."""
        left.give(self.controls, self._place)

    def _place(self, key: ScopeKey, name: str | None) -> bool:
        if not self.fits(key, name):
            return False
        version = dict(key).get("version", "")
        self._ledger(version)
        return version in self._versions

    def fits(self, key: ScopeKey, name: str | None) -> bool:  # noqa: ARG002 - versions have their own names
        """Return whether a scope is one of this SLO's."""
        return set(dict(key)) <= {"version"}

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        kept = {v: (x.counts.copy(), x.last, x.shown, x.broken) for v, x in self._versions.items()}
        return {"versions": kept, "controls": self.controls.snapshot()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        self.controls.restore(saved["controls"])
        self._versions = {
            version: Ledger(counts.copy(), last, shown, None if broken is None else (broken[0], broken[1], broken[2]))
            for version, (counts, last, shown, broken) in saved["versions"].items()
        }

    def conclude(self, moment: Moment) -> Said:
        """Return the verdicts and controls as of an arrival pane."""
        said = Said()
        due = (moment.pane + 1) % self.context.block == 0
        for version, ledger in sorted(self._versions.items()):
            state = self._state(ledger, moment, engaged=self._engaged(version))
            new = bool(ledger.counts[:, VIOLATION].any()) and not self._engaged(version)
            if due or new or ledger.shown != state:
                ledger.shown = state
                verdict = self._verdict((version, ledger), moment, state)
                said.verdicts.append(verdict)
                said.controls += [self._engage(verdict, ledger)] if new else []
        return said

    def _engage(self, verdict: Verdict, ledger: Ledger) -> Control:
        ts, _, rule = ledger.broken or (verdict.ts, "", "")
        cause = Cause(ts, verdict.verdict_id, f"never-event {rule}".strip(), verdict.evidence)
        return self.controls.engage(verdict.scope, cause)

    def _engaged(self, version: str) -> bool:
        return scope_key(self._scope(version)) in self.controls.engaged

    def _ledger(self, version: str) -> Ledger:
        if version not in self._versions and not self._room():
            version = OTHER_VERSION
        empty = np.zeros((len(self.rules), 3), np.int64)
        return self._versions.setdefault(version, Ledger(empty))

    def _room(self) -> bool:
        return len(self._versions) < MOST_VERSIONS

    @staticmethod
    def _scope(version: str) -> dict[str, str]:
        return {"version": version} if version else {}

    def _state(self, ledger: Ledger, moment: Moment, *, engaged: bool) -> State:
        decided, undecided = ledger.counts[:, DECIDED], ledger.counts[:, UNDECIDABLE]
        allowed = np.array([rule.undecided for rule in self.rules])
        broken = bool(ledger.counts[:, VIOLATION].any()) or engaged  # by an earlier policy's rules, it may be
        silent = ledger.last is None or moment.pane - ledger.last >= self.context.stale_panes
        facts = (
            broken,
            silent,
            bool((undecided > allowed * (decided + undecided)).any()),
            self._opportunities(ledger) < self.context.slo.least_events,
            False,
            not broken,
        )
        return decide(Facts(*(np.array([fact]) for fact in facts)))[0]

    @staticmethod
    def _opportunities(ledger: Ledger) -> int:
        """Return the decided opportunities of the rule that had fewest."""
        return int((ledger.counts[:, DECIDED] + ledger.counts[:, VIOLATION]).min(initial=1 << 62)) % (1 << 62)

    def _verdict(self, about: tuple[str, Ledger], moment: Moment, state: State) -> Verdict:
        version, ledger = about
        context, scope, end = self.context, self._scope(version), (moment.pane + 1) * self.context.pane_ms
        violations, n = int(ledger.counts[:, VIOLATION].sum()), self._opportunities(ledger)
        return Verdict(
            verdict_id=context.verdict_id(scope, moment.pane),
            model=context.model,
            slo=context.slo.name,
            scope=scope,
            ts=end,
            window_start=end - context.slo.window_ms,
            window_end=end,
            state=state,
            value=float(violations) if self.rules else None,
            lower=None,
            upper=None,
            n=n,
            label_coverage=None,
            target=str(context.slo.target),
            evidence=self._evidence(ledger, state, n),
            policy_digest=context.policy.digest,
        )

    def _evidence(self, ledger: Ledger, state: State, n: int) -> dict[str, object]:
        if not self.rules:
            return {"reason": "no never-event is defined"}
        names = ("violations", "decided", "undecided")
        rules = {r.name: dict(zip(names, ledger.counts[i].tolist(), strict=True)) for i, r in enumerate(self.rules)}
        told: dict[str, object] = {"rules": rules}
        if state == "no_data":
            told["reason"] = "no decided opportunity in the time that counts"
        if not ledger.counts[:, VIOLATION].any():
            told["rate_upper_bound"] = rate_bound(n)
        if ledger.broken:
            told["first"] = dict(zip(("ts", "event", "rule"), ledger.broken, strict=True))
        return told
