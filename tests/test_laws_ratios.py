"""The ratios say the same however their events are cut, spread, interleaved or resumed, as STREAM.md §7 has it."""

from functools import cache

import msgspec
import numpy as np
from hypothesis import given, settings

from interlock.streams.batch import Lines, Wanted
from interlock.streams.decode import prediction_decoder
from interlock.streams.fit import learn
from interlock.streams.fit_rows import RowGatherer
from interlock.streams.reference import Reference
from tests.events import History, history
from tests.test_laws import CUTS, SECRET, Cut, Run, run, same

SLO = "{name: %s_6h, objective: o, target: '%s', window: 6h, action_on_breach: notify%s}"
SLOS = (
    ("abstention_rate", "<= 0.02", ", per: tenant"),
    ("missing_rate", "<= 0.002", ""),
    ("range_violations", "<= 0.02", ""),
    ("ratio", ">= 0.9", ", good: \"decision == 'pay'\", where: features.amount > 100.0, per: tenant"),
    ("accuracy", ">= 0.9", ", per: tenant"),
    ("precision", ">= 0.9", ""),
    ("recall", ">= 0.9", ", class: true"),
    ("false_positive_rate", "<= 0.1", ""),
    ("false_negative_rate", "<= 0.1", ", where: score > 0.2"),
    ("label_coverage", ">= 0.999", ""),
)
POLICY = """
model: claims
lateness: 5m
false_pages_per_year: 200
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
slices: [{by: [tenant], max: 3}]
slos:
""" + "\n".join("- " + SLO % slo for slo in SLOS)


@cache
def events() -> History:
    """Return a history whose predictions say a class, but one in 60, and abstain now and then."""
    told = history(seed=3, hours=14, per_hour=120)
    made = [msgspec.json.decode(line) for line in told.predictions]
    for i, event in enumerate(made):
        event["prediction"] = "unsure" if i % 45 == 0 else event["score"] > 0.5
        if i % 6 == 0:
            event["decision"] = "abstain"
        if i % 30 == 1:
            event["features"] = {}
        if i % 60 == 0:
            del event["prediction"], event["score"], event["decision"]
    return History([msgspec.json.encode(event) for event in made], told.outcomes, told.end)


@cache
def reference() -> Reference:
    """Return what the smaller amounts look like."""
    small = [line for line in events().predictions if msgspec.json.decode(line)["features"].get("amount", 999) < 800]
    decode = prediction_decoder(Wanted(paths=frozenset({"features.amount"})), SECRET)
    gatherer = RowGatherer(["amount"])
    gatherer.predictions(decode(Lines(small, 0, events().end))[0])
    return learn(gatherer.rows(), 0.01)


@cache
def straight() -> Run:
    """Return what a straight run says."""
    return run(events(), Cut(), POLICY, reference())


def test_the_history_breaks_most_of_the_ratios() -> None:
    """Otherwise equality would say little."""
    controls = straight().controls.decode()

    assert [name for name, _, _ in SLOS if f"{name}_6h" not in controls] == []
    assert '"reason":"amount outside its range"' in straight().verdicts.decode()


@given(CUTS)
@settings(max_examples=6, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(events(), cut, POLICY, reference()), straight())


def test_disorder_within_lateness_says_the_same() -> None:
    shuffled = events().shuffled(np.random.default_rng(1), within_ms=4 * 60_000)

    same(run(shuffled, Cut((419,), 2), POLICY, reference()), straight())
