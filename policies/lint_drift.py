"""What a policy with drift leaves open, and how soon it sees a shift of stated size."""

import math
from collections.abc import Iterator

from interlock.detectors.drift import ALTERNATIVES
from interlock.policies.model import Policy, Slo
from interlock.policies.panes import thresholds
from interlock.policies.positions import Finding
from interlock.policies.scalars import show_duration

STREAMS = 20
"""Streams that are supposed where no reference says how many there are."""
SHIFTS = (1.0, 0.5, 0.25)
"""Shifts in standard deviations whose delay is told."""


def drift(policy: Policy) -> Iterator[Finding]:
    """Yield what is left open."""
    judged = [slo for slo in policy.slos_in_force if slo.spec.kind == "drift"]
    if policy.accept_drift and not judged:
        yield Finding(("accept_drift",), "no SLO drift; there is nothing that accept_drift could silence")
    if any(slo.per is not None for slo in judged):
        text = "drift is judged per slice against the reference of all traffic: a slice that was always unlike the whole drifts"
        yield Finding(("slos",), text)


def delay(policy: Policy, slo: Slo, events: float) -> str:
    """Return how many events shifts of stated size need: ln(C x streams x alternatives) / (d^2 / 2) with a large reference."""
    needed = math.log(thresholds(policy, slo).page * STREAMS * ALTERNATIVES)
    sizes = ", ".join(f"{math.ceil(needed / (d * d / 2))} for {d:g} sd" for d in SHIFTS)
    seen = f"sees at most {events:.0f} events in {show_duration(slo.window_ms)}"
    return f"{slo.name}: a slice {seen}; a shift of one of {STREAMS} streams needs about {sizes}; a ticket, no page"
