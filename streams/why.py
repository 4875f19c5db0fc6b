"""From an id to all that is known of its verdict: what `interlock why` explains."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from interlock.errors import UserError
from interlock.policies.context import Learned
from interlock.policies.model import Policy
from interlock.policies.pages import INCIDENT, page_ids
from interlock.policies.plan import INPUTS_FROM
from interlock.policies.planning import make_plan
from interlock.policies.why_case import Case
from interlock.policies.why_words import place, when
from interlock.records import Control, Count, Verdict
from interlock.streams.pipeline import learned
from interlock.streams.reference import Reference

PATH = 60
"""Verdicts of the path that are read."""

CLOSE, CLOSE_PREFIX = 3, 4
"""Ids that an error names, and the letters that they share with what was asked for."""

SHOWN = 40
"""Letters of a wrong id that an error repeats."""

MANY = 1000
"""Ids that are looked at for close ones."""


class Archive(Protocol):
    """Where verdicts, controls and counts are kept: a replay's files, or ClickHouse."""

    def ids(self, prefix: str, most: int) -> list[str]:
        """Return the first ids of verdicts that begin so, sorted."""

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Return a verdict by its whole id."""

    def path(self, verdict: Verdict, most: int) -> list[Verdict]:
        """Return the last verdicts of the same SLO and scope up to a verdict, oldest first."""

    def newest(self, verdict: Verdict) -> Verdict:
        """Return the last verdict of the same SLO and scope."""

    def latest(self) -> list[Verdict]:
        """Return the last verdict of every SLO and scope."""

    def controls(self) -> list[Control]:
        """Return all transitions of controls, by event time."""

    def counts(self, verdict: Verdict, kind: str, start: int, *, cohorts: bool) -> list[Count] | None:
        """Return the counts of a kind of series from `start` (ms) to a verdict's window's end; None without any."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an id names; `control` is None for a verdict's own."""

    kind: str
    id: str
    control: Control | None = None

    def said(self, archive: Archive) -> str:
        """Return it as an error names it."""
        if self.control is not None:
            about = self.control
            return f"{self.kind} {self.id} ({about.state} {about.mode}, {place(about.scope)}, {when(about.ts)})"
        verdict = archive.verdict(self.id)
        about_it = f" ({verdict.slo}, {place(verdict.scope)}, {verdict.state}, {when(verdict.ts)})" if verdict else ""
        return f"{self.kind} {self.id}{about_it}"


def case_of(archive: Archive, asked: str, policy: Policy | None, reference: Reference | None) -> Case:
    """Return all that is known of what an id, or its unique beginning, names: a verdict, a control or a page.

    Raises:
        UserError: it names nothing, or several things; or the policy has no such SLO.
    """
    controls = archive.controls()
    found = find(archive, asked, controls)
    verdict = _verdict(archive, found, controls)
    known = _learned(policy, reference, verdict)
    own = tuple(one for one in controls if one.model == verdict.model and one.slo.partition(".")[0] == verdict.slo)
    path = tuple(archive.path(verdict, PATH))
    case = Case(verdict, archive.newest(verdict), path, own, found.control, policy, known)
    return _counted(archive, case)


def _counted(archive: Archive, case: Case) -> Case:
    """Add the counts over the window, and over the stretch if there is one."""
    if case.kind is None or case.slo is None:
        return case
    verdict, cohorts = case.verdict, case.slo.spec.chain == "joined"
    window = _judged(archive.counts(verdict, case.kind, verdict.window_start, cohorts=cohorts))
    start = case.stretched.get("from")
    if window is None or start is None:
        return replace(case, window=window)
    return replace(
        case, window=window, stretch=_judged(archive.counts(verdict, case.kind, int(start), cohorts=cohorts))
    )


def _judged(counts: list[Count] | None) -> list[Count] | None:
    """Return the counts that a verdict rests on: what only estimates are made from is none of them."""
    return None if counts is None else [one for one in counts if one.cell < INPUTS_FROM]


def _learned(policy: Policy | None, reference: Reference | None, verdict: Verdict) -> Learned | None:
    if policy is None:
        return None
    if all(slo.name != verdict.slo for slo in policy.slos_in_force):
        names = ", ".join(slo.name for slo in policy.slos_in_force)
        raise UserError(f"--policy: it has no SLO {verdict.slo}, of which this verdict is; it has {names}")
    return learned(make_plan(policy), reference)


def find(archive: Archive, asked: str, controls: Sequence[Control]) -> Found:
    """Return the one thing that an id names; UserError in one line if there is none, or if there are several."""
    text = asked.strip().removeprefix(INCIDENT).lower()
    if not text:
        raise UserError("expected the id of a verdict, a control or a page, or its beginning")
    found = _named(archive, text, controls)
    exact = [one for one in found if one.id == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        listed = "; ".join(one.said(archive) for one in found[:CLOSE])
        more = " and more" if len(found) > CLOSE else ""
        raise UserError(f"{_short(asked)} is the beginning of several ids: {listed}{more}; give more of it")
    raise UserError(f"no verdict, control or page has the id {_short(asked)}{_close(archive, text, controls)}")


def _named(archive: Archive, text: str, controls: Sequence[Control]) -> list[Found]:
    """Return what begins so, a name once: a control by its first transition that moved it, a page by its own."""
    found = {one: Found("verdict", one) for one in archive.ids(text, CLOSE + 1)}
    for one in _others(controls):
        if one.id.startswith(text):
            found.setdefault(one.id, one)
    return list(found.values())


def _others(controls: Sequence[Control]) -> Iterator[Found]:
    for control in controls:
        yield Found("control", control.control_id, control)
        for page in page_ids(control):
            yield Found("page", page, control)


def _close(archive: Archive, text: str, controls: Sequence[Control]) -> str:
    """Return the ids that are most like one; else what there is."""
    start = text[:CLOSE_PREFIX]
    near = archive.ids(start, MANY) if len(start) == CLOSE_PREFIX else []
    near += sorted({one.id for one in _others(controls) if one.id.startswith(start)} - set(near))
    known = {one.verdict_id for one in archive.latest()} | {one.control_id for one in controls}
    liked = _most_alike(text, near) or difflib.get_close_matches(text, sorted(known), CLOSE, 0.8)
    if liked:
        return f"; near it: {', '.join(liked)}"
    return "; `interlock why` without an id lists the latest" if known else "; nothing is stored there"


def _most_alike(text: str, ids: Sequence[str]) -> list[str]:
    return sorted(ids, key=lambda one: (-_shared(one, text), one))[:CLOSE]


def _shared(one: str, other: str) -> int:
    """Return how many letters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _short(text: str) -> str:
    """Return what was asked for as an error repeats it: printable, and not too long."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text.strip())
    return clean if len(clean) <= SHOWN else clean[: SHOWN - 1] + "…"


def _verdict(archive: Archive, found: Found, controls: Sequence[Control]) -> Verdict:
    """Return the verdict that something leads to: a control's own, else the last one before it was moved."""
    control = found.control
    wanted = found.id if control is None else control.verdict_id or _by_others(control, controls)
    verdict = archive.verdict(wanted) if wanted else None
    if verdict is not None:
        return verdict
    raise UserError(f"{found.kind} {found.id}: its verdict is not stored{f' ({wanted})' if wanted else ' yet'}")


def _by_others(control: Control, controls: Sequence[Control]) -> str:
    """Return the verdict of another transition of the same control: a person's release and a trigger have none."""
    own = [one.verdict_id for one in controls if one.control_id == control.control_id and one.verdict_id]
    return own[0] if own else ""
