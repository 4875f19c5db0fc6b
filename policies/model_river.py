"""What an SLO of a River detector must say: numbers to watch, parameters by River's signature, a ticket and no action."""

from collections.abc import Iterator

from interlock.detectors.river_detectors import ANOMALY, problems
from interlock.policies.model_slo import RIVER, Slo
from interlock.policies.positions import Finding, Loc


def check_river(loc: Loc, slo: Slo) -> Iterator[Finding]:
    """Yield what is wrong with the keys of River's detectors, where they belong and where they do not."""
    name = slo.resolved_indicator
    if name not in RIVER:
        for key, value in (("fields", slo.fields), ("params", slo.params)):
            if value is not None:
                text = f"found {key}; expected none, since it belongs to {', '.join(RIVER)}, not {name}"
                yield Finding((*loc, key), text)
        return
    yield from _watched(loc, slo, name)
    yield from _params((*loc, "params"), slo, name)
    if slo.severity != "ticket":
        text = f"found page; expected ticket: nobody can say how often {name} is wrong"
        yield Finding((*loc, "severity"), text)
    if slo.action_on_breach != "notify":
        text = f"found {slo.action_on_breach}; expected notify: {name} depends on partitions and restarts"
        yield Finding((*loc, "action_on_breach"), text)


def _params(loc: Loc, slo: Slo, name: str) -> Iterator[Finding]:
    for one in problems(name.removeprefix("river."), slo.params or {}):
        yield Finding(loc if one.key is None else (*loc, one.key), one.text)
    limits = (slo.params or {}).get("limits")
    for field in limits if isinstance(limits, dict) else ():
        if field not in slo.watched:
            text = f"found {field}; expected one of what is watched: {', '.join(slo.watched)}"
            yield Finding((*loc, "limits", field), text)


def _watched(loc: Loc, slo: Slo, name: str) -> Iterator[Finding]:
    several = name.removeprefix("river.") in ANOMALY
    if slo.field is None and slo.fields is None:
        either = " (or fields: [features.a, features.b])" if several else ""
        text = f"found none, which the indicator {name} needs; expected one, such as field: features.amount{either}"
        yield Finding((*loc, "field"), text)
    elif slo.fields is not None and not several:
        text = f"found fields; expected field: {name} watches one number"
        yield Finding((*loc, "fields"), text)
    elif slo.field is not None and slo.fields is not None:
        yield Finding((*loc, "fields"), "found field and fields; expected one of them")
