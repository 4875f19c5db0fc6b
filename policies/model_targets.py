"""What may be promised of each indicator: targets on its scale, and the keys that bound what it measures."""

from collections.abc import Iterator

from interlock.detectors.ece import LARGEST_EPS
from interlock.policies.cel_names import MAPS, SCALARS
from interlock.policies.expressions import ExpressionError, compile_expression
from interlock.policies.model_checks_evidence import check_difference
from interlock.policies.model_slo import CAPPED, RIVER, Indicator, Slo
from interlock.policies.positions import Finding, Loc
from interlock.policies.scalars import Target

SCALES = {"abuse": (1000.0, "reports per 1000 predictions"), "staleness": (24.0 * 366, "hours")}
"""What targets of other kinds are in, and below what they must be."""


def bounds(loc: Loc, slo: Slo) -> Iterator[Finding]:
    """Yield what is wrong with the keys that bound a mean: evidence about one without a bound is impossible."""
    name = slo.resolved_indicator
    if name in ("mae", "rmse") and slo.cap is None:
        text = (
            f"found none, which the indicator {name} needs; expected what one error counts as at most, such as cap: 100"
        )
        yield Finding((*loc, "cap"), text)
    if name not in CAPPED and slo.cap is not None:
        yield Finding((*loc, "cap"), f"found cap; expected none, since it belongs to {', '.join(CAPPED)}, not {name}")
    if name != "abuse_rate" and slo.category is not None:
        yield Finding((*loc, "category"), f"found category; expected none, since it belongs to abuse_rate, not {name}")
    for key, value, example in (("field", slo.field, "features.amount"), ("range", slo.range_, "[0, 1000]")):
        if name == "mean" and value is None:
            text = f"found none, which the indicator mean needs; expected one, such as {key}: {example}"
            yield Finding((*loc, key), text)
        elif name != "mean" and value is not None and not (key == "field" and name in RIVER):
            yield Finding(
                (*loc, key), f"found {key}; expected none, since it belongs to the indicator mean, not {name}"
            )
    yield from _paths(loc, slo)
    yield from _of_reports(loc, slo)


def _paths(loc: Loc, slo: Slo) -> Iterator[Finding]:
    for key, paths in (("field", (slo.field,)), ("fields", slo.fields or ())):
        for path in paths:
            if path is not None and not is_field(path):
                known = ", ".join((*(f"{one}.NAME" for one in MAPS), "score, prediction, ood_score"))
                yield Finding((*loc, key), f'found "{path}"; expected the path of a number, such as {known}')


def _of_reports(loc: Loc, slo: Slo) -> Iterator[Finding]:
    """Yield what a report of abuse cannot say: it has a segment, and no features, score or decision."""
    if slo.resolved_indicator != "abuse_rate" or slo.where is None:
        return
    try:
        read = compile_expression(slo.where).paths
    except ExpressionError:  # said already
        return
    other = sorted(path for path in read if not path.startswith("segment."))
    if other:
        text = f"found {', '.join(other)}, which reports of abuse do not have; expected fields under segment only"
        yield Finding((*loc, "where"), text)


def is_field(path: str) -> bool:
    """Return whether a path names a field of an event."""
    group, dot, name = path.partition(".")
    return bool(name) if dot and group in MAPS else path in SCALARS


def target(loc: Loc, slo: Slo, indicator: Indicator) -> Iterator[Finding]:
    """Yield what is wrong with a target: its direction, or its value on the indicator's scale."""
    found, name = slo.target, slo.resolved_indicator
    if indicator.kind in ("never_event", "drift", "river"):
        if found.op != "==" or found.value != 0:
            yield Finding(loc, f'found "{found}"; expected "== 0", the only target of {name}')
    elif found.op not in indicator.ops:
        ops = " or ".join(indicator.ops)
        yield Finding(loc, f'found "{found}"; expected a target with {ops}, since {name} is judged so')
    elif slo.compare is not None:
        yield from check_difference(loc, found)
    elif indicator.kind == "mean":
        yield from _mean(loc, slo)
    else:
        yield from _value(loc, found, indicator)


def _value(loc: Loc, found: Target, indicator: Indicator) -> Iterator[Finding]:
    if indicator.kind in SCALES:
        most, unit = SCALES[indicator.kind]
        if not 0 < found.value < most:
            yield Finding(loc, f'found "{found}"; expected a number of {unit} above 0 and below {most:g}')
    elif indicator.kind == "auroc" and not 0.5 < found.value < 1:  # noqa: PLR2004 - what guessing gives
        yield Finding(loc, f'found "{found}"; expected a value above 0.5, which guessing gives, and below 1')
    elif not 0 < found.value < 1:
        yield Finding(loc, f'found "{found}"; expected a value above 0 and below 1{_why_not(found)}')
    elif indicator.kind in ("ece", "ece_p95") and found.value > LARGEST_EPS:
        yield Finding(loc, f'found "{found}"; expected at most {LARGEST_EPS:g}, beyond which nothing can be bet on')


def _why_not(target: Target) -> str:
    """Return why a share cannot be promised to be all or nothing."""
    if target.op == "<=" and target.value == 0:
        return "; no traffic can prove zero: for what must never happen, define a never-event"
    if target.op == ">=" and target.value == 1:
        return "; no traffic can prove that nothing is missed"
    return ""


def _mean(loc: Loc, slo: Slo) -> Iterator[Finding]:
    name, bounded = slo.resolved_indicator, slo.range_ is not None or slo.cap is not None
    if not bounded and name in ("mean", "mae", "rmse"):  # said already
        return
    low, high = slo.span
    if not 0 < slo.limit < 1 or (slo.target.value < 0 and name == "rmse"):
        top = slo.cap if name == "rmse" else high
        text = f'found "{slo.target}"; expected a value between {low:g} and {top:g}, the ends of what can be counted'
        yield Finding(loc, text)
