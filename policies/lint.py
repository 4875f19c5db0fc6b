"""What a valid policy leaves open, and what its windows can prove at a stated traffic."""

import math
from collections.abc import Iterator

from interlock.detectors.bounded_mean import BETS
from interlock.detectors.event_rate import FASTER
from interlock.policies.lint_drift import delay, drift
from interlock.policies.lint_evidence import power_otherwise, rules
from interlock.policies.lint_labels import at_source, unlabelled
from interlock.policies.lint_words import ALPHA, MEANS, noun, shown, unit, zero
from interlock.policies.measures_abuse import PER
from interlock.policies.model import Policy, Slo
from interlock.policies.model_slo import OF_CLASS, RIVER
from interlock.policies.panes import pane_ms, slots, thresholds
from interlock.policies.positions import Finding
from interlock.policies.scalars import DAY, HOUR, show_duration

MATURITY = 24 * HOUR
"""Age at which labels are judged when neither the policy nor a reference says (VERDICTS.md §1)."""

NEEDS_REFERENCE = frozenset({"drift", "unseen_rate", "missing_rate", "range_violations"})
"""Indicators that have no data without a reference."""

STEPS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Alternatives of the test of a share: q0 + (1 - q0)·step, equally weighted (VERDICTS.md §2)."""
LAMBDAS = (0.05, 0.1, 0.2, 0.4, 0.7)
"""Bets of the test of ECE, equally weighted."""


def warnings(policy: Policy) -> list[Finding]:
    """Return what the policy leaves open: what nobody said, and what is said and not in force yet."""
    return [
        *_names(policy),
        *_indicators(policy),
        *_labels(policy),
        *at_source(policy),
        *_unknown(policy),
        *_review(policy),
        *_river(policy),
        *rules(policy),
        *drift(policy),
        *(Finding(_loc(path), f"not in force yet: {text}") for path, text in policy.not_in_force()),
    ]


def power(policy: Policy, per_day: float) -> list[Finding]:
    """Return per SLO the smallest failure that its window can prove at `per_day` events a day in one slice."""
    return [Finding(("slos", i), _power(policy, slo, per_day)) for i, slo in enumerate(policy.slos) if slo.in_force]


def idle(policy: Policy, per_day: float) -> list[Finding]:
    """Return a warning for each SLO that can never leave `insufficient` at `per_day` events a day."""
    found = []
    for i, slo in enumerate(policy.slos):
        if not slo.in_force or slo.spec.kind in ("never_event", "staleness"):
            continue
        seen, needed = _seen(policy, slo, per_day), _needed(slo)
        if seen < needed:
            window = show_duration(slo.window_ms)
            text = (
                f"{slo.name} can never leave insufficient: {window} holds {seen:.0f} {unit(slo)} and it needs {needed}"
            )
            found.append(Finding(("slos", i, "window"), text))
    return found


def _names(policy: Policy) -> Iterator[Finding]:
    if policy.model is None:
        yield Finding(("model",), "no model is named; each model seen is judged apart, each with its own budget")
    if policy.owners.on_call is None:
        yield Finding(("owners", "on_call"), "nobody is named to be paged")
    if policy.runbook_url is None:
        yield Finding(("runbook_url",), "no runbook; a page cannot say where to read on")


def _indicators(policy: Policy) -> Iterator[Finding]:
    names = {slo.resolved_indicator for slo in policy.slos_in_force}
    if not names:
        yield Finding(("slos",), "no SLO is in force; nothing is judged")
    if "never_event_violations" in names and not policy.never_events:
        yield Finding(("never_events",), "no never-event is defined; never_event_violations will be no_data")
    if policy.never_events and "never_event_violations" not in names:
        yield Finding(
            ("never_events",), "no SLO never_event_violations; violations are counted and nothing acts on them"
        )
    if "ood_recall" in names and policy.audits is None:
        yield Finding(("audits",), "no audits; ood_recall will stay unidentified")
    yield from _reference(policy, names)
    yield from unlabelled(policy, names)
    yield from _predicted(policy)
    if names & {"decision_ece", "decision_ece_p95"} and not policy.high_impact:
        yield Finding(("high_impact",), "no decisions of high impact are named; all decisions are judged")
    if "decision_ece_p95" in names and policy.endpoint is None:
        yield Finding(("endpoint",), "no endpoint is named; the p95 is over one endpoint, so it is the ECE of all")


def _reference(policy: Policy, names: set[str]) -> Iterator[Finding]:
    if policy.reference is not None:
        return
    if policy.ood.logits is not None:
        yield Finding(("ood", "logits"), "no reference, so no logits to compare with; they will not be scored")
    if names & {"ood_rate", "ood_recall"} and policy.ood.threshold is None:
        text = "no reference; OOD indicators will be no_data unless events bring ood_score and ood.threshold is set"
        yield Finding(("reference",), text)
    for name in sorted(names & NEEDS_REFERENCE):
        yield Finding(("reference",), f"no reference; {name} will be no_data")


def _predicted(policy: Policy) -> Iterator[Finding]:
    unnamed = [s for s in policy.slos_in_force if s.resolved_indicator in OF_CLASS and s.class_ is None]
    if unnamed and policy.labels.predicted is None:
        said = "the field `prediction` (else the likeliest class) is read as labels are"
        text = f"no labels.predicted; {said}; an event that has neither, or other words, is undecided"
        yield Finding(("labels", "predicted"), text)


def _labels(policy: Policy) -> Iterator[Finding]:
    joined = [slo for slo in policy.slos_in_force if slo.spec.chain == "joined"]
    if not joined:
        return
    labels = policy.labels
    if labels.maturity is None:
        source = "24h" if policy.reference is None else "what the reference has learnt, else 24h"
        text = f"no maturity; {source} is taken: label indicators speak of predictions that are that old, not newer"
        yield Finding(("labels", "maturity"), text)
    elif labels.maturity > labels.join_ttl:
        text = f"labels are awaited for {show_duration(labels.maturity)} and join for {show_duration(labels.join_ttl)}"
        yield Finding(("labels", "maturity"), text)


def _review(policy: Policy) -> Iterator[Finding]:
    """Yield review thresholds that no SLO would set."""
    if policy.review is None or policy.review.thresholds is None:
        return
    ece = [slo for slo in policy.slos_in_force if slo.resolved_indicator in ("decision_ece", "decision_ece_p95")]
    if not any(slo.action_on_breach == "route_to_human_review" for slo in ece):
        text = "no SLO of decision_ece routes to human review, so nothing sets thresholds"
        yield Finding(("review", "thresholds"), text)


def _river(policy: Policy) -> Iterator[Finding]:
    """Yield what cannot be promised of River's detectors."""
    for i, slo in enumerate(policy.slos):
        if slo.in_force and slo.resolved_indicator in RIVER:
            name = slo.resolved_indicator
            text = (
                f"{name} opens tickets only, outside the budget of false pages: what it detects depends on the order of "
                "events, on partitions (each has a detector of its own) and on restarts (each begins afresh)"
            )
            yield Finding(("slos", i, "indicator"), text)


def _unknown(policy: Policy) -> Iterator[Finding]:
    """Yield what `on_unknown` will do for good, or to every new model, by the policy alone."""
    asked = policy.on_unknown.by_state() if policy.on_unknown else {}
    names = {slo.resolved_indicator for slo in policy.slos_in_force}
    stands = "this action will engage and stand"
    blind = ", ".join(sorted(_blind(policy, names)))
    if "no_data" in asked and blind:
        yield Finding(("on_unknown", "no_data"), f"{blind} will be no_data whatever comes: {stands}")
    if "unidentified" in asked and "ood_recall" in names and policy.audits is None:
        yield Finding(("on_unknown", "unidentified"), f"ood_recall will stay unidentified without audits: {stands}")
    age = MATURITY if policy.labels.maturity is None else policy.labels.maturity
    judged = any(slo.spec.chain == "joined" for slo in policy.slos_in_force)
    if "insufficient" in asked and judged and asked["insufficient"].for_ <= age:
        text = f"labels are judged at an age of {show_duration(age)}: this action will engage for every new model"
        yield Finding(("on_unknown", "insufficient", "for"), text)


def _blind(policy: Policy, names: set[str]) -> set[str]:
    """Return the indicators that can have no data."""
    blind = set() if policy.never_events else {"never_event_violations"}
    if policy.reference is None:
        blind |= NEEDS_REFERENCE | ({"ood_rate", "ood_recall"} if policy.ood.threshold is None else set())
    return blind & names


def _loc(path: str) -> tuple[str | int, ...]:
    steps = path.replace("[", ".").replace("]", "").split(".")
    return tuple(int(step) if step.isdigit() else step for step in steps)


def _seen(policy: Policy, slo: Slo, per_day: float) -> float:
    """Return the most events that can count in one window."""
    total = per_day * slo.window_ms / DAY
    if slo.spec.kind == "auroc":  # a pair has two labels
        return total / 2
    if slo.resolved_indicator != "ood_recall":
        return total
    audited = 0.0 if policy.audits is None else policy.audits.rate
    return total * (policy.ood.flag_rate + (1 - policy.ood.flag_rate) * audited)


def _needed(slo: Slo) -> int:
    """Return how many events a verdict needs: `min_events`, and enough good ones for `met`.

    Of a mean, n values at the good end of its span. With no bad event among n, Clopper and Pearson's upper bound is 1 - (α/2)^(1/n).
    """
    if slo.spec.kind == "abuse":
        return max(slo.least_events, math.ceil(math.log(2 / ALPHA) / allowed(slo)))
    if slo.spec.kind in MEANS:
        needed = math.log(2 / ALPHA * len(BETS)) / math.log1p(BETS[-1] * allowed(slo) / (1 - allowed(slo)))
        return max(slo.least_events, math.ceil(needed))
    if slo.spec.kind != "proportion":
        return slo.least_events
    return max(slo.least_events, math.ceil(math.log(ALPHA / 2) / math.log1p(-allowed(slo))))


def allowed(slo: Slo) -> float:
    """Return the share of bad events that the target allows; of a mean, how far from the good end of its span it may be."""
    if slo.compare is not None:  # it allows a difference: how many events prove that hangs on both variants
        return 1 / 3
    if slo.spec.kind == "mean":
        return 1 - slo.limit if slo.target.op == ">=" else slo.limit
    if slo.spec.kind == "abuse":
        return slo.target.value / PER
    return 1 - slo.target.value if slo.target.op == ">=" else slo.target.value


def growth(slo: Slo, bad: float) -> float:
    """Return the evidence in nats that an event brings when a share `bad` fails, for the best alternative.

    Values of a mean are taken to lie at the ends of its span, where they vary most. For ECE the scores are taken to be near one half, where evidence grows slowest, and the signs to be known.
    """
    limit = allowed(slo)
    if slo.spec.kind == "abuse":
        return max(bad * math.log1p(float(x)) - limit * float(x) for x in FASTER)
    if slo.spec.kind in MEANS:
        return max(bad * math.log1p(x * (1 / limit - 1)) + (1 - bad) * math.log1p(-x) for x in BETS.tolist())
    if slo.spec.kind == "proportion":
        tried = [limit + (1 - limit) * step for step in STEPS]
        return max(bad * math.log(q / limit) + (1 - bad) * math.log((1 - q) / (1 - limit)) for q in tried)
    up = 0.5 + bad
    return max(up * math.log1p(x * (0.5 - limit)) + (1 - up) * math.log1p(x * (-0.5 - limit)) for x in LAMBDAS)


def needed_nats(policy: Policy, slo: Slo) -> float:
    """Return the evidence in nats that one alternative needs to page by itself: ln(C·K), K alternatives."""
    kinds = {"proportion": len(STEPS), "mean": len(BETS), "auroc": len(BETS), "abuse": len(FASTER)}
    alternatives = kinds.get(slo.spec.kind, len(LAMBDAS))
    return math.log(thresholds(policy, slo).page * alternatives)


def smallest_failure(policy: Policy, slo: Slo, events: float) -> float | None:
    """Return the smallest share of failures (or ECE) that this many events in a window can prove; None if none."""
    needed, most = needed_nats(policy, slo), 0.5 if slo.spec.kind in ("ece", "ece_p95") else 1.0
    if events * growth(slo, most) < needed:
        return None
    low, high = min(allowed(slo), most), most
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if events * growth(slo, middle) >= needed else (middle, high)
    return high


def _power(policy: Policy, slo: Slo, per_day: float) -> str:
    window = show_duration(slo.window_ms)
    if slo.spec.kind == "never_event":
        return f"{slo.name}: one violation is enough; at {per_day:g}/d, zero in {window} proves {zero(per_day)}"
    if slo.spec.kind == "river":
        return (
            f"{slo.name}: one detection is enough; how large a change that takes, {slo.resolved_indicator} does not say"
        )
    if slo.spec.kind == "staleness":
        return (
            f"{slo.name}: the age of the youngest label is known in every pane of {show_duration(pane_ms(slo.window))}"
        )
    if slo.compare is not None or slo.evidence != "per_event":
        return power_otherwise(policy, slo, per_day)
    events = _seen(policy, slo, per_day)
    if slo.spec.kind == "drift":
        return delay(policy, slo, events)
    failure = smallest_failure(policy, slo, events)
    seer = "a slice" if slots(policy, slo) > 1 else "it"
    proof = "no failure at all" if failure is None else f"{noun(slo)} of {shown(slo, failure)} or worse"
    at = f"{slo.name}: at {per_day:g}/d {seer} sees at most {events:.0f} {unit(slo)} in {window} and can prove {proof}"
    return f"{at} (target {slo.target}); {_sizes(policy, slo)}"


def _sizes(policy: Policy, slo: Slo) -> str:
    needed, limit = needed_nats(policy, slo), allowed(slo)
    sizes = [1.0, 0.3, 0.1] if slo.spec.kind == "proportion" else [0.3, 0.15, 0.1]
    if slo.spec.kind in (*MEANS, "abuse"):
        sizes = [limit + (1 - limit) * step for step in (0.5, 0.25, 0.1)]
    counts = [
        f"{math.ceil(needed / growth(slo, bad))} at {shown(slo, bad)}"
        for bad in sizes
        if growth(slo, bad) > 0 and bad > limit
    ]
    return f"{unit(slo)} needed: " + ", ".join(counts) if counts else "no count of events is enough"
