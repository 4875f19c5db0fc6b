"""Pane widths, the tick, slots and thresholds of a policy's tests (VERDICTS.md §2).

All functions are pure. Times are int milliseconds; a year is the Julian year of 365.25 days.
"""

import math
from dataclasses import dataclass
from typing import Literal

from interlock.policies.model import Policy, Slo
from interlock.policies.scalars import DAY, HOUR, MINUTE, SECOND, YEAR_DAYS

PANES_PER_WINDOW = 168
"""A week in hours: panes are no finer than this share of the window."""
ENDPOINTS = 50
"""Endpoints that the p95 indicator keeps apart; the others pool into `(rest)`."""
ROLLING_PANE = 10 * MINUTE
NICE = (
    *(n * SECOND for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * HOUR for n in (1, 2, 3, 4, 6, 8, 12, 24)),
)
"""Divisors of a day that people read easily."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a test pages, warns and releases (VERDICTS.md §2).

    `page` is C, `warn` C_warn, `release` C_rel, all as factors, not logarithms; `panes_per_year` is A.
    """

    panes_per_year: float
    page: float
    warn: float
    release: float
    window_panes: int
    hold_panes: int
    max_hold_panes: int
    pane_ms: int


def pane_ms(window_ms: int | Literal["rolling"]) -> int:
    """Return the pane width of a window: the smallest nice divisor of a day that is at least window/168."""
    if window_ms == "rolling":
        return ROLLING_PANE
    return next((width for width in NICE if width * PANES_PER_WINDOW >= window_ms), DAY)


def tick_ms(policy: Policy) -> int:
    """Return the widest tick that divides the pane of every SLO in force; at least a second."""
    return max(SECOND, math.gcd(*(pane_ms(slo.window) for slo in policy.slos_in_force)))


def slots(policy: Policy, slo: Slo) -> int:
    """Return how many tests the SLO may run at once: 1, slices and `(other)`, or endpoints and `(rest)`."""
    if slo.resolved_indicator == "decision_ece_p95":
        return 1 if policy.endpoint is None else ENDPOINTS + 1
    slices = policy.slice_set(slo)
    return 1 if slices is None else slices.max + 1


def paging(policy: Policy) -> int:
    """Return how many SLOs share the budget of false pages: those that page, never-events and plain rules aside."""
    sharing = (slo.severity == "page" and slo.in_budget and not _never(slo) for slo in policy.slos_in_force)
    return max(1, sum(sharing))


def thresholds(policy: Policy, slo: Slo) -> Thresholds:
    """Return the thresholds of each slot of an SLO: C = A / (b·a), a = 1 / (paging SLOs · slots).

    A ticket SLO has the share that a page would have. For never-events only the widths mean something.
    """
    pane = pane_ms(slo.window)
    per_year = YEAR_DAYS * DAY / pane
    window = max(1, slo.window_ms // pane)
    return Thresholds(
        panes_per_year=per_year,
        page=per_year * paging(policy) * slots(policy, slo) / policy.false_pages_per_year,
        warn=max(per_year / 12, 10.0 * window),
        release=per_year / policy.release.wrong_per_year,
        window_panes=window,
        hold_panes=max(1, policy.release.hold // pane),
        max_hold_panes=max(1, policy.release.max_hold // pane),
        pane_ms=pane,
    )


def least_threshold(slo: Slo) -> float:
    """Return 10·W/pane: a threshold to page below it is refused, since warnings could not come before pages."""
    return 10.0 * max(1, slo.window_ms // pane_ms(slo.window))


def _never(slo: Slo) -> bool:
    return slo.resolved_indicator == "never_event_violations"
