"""What the types of an SLO cannot say of how it is proven: comparisons, one observation a pane, plain rules."""

from collections.abc import Iterator

from interlock.policies.model import Indicator, Slo
from interlock.policies.model_slo import SHARES, Burn
from interlock.policies.panes import pane_ms
from interlock.policies.positions import Finding, Loc
from interlock.policies.scalars import Target, show_duration

ANY = ("proportion", "mean", "auroc")
"""Kinds of which the value may be held against the target as it is."""


def check_evidence(loc: Loc, slo: Slo, indicator: Indicator) -> Iterator[Finding]:
    """Yield what is wrong with the way in which an SLO is proven."""
    name = slo.resolved_indicator
    if slo.evidence in ("per_pane", "burn_rate") and name not in SHARES:
        text = f"found {slo.evidence}; expected it at a share of events ({', '.join(sorted(SHARES))}), not at {name}"
        yield Finding((*loc, "evidence"), text)
    elif slo.evidence == "threshold" and indicator.kind not in ANY:
        yield Finding((*loc, "evidence"), f"found threshold; expected per_event, the only evidence of {name}")
    if slo.compare is not None:
        yield from _compare(loc, slo)
    if slo.burn_rate is not None and name not in SHARES:
        yield Finding((*loc, "burn_rate"), f"found burn_rate; expected none, since {name} has no error budget")
    elif slo.burn_rate is not None or slo.evidence == "burn_rate":
        yield from _burns(loc, slo)


def _compare(loc: Loc, slo: Slo) -> Iterator[Finding]:
    if slo.compare is not None and slo.compare.variant == slo.compare.to:
        text = f"found {slo.compare.to}, the variant that is judged; expected another one"
        yield Finding((*loc, "compare", "to"), text)
    if slo.evidence != "per_event":
        text = f"found {slo.evidence} beside compare; expected per_event, the only evidence about a difference"
        yield Finding((*loc, "evidence"), text)
    if slo.burn_rate is not None:
        yield Finding((*loc, "burn_rate"), "found burn_rate beside compare; expected none: a difference has no budget")


def check_difference(loc: Loc, target: Target) -> Iterator[Finding]:
    """Yield what is wrong with the target of a comparison."""
    if not -1 < target.value < 1:
        yield Finding(loc, f'found "{target}"; expected a difference above -1 and below 1')


def _burns(loc: Loc, slo: Slo) -> Iterator[Finding]:
    if slo.window == "rolling" or slo.compare is not None:  # said elsewhere
        return
    pane = pane_ms(slo.window)
    for key, burn in (("fast", slo.burns.fast), ("slow", slo.burns.slow)):
        if burn is None:
            continue
        place = (*loc, "burn_rate", key, "window") if slo.burn_rate else (*loc, "evidence")
        if not pane <= burn.window <= slo.window_ms:
            ends = f"from {show_duration(pane)}, a pane of this SLO, to {show_duration(slo.window_ms)}, its window"
            text = f"found a {key} burn over {show_duration(burn.window)}; expected burn_rate.{key}.window {ends}"
            yield Finding(place, text)
        elif burn.short_ms > burn.window:
            yield Finding(
                place, f"found a short window of {show_duration(burn.short_ms)}; expected at most the long one"
            )
        yield from _reach(place, slo, key, burn)


def _reach(place: Loc, slo: Slo, key: str, burn: Burn) -> Iterator[Finding]:
    """Say where a burn cannot be so fast: more than all events cannot fail."""
    limit = 1 - slo.target.value if slo.target.op == ">=" else slo.target.value
    if slo.evidence == "burn_rate" and 0 < limit < 1 and burn.factor * limit > 1:
        text = (
            f"found a {key} burn {burn.factor:g} times as fast as the target allows; expected a factor of at most "
            f"{1 / limit:.3g}, at which all events fail"
        )
        yield Finding(place, text)
