"""What `check` says of SLOs that are proven otherwise than event by event: by panes, by plain rules, by comparing."""

import math

import numpy as np
from scipy.special import bdtrc

from interlock.detectors.bounded_mean import BETS
from interlock.detectors.difference import BASES, STEPS, DifferenceEvidence
from interlock.detectors.fixed import SCALE
from interlock.policies.model import Policy, Slo
from interlock.policies.panes import pane_ms, slots, thresholds
from interlock.policies.positions import Finding
from interlock.policies.scalars import DAY, YEAR_DAYS, show_duration

LEAST_SHOWN = 0.001

BASE = 0.1
"""Rate of the variant that is compared with, for the example that `check` gives."""


def rules(policy: Policy) -> list[Finding]:
    """Return a warning for each SLO that breaches by a plain rule."""
    text = "breaches by a plain rule, outside the budget of false pages; `--traffic` says what it costs"
    asked = [(i, slo) for i, slo in enumerate(policy.slos) if slo.in_force and not slo.in_budget]
    return [Finding(("slos", i, "evidence"), f"{slo.name} {text}") for i, slo in asked]


def power_otherwise(policy: Policy, slo: Slo, per_day: float) -> str:
    """Return what an SLO can prove, or what it costs, that is not proven event by event."""
    if slo.compare is not None:
        return power_compared(policy, slo)
    return cost(policy, slo, per_day) if not slo.in_budget else power_panes(policy, slo)


def power_panes(policy: Policy, slo: Slo) -> str:
    """Return the smallest share of failures of every pane that the panes of a window can prove, whatever their events."""
    limit, window = slo_limit(slo), thresholds(policy, slo).window_panes
    needed = math.log(thresholds(policy, slo).page * len(BETS))
    share = _least_share(limit, needed / window)
    proof = (
        "no failure at all" if share is None else f"a share of failures of {share:.3g} or worse in each of its panes"
    )
    return (
        f"{slo.name}: one pane is one observation: {window} panes in {show_duration(slo.window_ms)} can prove {proof}, "
        f"whatever their events (target {slo.target})"
    )


def _least_share(limit: float, nats: float) -> float | None:
    low, high = limit, 1.0
    if _per_pane(limit, high) < nats:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _per_pane(limit, middle) >= nats else (middle, high)
    return high


def _per_pane(limit: float, share: float) -> float:
    return max(math.log1p(x / limit * (share - limit)) for x in BETS.tolist())


def power_compared(policy: Policy, slo: Slo) -> str:
    """Return how many events of the judged variant prove some excesses, with nine times as many of the other."""
    needed = math.log(thresholds(policy, slo).page * len(BASES) * len(STEPS))
    sizes = []
    for excess in (0.05, 0.1, 0.2):
        rate = BASE + slo.limit + excess
        if 0 < rate < 1:
            sizes.append(f"{math.ceil(needed / compared_growth(slo, rate))} at {slo.limit + excess:.3g}")
    names = "" if slo.compare is None else f"of {slo.compare.variant} (and nine times as many of {slo.compare.to})"
    return (
        f"{slo.name}: a difference is proven in panes that have both variants; where one fails in {BASE:g} of events, "
        f"events needed {names}: {', '.join(sizes)} (target {slo.target})"
    )


def compared_growth(slo: Slo, rate: float) -> float:
    """Return the evidence in nats that an event of the judged variant brings, for the best alternative."""
    n = 100_000
    evidence = DifferenceEvidence.build(slo.limit)
    one = np.array([round(rate * n)]), np.array([n])
    other = np.array([round(BASE * 9 * n)]), np.array([9 * n])
    return float(evidence.log_bad(one, other).max()) / SCALE / n


def slo_limit(slo: Slo) -> float:
    """Return the share of failures that the target allows."""
    return 1 - slo.target.value if slo.target.op == ">=" else slo.target.value


def cost(policy: Policy, slo: Slo, per_day: float) -> str:
    """Return what a plain rule costs: false pages a year for each of its slots, while the target is just met.

    Of independent events. A window's value crosses its mean upwards, from one of W panes to the next, with the chance
    arccos(1 - 1/W) / 2 pi (two normal values of that correlation on both sides of their mean: Sheppard, 1899); a release
    that waits for `hold` makes fewer of it. A burn rate fires in a pane with at most the binomial chance of its long window.
    """
    count = threshold_pages(policy, slo) if slo.evidence == "threshold" else burn_pages(slo, per_day)
    total = count * slots(policy, slo)
    one = "" if slots(policy, slo) == 1 else f" ({count:.2g} a slice, {slots(policy, slo)} of them)"
    noun = "page" if slo.severity == "page" else "ticket"
    shown = "fewer than 0.001" if total < LEAST_SHOWN else f"up to {total:.2g}"
    return (
        f"{slo.name}: evidence: {slo.evidence} lies outside the budget of {policy.false_pages_per_year:g} false pages a "
        f"year: while the true value stands at the target, {shown} false {noun}s a year{one} at {per_day:g}/d"
    )


def threshold_pages(policy: Policy, slo: Slo) -> float:
    """Return the upcrossings of its mean that a window's value makes in a year."""
    at = thresholds(policy, slo)
    return at.panes_per_year * math.acos(1 - 1 / at.window_panes) / (2 * math.pi)


def burn_pages(slo: Slo, per_day: float) -> float:
    """Return the most pages a year of the fast burn: panes in a year times the chance that its long window burns so."""
    burn, limit = slo.burns.fast, slo_limit(slo)
    pane = pane_ms(slo.window)
    n = max(1, round(per_day * burn.window / DAY))
    least = math.ceil(burn.factor * limit * n - 1e-9)
    chance = float(bdtrc(least - 1, n, limit)) if least >= 1 else 1.0
    return YEAR_DAYS * DAY / pane * chance
