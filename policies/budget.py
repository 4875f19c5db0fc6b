"""Error budgets and burn rates of shares: what is left, and how fast it goes, from the counts of the window.

With q0 the share of failures that the target allows, a window of n events has a budget of q0 n failures. Spent is the share
of it that has failed; the burn rate over the last w is the share that failed there, divided by q0: at 1 the budget lasts a
window exactly, at 14.4 it is gone in a fourteenth of it. Source: Google, The Site Reliability Workbook, chapter 5 (multiwindow,
multi-burn-rate alerts: a long window proves that it matters, a short one that it goes on).
"""

import numpy as np
from numpy.typing import NDArray

from interlock.policies.alarm_rules import Level
from interlock.policies.context import Context
from interlock.policies.measures import Measure
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.measures_wrapped import WrappedMeasure
from interlock.policies.model_slo import Burn
from interlock.policies.scalars import show_duration
from interlock.policies.window import PaneWindow

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DISPLAY = (24, 4, 1)
"""Shares of the window over which burn rates are shown unless the policy names windows: of a day 1 h, 6 h and all of it."""


def share_of(context: Context, measure: Measure) -> RateMeasure | None:
    """Return how failures are counted where there is an error budget: for shares that are not compared."""
    if context.slo.compare is not None:
        return None
    inner = measure.share if isinstance(measure, WrappedMeasure) else measure
    return inner if isinstance(inner, RateMeasure) else None


def panes_of(context: Context, milliseconds: int) -> int:
    """Return how many panes a time takes: whole ones, at least one, and no more than the window has."""
    return min(context.window_panes, max(1, -(-milliseconds // context.pane_ms)))


def burn_panes(context: Context, burn: Burn) -> tuple[int, int]:
    """Return the panes of an alert's long and short window."""
    return panes_of(context, burn.window), panes_of(context, burn.short_ms)


def shown_panes(context: Context) -> list[int]:
    """Return over how many panes burn rates are shown, shortest first."""
    asked = context.slo.burn_rate
    if asked is None and context.slo.evidence != "burn_rate":
        return sorted({max(1, context.window_panes // part) for part in DISPLAY})
    alerts = [one for one in (context.slo.burns.fast, context.slo.burns.slow) if one]
    return sorted({panes for one in alerts for panes in burn_panes(context, one)} | {context.window_panes})


def burned(share: RateMeasure, table: Ints) -> Floats:
    """Return the burn rate of counts int64[S, width], float64[S]; NaN without events."""
    failures, n = share.failing(table)
    return np.where(n > 0, failures / np.maximum(n, 1) / share.limit, np.nan)


def budget(context: Context, share: RateMeasure, window: PaneWindow, slot: int) -> dict[str, object]:
    """Return the error budget of a slot as its verdict shows it: allowed, spent and left as shares, burn rates by time."""
    failures, n, spent = _spent(share, window.sums[slot : slot + 1])
    rates = {
        show_duration(panes * context.pane_ms): _spent(share, window.last(panes)[slot : slot + 1])[2]
        for panes in shown_panes(context)
    }
    used = spent or 0.0
    told = {"allowed": share.limit, "failures": failures, "n": n, "spent": used, "left": 1 - used}
    return {"error_budget": told, "burn_rate": rates}


def _spent(share: RateMeasure, row: Ints) -> tuple[int, int, float | None]:
    """Return failures, events and the burn rate of one slot's counts; there is one of these for each verdict and time."""
    failures, n = (int(part[0]) for part in share.failing(row))
    return failures, n, failures / n / share.limit if n else None


def threshold_levels(context: Context, measure: Measure, window: PaneWindow) -> Ints:
    """Return Level int64[S] by the rule that people know: the window's value misses the target, on enough events."""
    found = measure.estimate(window.sums)
    enough = (found.effective >= context.slo.least_events) & ~found.unidentified
    return np.where(enough, np.where(found.missed, Level.PAGE, Level.GOOD), Level.UNKNOWN).astype(np.int64)


def burn_levels(context: Context, share: RateMeasure, window: PaneWindow) -> Ints:
    """Return Level int64[S]: page at a fast burn, ticket at a slow one; both over the long and the short window."""
    burns = context.slo.burns
    levels = np.where(share.n(window.sums) / context.dispersion >= context.slo.least_events, Level.GOOD, Level.UNKNOWN)
    for burn, level in ((burns.slow, Level.TICKET), (burns.fast, Level.PAGE)):
        if burn is None:
            continue
        long, short = (window.last(panes) for panes in burn_panes(context, burn))
        fast = (burned(share, long) >= burn.factor) & (burned(share, short) >= burn.factor)
        levels = np.where(fast & (levels != Level.UNKNOWN), level, levels)
    return levels.astype(np.int64)
