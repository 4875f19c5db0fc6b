"""Rates of reports and the age of labels say the same however three topics are cut, spread, interleaved or resumed."""

from functools import cache

import msgspec
import numpy as np
from hypothesis import given, settings

from tests.events import History, history
from tests.test_laws import CUTS, Cut, Run, run, same

POLICY = """
model: claims
lateness: 5m
false_pages_per_year: 200
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
release: {hold: 30m, wrong_per_year: 400}
slices: [{by: [tenant], max: 3}]
slos:
- {name: abuse_rate_6h, objective: o, target: "<= 5", window: 6h, action_on_breach: route_to_human_review, per: tenant}
- {name: harm_6h, indicator: abuse_rate, category: harm, where: "segment.tenant != 'solo'", objective: o, target: "<= 2",
   window: 6h, action_on_breach: notify}
- {name: label_staleness_6h, objective: o, target: "<= 1.5", window: 6h, action_on_breach: notify, per: tenant}
- {name: label_staleness_of_all_6h, indicator: label_staleness, objective: o, target: "<= 3", window: 6h, action_on_breach: notify}
"""
HOUR = 3_600_000


@cache
def events() -> History:
    """Return a history with reports, more of them from the eighth hour on; labels of hours 4 to 7 never come."""
    told = history(seed=9, hours=20, per_hour=120)
    rng, reports = np.random.default_rng(9), []
    start = msgspec.json.decode(told.predictions[0])["ts"]
    for line in told.predictions:
        event = msgspec.json.decode(line)
        often = 0.08 if 8 <= (event["ts"] - start) // HOUR < 12 and event["segment"]["tenant"] == "acme" else 0.004
        if rng.random() < often:
            ts, category = event["ts"] + int(rng.integers(HOUR)), str(rng.choice(["harm", "spam"]))
            made = {key: event[key] for key in ("event_id", "model", "segment")} | {"ts": ts, "category": category}
            reports += [made] * int(rng.integers(1, 3))
    made_at = {event["event_id"]: event["ts"] for event in map(msgspec.json.decode, told.predictions)}
    kept = [
        line
        for line in told.outcomes
        if not 4 <= (made_at.get(msgspec.json.decode(line)["event_id"], 0) - start) // HOUR < 8
    ]
    reports.sort(key=lambda report: report["ts"])
    return History(told.predictions, kept, told.end, [msgspec.json.encode(report) for report in reports])


@cache
def straight() -> Run:
    """Return what a straight run says."""
    return run(events(), Cut(), POLICY)


def test_the_history_breaks_and_hides_and_ages() -> None:
    """Otherwise equality would say little."""
    controls, verdicts = straight().controls.decode(), straight().verdicts.decode()

    assert '"slo":"abuse_rate_6h"' in controls
    assert '"slo":"label_staleness_6h"' in controls
    assert controls.count('"state":"released"') >= 2
    assert '"fewer_than":5' in verdicts
    assert straight().counters["duplicate"] > 3


@given(CUTS)
@settings(max_examples=4, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(events(), cut, POLICY), straight())


def test_disorder_within_lateness_says_the_same() -> None:
    shuffled = events().shuffled(np.random.default_rng(1), within_ms=4 * 60_000)

    same(run(shuffled, Cut((419,), 2), POLICY), straight())
