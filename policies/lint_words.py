"""The words of what an SLO can prove: of what, in which unit, as the indicator shows it."""

import math

from interlock.policies.measures_abuse import PER
from interlock.policies.model import Slo

ALPHA = 0.05
MEANS = ("mean", "auroc")
"""Kinds whose test bets on the mean of bounded values."""


def noun(slo: Slo) -> str:
    """Return what a failure of an SLO is called."""
    if slo.resolved_indicator == "ood_recall":
        return "at best a share of misses"
    if slo.spec.kind == "abuse":
        return "reports per 1000 predictions"
    if slo.spec.kind in MEANS:
        return f"whatever its spread, {slo.resolved_indicator}"
    if slo.spec.kind != "proportion":
        return "an ECE"
    return "a share of failures" if slo.target.op == ">=" else "a rate"


def shown(slo: Slo, failure: float) -> str:
    """Return a failure as the indicator shows it: from the good end of its span for means, below 1 for the AUROC."""
    if slo.spec.kind not in MEANS:
        return f"{failure * PER if slo.spec.kind == 'abuse' else failure:.3g}"
    low, high = slo.span if slo.spec.kind == "mean" else (0.0, 1.0)
    value = high - failure * (high - low) if slo.target.op == ">=" else low + failure * (high - low)
    return f"{math.sqrt(value) if slo.resolved_indicator == 'rmse' else value:.3g}"


def unit(slo: Slo) -> str:
    """Return what its observations are called."""
    return "pairs" if slo.spec.kind == "auroc" else "events"


def zero(events: float) -> str:
    """Return what no violation among so many events proves."""
    return f"a rate below {1 - ALPHA ** (1 / events):.2g}"
