"""Comparisons and rules say the same however their events are cut, spread, interleaved or resumed (STREAM.md §7)."""

from functools import cache

import msgspec
import numpy as np
from hypothesis import given, settings

from tests.events import HOUR, START, History, history
from tests.test_laws import CUTS, Cut, Run, run, same

POLICY = """
model: claims
lateness: 5m
false_pages_per_year: 200
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
ood: {threshold: 0.9}
slices: [{by: [tenant], max: 3}]
release: {hold: 30m, wrong_per_year: 400}
slos:
- {name: canary_fnr_6h, objective: o, indicator: false_negative_rate, compare: {variant: canary, to: baseline}, target: "<= 0.05",
   window: 6h, action_on_breach: degrade_to_safe_mode}
- {name: canary_ood_6h, objective: o, indicator: ood_rate, compare: {variant: canary, to: baseline}, target: "<= 0.05",
   window: 6h, action_on_breach: notify, per: tenant}
- {name: ood_rate_6h, objective: o, target: "<= 0.05", window: 6h, action_on_breach: notify, evidence: per_pane, per: tenant}
- {name: accuracy_6h, objective: o, target: ">= 0.7", window: 6h, action_on_breach: notify, evidence: threshold}
- {name: recall_6h, objective: o, target: ">= 0.9", window: 6h, action_on_breach: notify, evidence: burn_rate,
   burn_rate: {fast: {window: 1h, factor: 3}, slow: {window: 3h, factor: 2}}}
"""


@cache
def events() -> History:
    """Return a history of two variants, of which the canary misses what is positive from hour 6 on."""
    told = history(seed=5, hours=14, per_hour=120)
    made = [msgspec.json.decode(line) for line in told.predictions]
    for i, event in enumerate(made):
        event["variant"] = "canary" if i % 3 == 0 else "baseline"
        bad = i % 3 == 0 and event["ts"] >= START + 4 * HOUR
        event["prediction"] = event["score"] > (0.8 if bad else 0.5)
        if bad and i % 2:
            event["ood_score"] = 0.95
        if i % 40 == 0:
            del event["variant"]
    return History([msgspec.json.encode(event) for event in made], told.outcomes, told.end)


@cache
def straight() -> Run:
    """Return what a straight run says."""
    return run(events(), Cut(), POLICY)


def test_the_history_breaks_all_of_them() -> None:
    """Otherwise equality would say little."""
    controls = straight().controls.decode()
    names = ("canary_fnr_6h", "canary_ood_6h", "ood_rate_6h", "accuracy_6h", "recall_6h")

    assert [name for name in names if name not in controls] == []
    assert '"scope":{"slice":"tenant=acme","variant":"canary"}' in controls


@given(CUTS)
@settings(max_examples=3, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(events(), cut, POLICY), straight())


def test_disorder_within_lateness_says_the_same() -> None:
    shuffled = events().shuffled(np.random.default_rng(1), within_ms=4 * 60_000)

    same(run(shuffled, Cut((419,), 2), POLICY), straight())
