"""Means and AUROC say the same however their events are cut, spread, interleaved or resumed, as STREAM.md §7 has it."""

from functools import cache

import msgspec
import numpy as np
from hypothesis import given, settings

from tests.events import History, history
from tests.test_laws import CUTS, Cut, Run, run, same

SLO = "{name: %s_6h, objective: o, target: '%s', window: 6h, action_on_breach: notify%s}"
SLOS = (
    ("brier", "<= 0.2", ", per: tenant"),
    ("log_loss", "<= 0.6", ", class: pay"),
    ("mae", "<= 20", ", cap: 200, where: score > 0.2"),
    ("rmse", "<= 25", ", cap: 100, per: tenant"),
    ("mean", ">= 440", ", field: features.amount, range: [0, 800], per: tenant"),
    ("auroc", ">= 0.7", ""),
    ("decision_ece", "<= 0.1", ", class: pay"),
)
POLICY = """
model: claims
lateness: 5m
false_pages_per_year: 200
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h, positive: [pay]}
slices: [{by: [tenant], max: 3}]
slos:
""" + "\n".join("- " + SLO % slo for slo in SLOS)


@cache
def events() -> History:
    """Return a history of numbers and of classes in turn, by hour; from the sixth hour on both are worse."""
    told = history(seed=5, hours=14, per_hour=120)
    made = [msgspec.json.decode(line) for line in told.predictions]
    said = {event["event_id"]: event for event in map(msgspec.json.decode, told.outcomes)}
    rng = np.random.default_rng(5)
    for i, event in enumerate(made):
        bad, p = i > 700, event["score"]
        event["prediction"] = float(np.round(rng.normal(300, 80), 3))
        event["probabilities"] = {"pay": p, "hold": 1 - p}
        label = said.get(event["event_id"], {})
        if i % 2:
            label["label"] = event["prediction"] + float(np.round(rng.normal(0, 60 if bad else 15), 3))
        else:
            label["label"] = "pay" if (rng.random() < p) ^ bad else "hold"
        if i % 50 == 0:
            event["features"], event["prediction"] = {"amount": "much"}, "high"
        if i % 70 == 0:
            del event["score"], event["probabilities"]
    return History([msgspec.json.encode(e) for e in made], [msgspec.json.encode(o) for o in said.values()], told.end)


@cache
def straight() -> Run:
    """Return what a straight run says."""
    return run(events(), Cut(), POLICY)


def test_the_history_has_breaches_and_what_cannot_be_decided() -> None:
    """Otherwise equality would say little."""
    verdicts = straight().verdicts.decode()

    assert len(straight().controls.splitlines()) >= 2
    assert [name for name, _, _ in SLOS if f'"slo":"{name}_6h"' not in verdicts] == []
    assert '"clipped":0' in verdicts
    assert '"clipped":1' in verdicts


@given(CUTS)
@settings(max_examples=4, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(events(), cut, POLICY), straight())


def test_disorder_within_lateness_says_the_same() -> None:
    shuffled = events().shuffled(np.random.default_rng(1), within_ms=4 * 60_000)

    same(run(shuffled, Cut((419,), 2), POLICY), straight())
