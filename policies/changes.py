"""What a policy may change in mid-stream, and from when: its SLOs and what is done; not how events become counts."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from interlock.policies.model import Policy
from interlock.policies.panes import pane_ms, tick_ms
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.policies.scalars import show_duration

FRAME = ("model", "lateness", "dedup_ttl", "max_skew", "reference")
"""Keys by which events become counts, join and are remembered: another value would need another memory."""

LABELS_FRAME = ("join_ttl", "orphan_ttl", "positive", "predicted", "judge_on", "joined_at_source", "sample")
"""The same, of `labels`."""

KEPT = {
    "joins": "labels",
    "classifies": "the classes of labels",
    "reviewed": "reviews",
    "regresses": "labels that are numbers",
    "reported": "reports of abuse",
}
"""What shards remember only if an SLO of the first policy asks for it."""


def refusals(first: Policy, new: Policy) -> list[str]:
    """Return why a policy cannot follow the first one of a group in mid-stream, a line each; none if it can."""
    lines = [f"{key}: {_both(first, new, key)}" for key in FRAME if getattr(first, key) != getattr(new, key)]
    old, labels = first.labels, new.labels
    lines += [f"labels.{k}: {_both(old, labels, k)}" for k in LABELS_FRAME if getattr(old, k) != getattr(labels, k)]
    was, becomes = tick_ms(first), tick_ms(new)
    if becomes % was:
        lines.append(
            f"slos: their windows need counts every {show_duration(becomes)}; the group counts every {show_duration(was)}"
        )
    plans = make_plan(first), make_plan(new)
    lines += [
        f"slos: they ask for {what}, which the group has not kept" for kind, what in KEPT.items() if _more(plans, kind)
    ]
    return [f"{line}; a new --group can" for line in lines]


def _more(plans: tuple[Plan, Plan], kind: str) -> bool:
    kept = kind == "reviewed" and not plans[0].sampled  # all predictions are there for reviews, asked for or not
    return getattr(plans[1], kind) and not getattr(plans[0], kind) and not kept


def _both(first: object, new: object, key: str) -> str:
    shown = show_duration if isinstance(getattr(first, key), int) else str
    was, becomes = shown(getattr(first, key)), shown(getattr(new, key))
    return f"found {becomes}, the group has {was}; it cannot change in mid-stream"


def grid(now: Policy, new: Policy) -> int:
    """Return the ms that the time of a change must be a multiple of.

    At it every SLO that changes or goes must have judged whole panes: what they counted is judged to the end.
    """
    kept = [slo for slo in now.slos_in_force if slo in new.slos_in_force and _rest(now) == _rest(new)]
    ending = [pane_ms(slo.window) for slo in now.slos_in_force if slo not in kept]
    return math.lcm(tick_ms(now), *ending)


def misplaced(known: Sequence[tuple[Policy, int]], new: Policy, ts: int) -> str | None:
    """Return why a policy cannot follow those that are known at a time (ms); None if it can.

    `known` are the first policy, whose time says nothing, and those that follow it, each with its time.
    """
    last, since = known[-1]
    if len(known) > 1 and ts <= since:
        return f"{when(ts)}: another change is from {when(since)} on; this one must be later"
    step = grid(last, new)
    if ts % step:
        before = ts - ts % step
        return f"{when(ts)}: panes of {show_duration(step)} must be whole: expected {when(before)} or {when(before + step)}"
    return None


def when(ts: int) -> str:
    """Return a time in ms as RFC 3339."""
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="auto").replace("+00:00", "Z")


def _rest(policy: Policy) -> object:
    return policy.model_dump(mode="json", exclude={"slos", "human_goal", "owners", "runbook_url", "lease"})
