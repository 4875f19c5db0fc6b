"""The sentences of a page: what broke, where, since when, why, what was done, what to do next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interlock.policies.model import Policy, Slo
from interlock.policies.review import automatic_text
from interlock.policies.scalars import show_duration
from interlock.records import Control

MOST = 2000
"""Characters of one part of a page: slices, causes and ids are named by whoever sends events."""

HITS = {
    "ood_rate": "flagged",
    "unseen_rate": "with a value never seen",
    "missing_rate": "with a feature missing",
    "range_violations": "with a number out of its range",
}
"""What the hits of an indicator are, whose causes are told."""

MODES = {
    "throttled": "throttled (its traffic is limited)",
    "human_review": "human_review (people decide)",
    "safe_mode": "safe_mode (the baseline serves)",
    "killed": "killed (the model serves nothing)",
}


@dataclass(frozen=True, slots=True)
class What:
    """What a page is about. `slo` is None where the policy has dropped it; `unknown` names the state that lasted."""

    control: Control
    policy: Policy
    slo: Slo | None
    unknown: str
    again: bool

    @property
    def never(self) -> bool:
        """Whether it is about a never-event."""
        return self.slo is not None and self.slo.resolved_indicator == "never_event_violations" and not self.unknown

    @property
    def released(self) -> bool:
        """Whether it says that a control ended."""
        return self.control.state == "released"

    @property
    def stretch(self) -> Mapping[str, Any]:
        """The stretch that broke the target; empty where there is none."""
        return _mapping(self.control.evidence.get("stretch"))

    @property
    def first(self) -> tuple[str, str, int]:
        """The rule of a never-event, the first event that broke it, and when (ms)."""
        told = _mapping(self.control.evidence.get("first"))
        rule = told.get("rule") or self.control.cause.removeprefix("never-event ").strip()
        return rule, told.get("event") or self.control.evidence.get("event") or "", told.get("ts") or self.control.ts


def details(what: What) -> dict[str, Any]:
    """Return the parts of a page by name; what there is nothing to say of is left out."""
    parts: dict[str, Callable[[What], str]] = {
        "what_broke": _broke,
        "where": lambda x: place(x.control.scope),
        "since": lambda x: "" if x.released else f"{since(x)} (event time)",
        "causes": _causes,
        "events": _events,
        "done": _done,
        "next": _next,
        "goal": lambda x: x.policy.human_goal or "",
    }
    told = {name: plain(write(what), MOST) for name, write in parts.items()}
    return {name: text for name, text in told.items() if text}


def plain(text: str, most: int) -> str:
    """Return text without control characters, cut to a length."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def place(scope: Mapping[str, str]) -> str:
    """Return a scope in words."""
    said = (value if key == "slice" else f"{key} {value}" for key, value in sorted(scope.items()))
    return ", ".join(said) or "the whole model"


def since(what: What) -> str:
    """Return since when it is broken or unknown: the first violation, the stretch's start, or the control's own time."""
    told = what.control.evidence.get("since") if what.unknown else what.stretch.get("from")
    start = what.first[2] if what.never else what.control.ts if told is None else told
    return when(start)


def when(ts: int) -> str:
    """Return event time (ms) as text."""
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _broke(what: What) -> str:
    slo, cause = what.slo, what.control.cause
    if slo is None or what.released:
        return f"{cause}."
    if what.unknown:
        return f"{_sentence(slo.objective)} Whether that holds is unknown: {cause}."
    return f"{_sentence(slo.objective)} {_rule(what) if what.never else _measured(what, slo)}"


def _rule(what: What) -> str:
    """Return what a never-event's rule forbids, and how often it happened."""
    name, _, _ = what.first
    rule = next((one for one in what.policy.never_events if one.name == name), None)
    counts = _mapping(_mapping(what.control.evidence.get("rules")).get(name))
    seen = f" {_many(counts['violations'], 'violation')} in {_events_decided(counts)}." if counts else ""
    forbids = f" It forbids: {rule.when}" if rule else ""
    return f"Never-event {name} happened.{seen}{forbids}"


def _events_decided(counts: Mapping[str, Any]) -> str:
    return _many(counts.get("decided", 0) + counts.get("violations", 0), "event") + " that it could decide"


def _measured(what: What, slo: Slo) -> str:
    """Return the promise, the value over the stretch that broke it, and what that value rests on."""
    window = "since the last release" if slo.window == "rolling" else f"over {show_duration(slo.window)}"
    promise = f"Promised: {slo.resolved_indicator} {slo.target} {window}."
    value = what.stretch.get("value")
    if value is None:
        return f"{promise} {what.control.cause}."
    return f"{promise} In the stretch from {since(what)} it was {value:.3g} ({_counts(what.stretch, slo.spec.of)})."


def _counts(told: Mapping[str, Any], of: str) -> str:
    """Return what a stretch counted, in words: labels, audits, or hits among what is called `of`."""
    if "labels" in told:
        said = f"{told['mean_p']:.3g} was stated on average and {told['mean_y']:.3g} came true"
        return f"{_many(told['labels'], 'label')}; {said}"
    if "audited_misses" in told:
        found = f"{told['flagged']:,} flagged, {told['reviewed']:,} of them reviewed, {told['hits']:,} truly so"
        audits = f"{told['audits_settled']:,} of {_many(told['audits_due'], 'audit')} settled"
        return f"{found}; {audits}, {told['audited_misses']:,} found to be missed"
    return f"{told.get('hits', 0):,} of {_many(told.get('n', 0), of)}"


def _causes(what: What) -> str:
    if what.released:
        return ""
    if what.never:
        return f"never-event {what.first[0]}"
    causes = ", ".join(f"{one['reason']} ({one['n']:,})" for one in what.control.evidence.get("causes") or ())
    if not causes:
        return ""
    hits, how = what.stretch.get("hits"), HITS.get(what.slo.resolved_indicator if what.slo else "", "that count")
    told = f"of {hits:,} events {how}" if isinstance(hits, int) else f"of the events {how}"
    return f"{told} in {place(what.control.scope)}: {causes}"


def _events(what: What) -> str:
    """Return the ids of causing events, and nothing else of them."""
    if what.released:
        return ""
    named = [what.first[1]] if what.never else what.control.evidence.get("events") or ()
    return ", ".join(str(event) for event in named if event)


def _done(what: What) -> str:
    control = what.control
    where, which = place(control.scope), f"action {control.action}, control {control.control_id}, epoch {control.epoch}"
    if control.mode == "normal":
        return f"No mode was moved in {where}: the policy only notifies ({which})."
    if what.released:
        return (
            f"Published: {control.mode} is no longer asked for in {where} ({which}). Another control may still hold it."
        )
    obeyed = "Who obeys is told by the acks of the serving systems and by the route of the traffic, not by this page."
    return f"Published: {_mode(what)} for {where} ({which}). {_automatic(control)}{obeyed}"


def _automatic(control: Control) -> str:
    """Return which decisions people need not see, where calibration proves some."""
    found = control.parameters.get("automatic")
    if found is None:
        return ""
    if not found:
        return "People review all: labels prove of no score that its decisions have few enough errors. "
    rate, sure = control.parameters["error_rate"], control.parameters["confidence"]
    promise = f"at most {rate:.3g} of them wrong, {sure:.3g} sure, if the future is like these labels"
    return f"Still decided automatically: {automatic_text(found)} ({promise}). "


def _mode(what: What) -> str:
    baseline = what.policy.safe_mode
    if what.control.mode == "safe_mode" and baseline is not None:
        return f"safe_mode ({baseline.serve} serves)"
    return MODES[what.control.mode]


def _next(what: What) -> str:
    policy, owners = what.policy, what.policy.owners
    told = [f"Runbook: {policy.runbook_url}." if policy.runbook_url else ""]
    told += [
        f"On call: {owners.on_call}." if owners.on_call else "",
        f"Owner of the model: {owners.model}." if owners.model else "",
    ]
    return " ".join(part for part in (_release(what), *told) if part)


def _release(what: What) -> str:
    """Return how the control ends, and who may end it."""
    control, policy = what.control, what.policy
    if what.released or control.mode == "normal":
        return ""
    who = _who(policy)
    if what.unknown:
        return f"It ends when the verdict is known again, or a person releases it: {who}."
    if what.never or control.action == "kill_switch":
        return f"It stands until a person releases it: {who}."
    if control.evidence.get("update") and not control.evidence.get("narrowed"):
        return f"A person must decide: let it stand, or release it: {who}."
    hold = show_duration(policy.release.hold)
    return (
        f"It ends by proof that the target is kept, {hold} without a warning included; or a person releases it: {who}."
    )


def _who(policy: Policy) -> str:
    groups = [
        f"{one.group} ({one.approvals} approvals)" if one.approvals > 1 else one.group
        for one in policy.operators
        if "release" in one.may
    ]
    return " or ".join(groups) or policy.owners.risk or "the policy names nobody"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "。")) else f"{text}."


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
