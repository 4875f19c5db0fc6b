"""What the types of a policy cannot say: indicators with their targets and windows, slices, names, expressions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from interlock.policies.explain import did_you_mean
from interlock.policies.expressions import ExpressionError, compile_expression
from interlock.policies.model import INDICATORS, Indicator, NeverEvent, Policy, SliceSet, Slo
from interlock.policies.model_base import Part
from interlock.policies.model_checks_drift import ticket
from interlock.policies.model_checks_evidence import check_evidence
from interlock.policies.model_later import Rollout
from interlock.policies.model_river import check_river
from interlock.policies.model_slo import OF_CLASS, OF_PROBABILITY
from interlock.policies.model_targets import bounds, target
from interlock.policies.panes import least_threshold, thresholds
from interlock.policies.positions import Finding, Loc
from interlock.policies.scalars import DAY, MINUTE, show_duration

SHORTEST_WINDOW = MINUTE
LONGEST_WINDOW = 366 * DAY

_PartT = TypeVar("_PartT", bound=Part)


PLACEHOLDERS: dict[type[Part], dict[str, Any]] = {
    Slo: {
        "name": "unnamed",
        "objective": "-",
        "target": "== 0",
        "window": "rolling",
        "action_on_breach": "notify",
    },
    NeverEvent: {"name": "unnamed", "when": "true"},
    Rollout: {"variant": "-"},
}
"""Stand for keys that are wrong by themselves, so that the rest of their part is checked in the same run."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a policy as far as they can be read, by place; `slices` is None if one of them is wrong.

    `wrong` has the places that are wrong by themselves: nothing more is to be said about them.
    """

    slos: tuple[tuple[int, Slo], ...]
    never_events: tuple[tuple[int, NeverEvent], ...]
    rollout: tuple[tuple[int, Rollout], ...]
    slices: tuple[SliceSet, ...] | None
    wrong: frozenset[Loc]
    predicted: str | None = None


def draft(data: object) -> Draft:
    """Return what can be read in the plain values of a policy file, whatever else is wrong with it."""
    values: dict[str, Any] = data if isinstance(data, dict) else {}
    slices, wrong = values.get("slices", ()), set[Loc]()
    readable = _readable(SliceSet, "slices", slices, wrong)
    labels = values.get("labels")
    predicted = labels.get("predicted") if isinstance(labels, dict) else None
    whole = isinstance(slices, tuple) and not any(loc[0] == "slices" for loc in wrong)
    return Draft(
        slos=_readable(Slo, "slos", values.get("slos"), wrong),
        never_events=_readable(NeverEvent, "never_events", values.get("never_events"), wrong),
        rollout=_readable(Rollout, "rollout", values.get("rollout"), wrong),
        slices=tuple(one for _, one in readable) if whole else None,
        wrong=frozenset(wrong),
        predicted=predicted if isinstance(predicted, str) and predicted else None,
    )


def _readable(part: type[_PartT], key: str, items: object, wrong: set[Loc]) -> tuple[tuple[int, _PartT], ...]:
    found = []
    for i, item in enumerate(items if isinstance(items, tuple) else ()):
        bad = _wrong_keys(part, item)
        wrong.update((key, i, name) for name in bad)
        if bad and not isinstance(item, dict):
            continue
        kept = {name: value for name, value in item.items() if name not in bad}
        filled = PLACEHOLDERS.get(part, {}) | kept
        if not _wrong_keys(part, filled):
            found.append((i, part.model_validate(filled)))
    return tuple(found)


def _wrong_keys(part: type[Part], item: object) -> set[str | int]:
    try:
        part.model_validate(item)
    except ValidationError as error:  # reported with the whole policy
        return {one["loc"][0] if one["loc"] else "" for one in error.errors(include_url=False)}
    return set()


def check_draft(parts: Draft) -> list[Finding]:
    """Return everything wrong between the parts, and in what types cannot say of each."""
    return [finding for finding in _findings(parts) if finding.loc[:3] not in parts.wrong]


def _findings(parts: Draft) -> Iterator[Finding]:
    yield from _expression(("labels", "predicted"), parts.predicted)
    for i, slo in parts.slos:
        yield from _slo(("slos", i), slo, parts.slices)
        yield from _expression(("slos", i, "where"), slo.where)
        yield from _expression(("slos", i, "good"), slo.good)
    for i, event in parts.never_events:
        yield from _expression(("never_events", i, "when"), event.when)
        yield from _expression(("never_events", i, "where"), event.where)
    for i, limit in parts.rollout:
        yield from _expression(("rollout", i, "where"), limit.where)
    yield from _repeated("slos", parts.slos)
    yield from _repeated("never_events", parts.never_events)
    yield from _slices(parts.slices or ())


def check_budget(policy: Policy) -> list[Finding]:
    """Return what is wrong with the budget of false pages and the times of an otherwise valid policy."""
    findings = []
    release = policy.release
    if release.hold > release.max_hold:
        text = f"found {show_duration(release.hold)}; expected at most max_hold, {show_duration(release.max_hold)}"
        findings = [Finding(("release", "hold"), text)]
    for slo in policy.slos_in_force:
        most = thresholds(policy, slo).page * policy.false_pages_per_year / least_threshold(slo)
        shares = slo.in_budget and slo.spec.kind not in ("never_event", "river")
        if policy.false_pages_per_year > most and shares:
            floor = f"above it the threshold of {slo.name} is below 10 x window/pane, and noise pages"
            text = f"found {policy.false_pages_per_year:g}; expected at most {most:.3g}; {floor}"
            return [*findings, Finding(("false_pages_per_year",), text)]
    return findings


def _slo(loc: Loc, slo: Slo, slices: Sequence[SliceSet] | None) -> Iterator[Finding]:
    name = slo.resolved_indicator
    place = (*loc, "indicator" if slo.indicator else "name")
    indicator = INDICATORS.get(name)
    if indicator is None:
        yield Finding(place, _no_indicator(name, named=bool(slo.indicator)))
        return
    yield from _conditions(loc, slo)
    if indicator.kind == "drift":
        yield from ticket(loc, slo)
    yield from target((*loc, "target"), slo, indicator)
    yield from _window((*loc, "window"), slo, indicator)
    yield from check_evidence(loc, slo, indicator)
    if slo.per is not None and not indicator.per:
        yield Finding((*loc, "per"), f"found per; expected none, since {name} is judged as a whole")
    elif slo.per is not None and slices is not None:
        yield from _per((*loc, "per"), slo, slices)


def _conditions(loc: Loc, slo: Slo) -> Iterator[Finding]:
    name = slo.resolved_indicator
    if name == "ratio" and slo.good is None:
        text = "found the indicator ratio without `good`; expected a CEL condition there: what is counted as a hit"
        yield Finding((*loc, "indicator" if slo.indicator else "name"), text)
    owners = (*OF_CLASS, *OF_PROBABILITY)
    if name not in owners and slo.class_ is not None:
        text = f"found class; expected none, since it belongs to {', '.join(owners)}, not {name}"
        yield Finding((*loc, "class"), text)
    yield from bounds(loc, slo)
    yield from check_river(loc, slo)
    if name != "ratio" and slo.good is not None:
        yield Finding((*loc, "good"), f"found good; expected none, since it belongs to the indicator ratio, not {name}")


def _no_indicator(name: str, *, named: bool) -> str:
    source = f"the indicator {name}" if named else f"no `indicator`, and a name that implies {name}"
    return f"found {source}; expected one of {', '.join(INDICATORS)}" + did_you_mean(name, [*INDICATORS])


def _window(loc: Loc, slo: Slo, indicator: Indicator) -> Iterator[Finding]:
    window = slo.window
    if indicator.kind == "never_event":
        if window != "rolling":
            yield Finding(loc, f"found {show_duration(window)}; expected rolling, since it latches until a release")
    elif window == "rolling":
        yield Finding(loc, "found rolling, which is for never-events; expected a duration such as 24h or 7d")
    elif not SHORTEST_WINDOW <= window <= LONGEST_WINDOW:
        yield Finding(loc, f"found {show_duration(window)}; expected a window from 1m to 366d")


def _per(loc: Loc, slo: Slo, slices: Sequence[SliceSet]) -> Iterator[Finding]:
    declared = ", ".join(f"[{', '.join(one.by)}]" for one in slices) or "none"
    if slo.per == "slice":
        if len(slices) != 1:
            expected = "exactly one entry in `slices`, or the segment keys of one"
            yield Finding(loc, f"found slice, and {len(slices)} declared ({declared}); expected {expected}")
    elif not any(set(one.by) == set(slo.per or ()) for one in slices):
        found = f"[{', '.join(slo.per or ())}]"
        yield Finding(loc, f"found {found}; expected the segment keys of an entry in `slices` (declared: {declared})")


def _repeated(key: str, items: Iterable[tuple[int, Slo | NeverEvent]]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for i, item in items:
        if item.name in first:
            text = f"found the name {item.name} again ({key}[{first[item.name]}] has it); expected a name of its own"
            yield Finding((key, i, "name"), text)
        first.setdefault(item.name, i)


def _slices(slices: Sequence[SliceSet]) -> Iterator[Finding]:
    seen: list[set[str]] = []
    for i, one in enumerate(slices):
        keys = set(one.by)
        if len(keys) < len(one.by):
            yield Finding(("slices", i, "by"), "found a segment key twice; expected each once")
        if keys in seen:
            yield Finding(("slices", i, "by"), "found segment keys that are declared already; expected each set once")
        seen.append(keys)


def _expression(loc: Loc, source: str | None) -> Iterator[Finding]:
    if source is None:
        return
    try:
        compile_expression(source)
    except ExpressionError as error:
        yield Finding(
            loc,
            f"found CEL that does not compile ({error.message}); expected an expression over the event",
            offset=error.offset,
        )
