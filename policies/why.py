"""Why a verdict says what it says: what it is about, its evidence, its path, who contributes, what clears it, what was done."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from interlock.policies.model import Policy
from interlock.policies.why_case import Case
from interlock.policies.why_clear import clearing
from interlock.policies.why_evidence import Evidence, evidence_of
from interlock.policies.why_parts import Ranking, rankings
from interlock.policies.why_words import place
from interlock.records import Control, Verdict


@dataclass(frozen=True, slots=True)
class About:
    """What a verdict is: the promise, where, over what time, and what is known of it."""

    verdict_id: str
    model: str
    slo: str
    objective: str | None
    target: str
    scope: dict[str, str]
    state: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int
    label_coverage: float | None
    window_start: int
    window_end: int
    ts: int
    policy_digest: str
    newest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One verdict of the path."""

    verdict_id: str
    ts: int
    state: str
    value: float | None
    n: int
    log_e: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """One control: `released_at` is None while it is in force; `of_this` says that this verdict moved it."""

    control_id: str
    slo: str
    action: str
    mode: str
    scope: dict[str, str]
    epoch: int
    engaged_at: int | None
    released_at: int | None
    cause: str
    of_this: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it; times are ms since 1970 UTC. `notes` say which contributions could not be told and why."""

    about: About
    asked: dict[str, str] | None
    evidence: Evidence
    path: list[Step]
    contributions: list[Ranking]
    clears: list[str]
    done: list[Done]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def explain(case: Case) -> Explanation:
    """Return the explanation of a verdict."""
    ranked, notes = rankings(case)
    verdict = case.verdict
    return Explanation(
        _about(case),
        _asked(case.asked),
        evidence_of(case),
        [_step(one) for one in case.path],
        ranked,
        clearing(case),
        _done(case),
        notes,
        _other_policy(case.policy, verdict),
    )


def _about(case: Case) -> About:
    verdict, now = case.verdict, case.newest
    told = {name: getattr(verdict, name) for name in About.__dataclass_fields__ if name in Verdict.model_fields}
    newest = {"verdict_id": now.verdict_id, "ts": now.ts, "state": now.state, "value": now.value}
    return About(**told, objective=case.slo.objective if case.policy and case.slo else None, newest=newest)


def _asked(control: Control | None) -> dict[str, str] | None:
    """Return what was asked for if it was no verdict."""
    if control is None:
        return None
    return {"control_id": control.control_id, "state": control.state, "mode": control.mode, "in": place(control.scope)}


def _other_policy(policy: Policy | None, verdict: Verdict) -> list[str]:
    if policy is None or policy.digest == verdict.policy_digest:
        return []
    return [f"The policy given is another one than judged this ({_short(policy.digest)}): its words may not fit."]


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


def _step(verdict: Verdict) -> Step:
    log_e = verdict.evidence.get("log_e")
    return Step(verdict.verdict_id, verdict.ts, verdict.state, verdict.value, verdict.n, log_e)


def _done(case: Case) -> list[Done]:
    """Return the controls of the verdict and of its scope, oldest first."""
    grouped: dict[str, list[Control]] = {}
    for control in case.controls:
        grouped.setdefault(control.control_id, []).append(control)
    return [_control(records, case.verdict) for records in grouped.values() if _concerns(records, case)]


def _concerns(records: Sequence[Control], case: Case) -> bool:
    moved = any(one.verdict_id == case.verdict.verdict_id for one in records)
    return moved or _same(records[0].scope, case.scope) or not case.verdict.scope


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return dict(one) == dict(other)


def _control(records: Sequence[Control], verdict: Verdict) -> Done:
    engaged = [one for one in records if one.state == "engaged"]
    first, last = (engaged or records)[0], records[-1]
    return Done(
        first.control_id,
        first.slo,
        first.action,
        first.mode,
        dict(first.scope),
        first.epoch,
        first.ts if engaged else None,
        last.ts if last.state == "released" else None,
        first.cause if last.state == "engaged" else f"{first.cause}; then: {last.cause}",
        any(one.verdict_id == verdict.verdict_id for one in records),
    )
