"""What would clear a verdict: the rule in words (VERDICTS.md §3 and §4), and about how much traffic it takes."""

import math

from interlock.policies.measures import RecallMeasure
from interlock.policies.measures_abuse import AbuseMeasure
from interlock.policies.measures_mean import MeanMeasure
from interlock.policies.measures_river import RiverMeasure
from interlock.policies.measures_staleness import StalenessMeasure
from interlock.policies.panes import pane_ms
from interlock.policies.scalars import show_duration
from interlock.policies.why_case import Case, number
from interlock.policies.why_good import FURTHEST, Traffic, is_rate, least_to_prove, panes_to, rate_row, without_a_fault
from interlock.policies.why_parts import Ints, own_row
from interlock.policies.why_words import about, odds, span, when
from interlock.policies.why_words import number as shown


def clearing(case: Case) -> list[str]:
    """Return what would clear a verdict, or what would prove it, a sentence each."""
    return _river(case) if isinstance(case.measure, RiverMeasure) else _proven(case)


def _proven(case: Case) -> list[str]:
    match case.verdict.state:
        case "breached":
            return _breached(case)
        case "at_risk":
            return _at_risk(case)
        case "met":
            return ["Nothing: the safe side of the interval attains the target."]
        case "no_data":
            return ["Predictions: the verdict is known again with the first pane that has some."]
        case "unidentified":
            return [_unidentified(case)]
        case _:
            return _insufficient(case)


def _river(case: Case) -> list[str]:
    """Return what clears a detector of River: nothing is proven there, by either side."""
    match case.verdict.state:
        case "breached" | "at_risk":
            last = "It ends when the last detection has left the window: nothing is proven by that. Or a person releases it."
            return [last]
        case "met":
            return ["Nothing: the window has no detection, which proves nothing."]
        case "unidentified":
            return ["Events that have the numbers that are watched: too many lack one."]
        case _:
            return ["Events: a window with too few of them says nothing."]


def _breached(case: Case) -> list[str]:
    if case.measure is None and "rules" in case.evidence:
        return ["A person who releases the control: a never-event does not clear by itself (no proof would undo it)."]
    if case.endpoints:
        return [_rule(case), "Each endpoint's control ends by its own proof: ask for it by its control id."]
    if case.evidence.get("phase") == "recovering":
        return [_rule(case), f"It is proven to be kept; what is missing is the quiet time ({_hold(case)})."]
    return [_rule(case)] if "rule" in case.evidence else [_rule(case), *_ahead(case)]


def _rule(case: Case) -> str:
    if "rule" in case.evidence:
        return f"It ends when the rule has found nothing for {_hold(case)} of judged panes. Silence ends nothing. Or a person does."
    goal = number(case.evidence.get("log_v_release"))
    needs = f" of {odds(goal)}" if goal is not None else ""
    return (
        f"It ends by proof: evidence{needs} that {case.verdict.target} is kept, counted since it engaged; then {_hold(case)} "
        "of judged time without a warning. Silence proves nothing. Or a person releases it."
    )


def _hold(case: Case) -> str:
    return "the policy's `release.hold`" if case.policy is None else show_duration(case.policy.release.hold)


def _ahead(case: Case) -> list[str]:
    """Return how long recovery takes if nothing more goes wrong, and if all goes as outside the worst stretch."""
    measure, whole = case.measure, _window_row(case)
    if measure is None or whole is None or not whole.any():
        return ["How many events that takes needs the tallies, which are kept in ClickHouse only."]
    panes = _panes(case)
    good = without_a_fault(measure, whole, _op(case))
    told = [] if good is None else [_takes(case, f"without {_fault(case)}", Traffic(good, panes))]
    part = _stretch_row(case)
    if part is not None:
        outside, width = whole - part, case.verdict.window_end - int(case.stretched["from"])
        left = panes - max(1, width // _width(case))
        if left > 0 and outside.any() and (outside >= 0).all():
            value = float(measure.estimate(outside[None]).value[0])
            told.append(_takes(case, f"as outside the worst stretch ({shown(value)})", Traffic(outside, left)))
    return told


def _takes(case: Case, how: str, traffic: Traffic) -> str:
    context, measure, goal = case.context, case.measure, number(case.evidence.get("log_v_release"))
    if context is None or measure is None or goal is None:
        return ""
    recovery = measure.bank(context.thresholds, context.stale_panes).recovery()
    panes = panes_to(goal, recovery, measure, traffic, number(case.evidence.get("log_v")))
    events = float(measure.estimate(traffic.row[None]).n[0]) / traffic.panes
    if panes is None:
        return f"At the current traffic, {how}: not by proof within {FURTHEST:,} panes; it is too near the target."
    unit = _unit(case)
    return f"At the current traffic, {how}: about {about(panes * events)} further {unit}, {span(panes * _width(case))}."


def _op(case: Case) -> str:
    return case.slo.target.op if case.slo else "<="


def _fault(case: Case) -> str:
    """Return what must not happen any more."""
    if isinstance(case.measure, RecallMeasure):
        return "a single miss"
    if case.measure is not None and is_rate(case.measure):
        return "a single hit" if _op(case) == "<=" else "a single failure"
    if isinstance(case.measure, AbuseMeasure):
        return "a single report"
    if isinstance(case.measure, StalenessMeasure):
        return "any delay of labels"
    if isinstance(case.measure, MeanMeasure):
        return "anything but the best values"
    return "any miscalibration"


def _unit(case: Case) -> str:
    """Return what the value is counted in."""
    if isinstance(case.measure, RecallMeasure):
        return "confirmed events"
    return "labelled events" if case.slo and case.slo.spec.chain == "joined" else "events"


def _width(case: Case) -> int:
    """Return the width of a judged pane in ms."""
    return pane_ms(case.verdict.window_end - case.verdict.window_start)


def _panes(case: Case) -> int:
    return max(1, (case.verdict.window_end - case.verdict.window_start) // _width(case))


def _window_row(case: Case) -> Ints | None:
    """Return the cells of the verdict's scope over its window: of a rate from the verdict itself, else from tallies."""
    hits, own = case.evidence.get("hits"), dict(case.scope) == case.verdict.scope
    if case.measure is not None and own and isinstance(hits, int):
        row = rate_row(case.measure, case.verdict.n, hits)
        if row is not None:
            return row
    return own_row(case, case.window or ())


def _stretch_row(case: Case) -> Ints | None:
    told = case.stretched
    hits, value = told.get("hits"), told.get("value")
    if case.measure is not None and isinstance(hits, int) and isinstance(value, float) and value > 0:
        row = rate_row(case.measure, int(told.get("n", round(hits / value))), hits)
        if row is not None:
            return row
    return own_row(case, case.stretch or ())


def _at_risk(case: Case) -> list[str]:
    told = ["It pages only if the evidence gets there."]
    if case.context is not None:
        warning = odds(math.log(case.context.thresholds.warn))
        told = [
            f"{told[0]} It is at risk while the evidence is {warning} or more, or the value misses {case.verdict.target}."
        ]
    if case.stretched:
        leaves = int(case.stretched["from"]) + case.verdict.window_end - case.verdict.window_start
        told.append(f"Its worst stretch begins to leave the window at {when(leaves)}.")
    row = _window_row(case)
    proven = case.measure is not None and row is not None and bool(case.measure.estimate(row[None]).proven[0])
    return told if proven else told + _proving(case)


def _insufficient(case: Case) -> list[str]:
    reason = case.evidence.get("reason", "")
    if str(reason).startswith("labels missing"):
        return [f"The labels that are due ({reason})."]
    least = case.slo.least_events if case.slo else None
    counted = case.verdict.n / (number(case.evidence.get("dispersion")) or 1.0)
    told = []
    if least is not None and "effective events" in str(reason):
        more = math.ceil(max(0.0, least - counted))
        told.append(f"First {about(more)} more effective events in one window: below {least:,} nothing is said.")
    return told + _proving(case)


def _proving(case: Case) -> list[str]:
    """Return how much faultless traffic in one window would prove the target."""
    measure, row = case.measure, None if case.endpoints else _window_row(case)
    good = None if measure is None or row is None else without_a_fault(measure, row, _op(case))
    if measure is None or good is None:
        return [f"Proof: an interval that attains {case.verdict.target} as a whole."]
    least = least_to_prove(measure, good)
    if least is None:
        return ["At this traffic no window proves it."]
    events, have = about(least), case.verdict.n
    beside = "more than" if have < least else "as against"
    return [f"About {events} {_unit(case)} in one window without {_fault(case)} would prove it, {beside} {have:,} now."]


def _unidentified(case: Case) -> str:
    if case.measure is not None and isinstance(case.measure, RecallMeasure):
        if case.policy is not None and case.policy.audits is None:
            return "Audits: set audits.rate, and review what `interlock audits export` lists."
        return (
            "Reviews of what was flagged and audits of what was drawn: 95 % of each must be settled."
            " `interlock audits export` lists the rest."
        )
    return "Events for which the policy's `where` and rules can be decided: too many lack a field that they read."
