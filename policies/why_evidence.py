"""The evidence of a verdict: against which threshold, over which stretch, in which phase, by which events."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.policies.only_inputs import KEY
from interlock.policies.scalars import parse_duration
from interlock.policies.why_case import Case, number
from interlock.policies.why_drift import streams
from interlock.policies.why_words import many, odds, place, span, when
from interlock.policies.why_words import number as shown

SILENT = frozenset(
    {"from", "value", "log_e", "range", "variants", "unlabelled", "if_right", "if_wrong", "weight_of_wrong"}
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time inside the window that speaks most for a breach, and what was counted in it."""

    start: int
    end: int
    value: float | None
    log_e: float | None
    counts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms are natural; `lines` say the same in words. `scope` is what it is about."""

    scope: dict[str, str]
    log_e: float | None
    log_e_page: float | None
    phase: str | None
    engaged_at: int | None
    log_v: float | None
    log_v_release: float | None
    dispersion: float | None
    stretch: Stretch | None
    rules: dict[str, Any] | None
    causes: list[dict[str, Any]]
    events: list[str]
    reason: str | None
    lines: list[str] = field(default_factory=list)


def evidence_of(case: Case) -> Evidence:
    """Return the evidence of a case."""
    told = case.evidence
    found = Evidence(
        dict(case.scope),
        number(told.get("log_e")),
        number(told.get("log_e_page")),
        told.get("phase"),
        told.get("engaged_at"),
        number(told.get("log_v")),
        number(told.get("log_v_release")),
        number(told.get("dispersion")),
        _stretch(case),
        told.get("rules"),
        list(told.get("causes") or ()),
        _events(told),
        told.get("reason"),
    )
    found.lines.extend(line for line in _lines(found, case) if line)
    return found


def _stretch(case: Case) -> Stretch | None:
    told = case.stretched
    if "from" not in told:
        return None
    counts = {name: value for name, value in told.items() if name not in SILENT}
    value, hits = number(told.get("value")), told.get("hits")
    if value and isinstance(hits, int) and "flagged" not in counts:  # a rate's own events are not always stored
        counts.setdefault("n", round(hits / value))
    return Stretch(told["from"], case.verdict.window_end, number(told.get("value")), number(told.get("log_e")), counts)


def _events(told: Mapping[str, Any]) -> list[str]:
    first = told.get("first")
    own = [first["event"]] if isinstance(first, Mapping) and first.get("event") else []
    return own + [str(event) for event in told.get("events") or ()]


def _lines(found: Evidence, case: Case) -> list[str]:
    return [
        _about(case),
        f"It lacks: {found.reason}." if found.reason else "",
        *_rules(found, case.evidence),
        _detected(case.evidence),
        *_variants(case.evidence),
        *_budget(case.evidence),
        _unlabelled(case.evidence),
        _only_inputs(case),
        *streams(case.evidence),
        "" if "streams" in case.evidence else _strength(found, case.evidence.get("rule")),
        _worst(found, case),
        _phase(found),
        _clustered(found),
        _causes(found),
        f"Example events: {', '.join(found.events)}" if found.events else "",
    ]


def _about(case: Case) -> str:
    """Return what the evidence is about, where that is not what the verdict is about."""
    if dict(case.scope) != case.verdict.scope:
        return f"Of {place(case.scope)}:"
    return "Of the endpoint that speaks most for a breach:" if case.endpoints else ""


def _variants(told: Mapping[str, Any]) -> list[str]:
    """Return a line for each variant of a comparison."""
    variants = told.get("variants")
    if not isinstance(variants, Mapping):
        return []
    lines = []
    for name, counts in variants.items():
        value = "no value" if counts.get("value") is None else shown(counts["value"])
        lines.append(f"{name}: {value} ({counts.get('hits', 0):,} hits of {counts.get('n', 0):,} events).")
    return lines


def _budget(told: Mapping[str, Any]) -> list[str]:
    """Return what is left of the error budget, and how fast it goes."""
    budget, rates = told.get("error_budget"), told.get("burn_rate")
    if not isinstance(budget, Mapping) or not isinstance(rates, Mapping) or not budget.get("n"):
        return []
    left = float(budget["left"])
    state = f"{left:.0%} left" if left >= 0 else f"overspent {float(budget['spent']):.3g} times"
    known = sorted((parse_duration(width), width) for width, rate in rates.items() if isinstance(rate, int | float))
    burns = ", ".join(f"{rates[width]:.3g} over {width}" for _, width in known)
    allowed = float(budget["allowed"]) * int(budget["n"])
    return [f"Error budget: {state} ({budget['failures']:,} failures, {allowed:,.0f} allowed). Burn rate: {burns}."]


def _rules(found: Evidence, told: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule of never-events, the most broken first, and the first event that broke one."""
    rules = sorted((found.rules or {}).items(), key=lambda one: (-one[1].get("violations", 0), one[0]))
    lines = [
        f"Rule {name}: {many(counts.get('violations', 0), 'violation')} in "
        f"{many(counts.get('violations', 0) + counts.get('decided', 0), 'event')} that it could decide; "
        f"{counts.get('undecided', 0):,} undecided."
        for name, counts in rules
    ]
    first = told.get("first")
    if isinstance(first, Mapping):
        lines.append(
            f"First: {first.get('rule')} at {when(int(first['ts']))}, event {first.get('event') or 'unknown'}."
        )
    if isinstance(told.get("rate_upper_bound"), float):
        lines.append(f"None was seen; at 95 % the rate is below {shown(told['rate_upper_bound'])}.")
    return lines


def _detected(told: Mapping[str, Any]) -> str:
    """Return what a detector of River found; no evidence stands behind it."""
    if "detections" not in told:
        return ""
    fields, seen = ", ".join(told.get("fields") or ()), many(told.get("n", 0), "event")
    return f"{many(told['detections'], 'detection')} by {told.get('detector')} on {fields} in {seen}: no error rate is known."


def _unlabelled(told: Mapping[str, Any]) -> str:
    """Return between which bounds the value lies, whatever the labels would say that are not there."""
    right, wrong, missing = number(told.get("if_right")), number(told.get("if_wrong")), told.get("unlabelled")
    if right is None or wrong is None or right == wrong:
        return ""
    which = f"Labels that are not there ({missing:,})" if isinstance(missing, int) else "Reviews that are not there"
    weight = number(told.get("weight_of_wrong"))
    beside = f"; a wrong prediction's label counts {shown(weight)} times a right one's" if weight else ""
    return f"{which}: were all of them right, the value were {shown(right)}, all wrong, {shown(wrong)}{beside}."


def _only_inputs(case: Case) -> str:
    """Return what the value would be if only the inputs had changed; no evidence, and no state, rests on it."""
    told = case.evidence.get(KEY)
    if not isinstance(told, Mapping) or number(told.get("value")) is None:
        return ""
    name = case.slo.resolved_indicator if case.slo else "the value"
    by = f"from {many(told.get('n', 0), 'prediction')}; neither pages nor clears"
    return f"If only the inputs had changed: {name} {shown(number(told['value']))} ({by})."


def _strength(found: Evidence, rule: object) -> str:
    """Return the evidence against the threshold, both as factors."""
    if rule is not None:
        return f"By a plain rule ({rule}), not by evidence: it lies outside the budget of false pages."
    if found.log_e_page is None:
        return ""
    page = f"a page needs {odds(found.log_e_page)}"
    if found.log_e is None:
        since = f" since {when(found.engaged_at)}" if found.engaged_at else ""
        return f"Evidence: none counted{since} (it starts anew with each page and release); {page}."
    if found.log_e <= 0:
        return f"Evidence {odds(found.log_e)}: nothing speaks against the target being met; {page}."
    return f"Evidence {odds(found.log_e)} against the target being met; {page}."


def _worst(found: Evidence, case: Case) -> str:
    stretch = found.stretch
    if stretch is None:
        return ""
    counts = ", ".join(_counted(name, value) for name, value in stretch.counts.items() if value)
    strength = f" By itself it is evidence of {odds(stretch.log_e)}." if stretch.log_e and stretch.log_e > 0 else ""
    lasted = span(stretch.end - stretch.start)
    told = f"{shown(stretch.value)} against {case.verdict.target}"
    return f"Worst stretch: {when(stretch.start)} to {when(stretch.end)} ({lasted}): {told}{f' ({counts})' if counts else ''}.{strength}"


def _counted(name: str, value: object) -> str:
    words = "events" if name == "n" else name.replace("_", " ")
    return f"{words} {shown(value)}" if isinstance(value, float) else f"{value:,} {words}"


def _phase(found: Evidence) -> str:
    """Return where the alarm stands, and how far the evidence of recovery is."""
    if found.phase is None or found.log_v_release is None:
        return ""
    since = f" since {when(found.engaged_at)}" if found.engaged_at else ""
    needs = f"a release needs {odds(found.log_v_release)}"
    if found.log_v is None or not math.isfinite(found.log_v):
        return f"Phase: {found.phase}{since}; nothing speaks for recovery yet; {needs}."
    return f"Phase: {found.phase}{since}; evidence for recovery {odds(found.log_v)}; {needs}."


def _clustered(found: Evidence) -> str:
    if found.dispersion is None or found.dispersion == 1:
        return ""
    return f"Counts are divided by a dispersion of {shown(found.dispersion)}: events come in clusters."


def _causes(found: Evidence) -> str:
    causes = ", ".join(f"{one.get('reason')} ({one.get('n'):,})" for one in found.causes)
    since = "since the stretch began" if found.stretch else "in the window"
    return f"Causes {since}, by events: {causes}." if causes else ""
