"""What on-call reads: one page per control that engages, changes or ends, in plain words with the numbers of its evidence.

A page claims only what was published; who obeys, the acks and the traffic's route say (DESIGN.md, law 6).
"""

from typing import Literal

from interlock.policies.controls import identity
from interlock.policies.model import Policy, Slo
from interlock.policies.pages_text import What, details, place, plain, since
from interlock.policies.review import STANDING
from interlock.records import Control, Link, Page, Severity

INCIDENT = "interlock/v1/"
SUMMARY = 1024
"""Characters of a summary."""

Action = Literal["trigger", "update", "resolve"]


def page_of(control: Control, policy: Policy) -> Page | None:
    """Return the page of a control, None if it wakes nobody.

    It pages if the SLO's severity is `page`; one that comes of the unknown (`SLO.no_data` and the like) only if it moves a
    mode. Review thresholds that stand before any breach (`SLO.thresholds`) are daily work. A never-event's early control and the record that its pane yields have the same `page_id`.
    """
    name, _, unknown = control.slo.partition(".")
    slo = next((one for one in policy.slos if one.name == name), None)
    if not _pages(control, slo, unknown):
        return None
    what = What(control, policy, slo, unknown, again=_again(control, slo))
    action = _action(what)
    return Page(
        page_id=_page_id(control, action),
        action=action,
        incident=INCIDENT + control.control_id,
        severity=_severity(what, action),
        summary=_summary(what, action),
        model=control.model,
        slo=control.slo,
        scope=control.scope,
        control_id=control.control_id,
        epoch=control.epoch,
        mode=control.mode,
        verdict_id=control.verdict_id,
        ts=control.ts,
        details=details(what),
        links=(Link(href=policy.runbook_url, text="Runbook"),) if policy.runbook_url else (),
        issued_at=control.issued_at,
    )


def _pages(control: Control, slo: Slo | None, unknown: str) -> bool:
    if unknown == STANDING:
        return False
    if slo is None:  # the policy has dropped it: what it had opened must still close
        return control.state == "released"
    ticket = control.evidence.get("severity") == "ticket"  # a slow burn, as yet
    return slo.severity == "page" and not ticket and not (unknown != "" and control.mode == "normal")


def _again(control: Control, slo: Slo | None) -> bool:
    """Return whether it re-engaged within a day; a never-event is news each time, since only a person had let it go."""
    never = slo is not None and slo.resolved_indicator == "never_event_violations"
    return "released_at" in control.evidence and not never


def _action(what: What) -> Action:
    if what.control.state == "released":
        return "resolve"
    if what.control.evidence.get("worsened"):  # what had been a ticket only: the first page of its incident
        return "trigger"
    return "update" if what.again or what.control.evidence.get("update") else "trigger"


def _page_id(control: Control, action: Action) -> str:
    """Return a name from the control's identity; updates of one epoch differ by their time."""
    told: tuple[object, ...] = (action, control.ts) if control.evidence.get("update") else (action,)
    return identity("page/1", control.control_id, *told)


def page_ids(control: Control) -> list[str]:
    """Return the ids that the page of a control may have; which one it is depends on its policy."""
    actions: list[Action] = ["resolve"] if control.state == "released" else ["trigger", "update"]
    return [_page_id(control, action) for action in actions]


def _severity(what: What, action: Action) -> Severity:
    if action == "resolve":
        return "info"
    if what.again:
        return "warning"
    return "critical" if what.control.mode in ("safe_mode", "killed") else "error"


def _summary(what: What, action: Action) -> str:
    control = what.control
    again = "again within a day of its release: " if what.again else ""
    where = f" in {place(control.scope)}" if what.never and action == "trigger" else ""
    when = f", {'at' if what.never else 'since'} {since(what)}" if action == "trigger" or what.again else ""
    end = f"{when}. Published: {'released' if action == 'resolve' else control.mode}."
    return plain(f"{control.model}: {again}{control.cause}{where}", SUMMARY - len(end)) + end
