"""A policy, and those that follow it in mid-stream, compiled into what shards count."""

from collections.abc import Sequence
from dataclasses import replace

from interlock.detectors.river_detectors import Setting
from interlock.policies.expressions import Expression, compile_expression
from interlock.policies.model import Policy, Slo
from interlock.policies.panes import tick_ms
from interlock.policies.plan import KINDS, LOSSES, Kind, Plan, Series, slice_paths, slo_paths


def make_plan(policy: Policy, changes: Sequence[tuple[Policy, int]] = ()) -> Plan:
    """Compile a policy: SLOs of the same kind, filter and split share their series.

    `changes` are the policies that follow it, each from a time (ms, a multiple of the tick) on. Their series come after
    those that are known, so that a position means the same before and after a change is heard of.
    """
    series: dict[str, Series] = {}
    of_slo = [_places(one, series) for one in (policy, *(changed for changed, _ in changes))]
    paths = frozenset().union(*(one.paths for one in series.values()))
    said = policy.labels.predicted
    predicted = compile_expression(said) if said else None
    plan = Plan(policy, tick_ms(policy), tuple(series.values()), of_slo[0], paths, predicted)
    plan = replace(plan, paths=paths | predicted.paths) if predicted and plan.classifies else plan
    if not changes:
        return plan
    later = [
        replace(plan, policy=changed, since=ts // plan.tick, of_slo=places, live=_live(places))
        for (changed, ts), places in zip(changes, of_slo[1:], strict=True)
    ]
    return replace(plan, live=_live(of_slo[0]), later=tuple(later))


def _places(policy: Policy, series: dict[str, Series]) -> tuple[tuple[int, ...], ...]:
    """Add a policy's series to those that are known; return the positions of each SLO's."""
    if not series:
        series[_events(policy).key] = _events(policy)  # the split of all events stays that of the first policy
    found = []
    for slo in policy.slos_in_force:
        wanted = _series_of(policy, slo)
        for one in wanted:
            series.setdefault(one.key, one)
        found.append(tuple(list(series).index(one.key) for one in wanted))
    return tuple(found)


def _live(places: Sequence[Sequence[int]]) -> frozenset[int]:
    """Return the series that are counted: all events, and what the SLOs need."""
    return frozenset({0}.union(*places))


def _events(policy: Policy) -> Series:
    return Series(Kind.EVENTS, slice_paths(policy.slices[0].by) if policy.slices else ())


def _series_of(policy: Policy, slo: Slo) -> tuple[Series, ...]:
    kind, name = KINDS[slo.resolved_indicator], slo.resolved_indicator
    where = compile_expression(slo.where) if slo.where else None
    if kind is not Kind.NEVER:
        impact = kind is Kind.ECE and bool(policy.high_impact)
        good = compile_expression(slo.good) if slo.good else None
        span = slo.span if kind in (*LOSSES, Kind.MEAN) else None
        made = Series(kind, slo_paths(policy, slo), where, high_impact=impact, good=good, named=slo.class_)
        if kind is Kind.RIVER:
            setting = Setting.of(name.removeprefix("river."), slo.params or {})
            return (replace(made, fields=slo.watched, river=setting),)
        made = replace(made, field=slo.field or slo.category or "", span=span)
        arms = (slo.compare.variant, slo.compare.to) if slo.compare else ("",)
        return tuple(replace(made, variant=arm) for arm in arms)
    return tuple(
        Series(
            kind,
            where=_both(where, compile_expression(rule.where) if rule.where else None),
            rule=rule.name,
            when=compile_expression(rule.when),
        )
        for rule in policy.never_events
    )


def _both(first: Expression | None, second: Expression | None) -> Expression | None:
    if first is None or second is None:
        return first or second
    return compile_expression(f"({first.source}) && ({second.source})")
