"""What a verdict and a control tell people: the stretch that broke the target, causing events by name, what is missing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.policies.alarm import Alarms, Change
from interlock.policies.alarm_rules import Level, RuleAlarms
from interlock.policies.budget import budget, share_of
from interlock.policies.causes import Causes
from interlock.policies.context import Context
from interlock.policies.measures import IDENTIFIED, MOST_UNDECIDED, Measure
from interlock.policies.measures_compare import CompareMeasure
from interlock.policies.window import PaneWindow
from interlock.records import State, Verdict

Ints = NDArray[np.int64]

NEEDS_REFERENCE = {
    "unseen_rate": "no value can be told to be new",
    "missing_rate": "which features an event should have is not known",
    "range_violations": "no range of a number is known",
}
"""Indicators that are blind without a reference, and why."""

UNDECIDED_WHERE = "too often it could not be decided what an event counts as (fields are missing, or of another kind)"


@dataclass(frozen=True, slots=True)
class Story:
    """Where the evidence of one slot lies: its window's sums `row` int64[width], and the causes."""

    context: Context
    measure: Measure
    alarms: Alarms
    window: PaneWindow
    slot: int
    row: Ints
    causes: Causes


def evidence(story: Story, state: State) -> dict[str, object]:
    """Return the evidence of a verdict: evidence against thresholds, counts, the worst stretch, causes by name."""
    context = story.context
    log_m = float(story.alarms.log_m()[story.slot])
    told: dict[str, object] = {"dispersion": context.dispersion, **story.measure.details(story.row), **_budget(story)}
    if context.slo.in_budget:
        told["log_e"] = log_m if math.isfinite(log_m) else None
        told["log_e_page"] = math.log(context.thresholds.page)
    if isinstance(story.alarms, RuleAlarms):
        level = story.alarms.levels.get(story.slot, Level.PAGE)
        told |= {"rule": context.slo.evidence, "severity": "page" if level == Level.PAGE else "ticket"}
    if state in ("breached", "at_risk"):
        told |= _worst(story)
    told |= story.causes.told(story.slot, _since(story, told))
    reason = _missing(story, state)
    return told | ({"reason": reason} if reason else {})


def _since(story: Story, told: Mapping[str, object]) -> int:
    """Return the first pane whose causes are told: of the stretch that is shown, else of the window."""
    stretch = told.get("stretch")
    if isinstance(stretch, Mapping):
        return int(stretch["from"]) // story.context.pane_ms
    return story.window.held[0].pane if story.window.held else 0


def _budget(story: Story) -> dict[str, object]:
    share = share_of(story.context, story.measure)
    return {} if share is None else budget(story.context, share, story.window, story.slot)


def _worst(story: Story) -> dict[str, object]:
    """Return the stretch inside the window that speaks most for a breach: what the page shows (VERDICTS.md §2)."""
    state = story.alarms.engaged.get(story.slot)
    stretch = story.window.stretch(story.slot, 0)
    told: dict[str, object] = {}
    if state:
        told["phase"], told["engaged_at"] = state.phase.value, (state.since + 1) * story.context.pane_ms
        if story.context.slo.in_budget:
            told["log_v"] = state.recovery.log_v if math.isfinite(state.recovery.log_v) else None
            told["log_v_release"] = math.log(story.context.thresholds.release)
    if stretch and story.context.slo.in_budget:
        value = float(story.measure.estimate(stretch.cells[None]).value[0])
        told["stretch"] = {
            "from": stretch.first * story.context.pane_ms,
            "value": None if math.isnan(value) else value,
            "log_e": stretch.nats,
            **story.measure.details(stretch.cells),
        }
    return told


def _missing(story: Story, state: State) -> str | None:
    """Return what a verdict lacks, in words."""
    blind = _blind(story.context)
    if blind is not None:
        return blind
    match state:
        case "no_data":
            return _silent(story)
        case "unidentified":
            return _unidentified(story)
        case "insufficient":
            return _insufficient(story)
    return None


def _silent(story: Story) -> str:
    arms = story.measure.silent_arms(story.row[None]) if isinstance(story.measure, CompareMeasure) else []
    if arms:
        return f"no predictions of {' and '.join(arms)} in the time that counts: there is nothing to compare"
    return "no predictions in the time that counts"


def _blind(context: Context) -> str | None:
    indicator = context.slo.resolved_indicator
    if indicator in ("ood_recall", "ood_rate") and not context.learned.scores_ood:
        return "no reference, and no ood_score with ood.threshold: nothing can be scored"
    if indicator in NEEDS_REFERENCE and not context.learned.reference_id:
        return f"no reference: {NEEDS_REFERENCE[indicator]}"
    if indicator == "range_violations" and not context.learned.ranges:
        return "the reference knows no ranges: it has no numbers, or an older `interlock fit` wrote it; fit it again"
    return None


def _insufficient(story: Story) -> str:
    context, sums = story.context, story.row[None]
    due, found = (int(x[0]) for x in story.measure.labels(sums))
    if found < context.coverage * due:
        return f"labels missing: {found} of {due}"
    effective = float(story.measure.estimate(sums).effective[0])
    if effective < context.slo.least_events:
        return f"{effective:.0f} effective events of {context.slo.least_events}"
    told = story.measure.details(story.row)
    if "fewer_than" in told:
        return f"fewer than {told['fewer_than']} reports: neither shown nor judged, so that nobody can be made out"
    rare = context.slo.resolved_indicator == "false_positive_rate" and "said" in told
    if rare and not (told["said"] and told["meant"]):
        return f"the class never came: predictions said it {told['said']} times and labels {told['meant']} times"
    return "the interval does not settle it yet"


def _unidentified(story: Story) -> str:
    context = story.context
    if context.unlabelled == "ipw" and context.arriving is None:
        return (
            "the reference has no reporting delays of both outcomes, or too few labels come by maturity: fit it with more"
            " outcomes, wait longer (labels.maturity), or choose another labels.on_unlabelled"
        )
    if context.slo.resolved_indicator != "ood_recall":
        return UNDECIDED_WHERE
    if context.policy.audits is None:
        return (
            "no audits: what was not flagged is unknown; set audits.rate (`interlock fit --audit-plan` says which),"
            " then `interlock audits export` lists what people must review"
        )
    told = {name: n for name, n in story.measure.details(story.row).items() if isinstance(n, int)}
    if told["undecided"] > MOST_UNDECIDED * (int(story.measure.seen(story.row[None])[0]) + told["undecided"]):
        return UNDECIDED_WHERE
    return _unreviewed(told["flagged"], told["reviewed"], told["audits_due"], told["audits_settled"])


def _unreviewed(flagged: int, reviewed: int, due: int, settled: int) -> str:
    if reviewed >= IDENTIFIED * flagged and settled >= IDENTIFIED * due:
        return f"{due:,} audits were drawn, which does not fit audits.rate: has it, or INTERLOCK_AUDIT_SECRET, changed?"
    return (
        f"{reviewed:,} of {flagged:,} flagged events and {settled:,} of {due:,} audits are reviewed, of which"
        f" {IDENTIFIED:.0%} each are needed: `interlock audits export` lists the rest"
    )


def sentence(verdict: Verdict, change: Change) -> str:
    """Return one line on why a control changes."""
    where = ", ".join(verdict.scope.values()) or "the whole model"
    if change is Change.RELEASED:
        proven = "seems to keep" if "rule" in verdict.evidence else "is proven to keep"
        return f"{verdict.slo} {proven} {verdict.target} again in {where}"
    if change is Change.HELD:
        return f"{verdict.slo} has been engaged for max_hold in {where}: a person must decide"
    rule = verdict.evidence.get("rule")
    if rule == "burn_rate":
        return f"{verdict.slo} burns its error budget for {verdict.target} too fast in {where}: {_burns(verdict)}"
    stretch = verdict.evidence.get("stretch")
    value = stretch.get("value") if isinstance(stretch, dict) else verdict.value
    shown = "a stretch of the window" if value is None else f"{value:.3g}"
    return f"{verdict.slo} misses {verdict.target} in {where}: {shown}"


def _burns(verdict: Verdict) -> str:
    rates = verdict.evidence.get("burn_rate")
    told = rates.items() if isinstance(rates, dict) else ()
    return ", ".join(f"{rate:.3g} times over {span}" for span, rate in told if rate is not None)
