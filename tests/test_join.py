"""STREAM.md §2: which outcome meets which prediction, and what becomes of the others."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.load import load_policy
from interlock.policies.plan import LABELS, ORPHANS, Plan
from interlock.policies.planning import make_plan
from interlock.streams.batch import Lines, Outcomes, Predictions, Wanted
from interlock.streams.decode import Decoder, outcome_decoder, prediction_decoder
from interlock.streams.pipeline import learned
from interlock.streams.scoring import Scorer
from interlock.streams.shard import Output, Shard
from interlock.streams.tally import CELL, COHORT, COUNT, PANE

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_790_000_000_000 - 1_790_000_000_000 % DAY
POLICY = b"""
lateness: 0s
dedup_ttl: 5m
labels: {join_ttl: 60m, orphan_ttl: 20m}
slos: [{name: decision_ece_1h, objective: o, target: "<= 0.1", window: 1h, action_on_breach: notify}]
"""
DECODE: dict[str, Decoder[Any]] = {"predictions": prediction_decoder(Wanted(), b"k"), "outcomes": outcome_decoder(b"k")}


@pytest.fixture
def shard() -> Shard:
    return made(make_plan(load_policy(POLICY, "join.yaml")))


def made(plan: Plan, *, patient: bool = False) -> Shard:
    assert learned(plan, None).reference_id == ""
    return Shard(0, plan, Scorer(plan.policy, None, b""), patient=patient)


def prediction(name: str, minute: float) -> dict[str, object]:
    return {"event_id": name, "ts": START + int(minute * MINUTE), "model": "m", "score": 0.5}


def outcome(name: str, minute: float, **more: object) -> dict[str, object]:
    return {"event_id": name, "ts": START + int(minute * MINUTE), "label": True, **more}


def feed(shard: Shard, topic: str, *events: Mapping[str, object]) -> Output:
    lines = [msgspec.json.encode(event) for event in events]
    batch, dead = DECODE[topic](Lines(lines, 0, START + 10 * DAY))
    assert not dead
    if isinstance(batch, Predictions):
        return shard.predictions(batch)
    assert isinstance(batch, Outcomes)
    return shard.outcomes(batch)


def joined(shard: Shard) -> int:
    return shard.counters["joined"]


@pytest.mark.parametrize(
    ("said", "met"), [(-20.5, False), (-20, True), (-1, True), (0, True), (60, True), (60.5, False), (600, False)]
)
@pytest.mark.parametrize("first", ["predictions", "outcomes"])
def test_an_outcome_meets_its_prediction_within_both_horizons_only(
    shard: Shard, said: float, met: bool, first: str
) -> None:
    """`e(o) <= e(p) + join_ttl` and `e(p) <= e(o) + orphan_ttl`, whichever topic is read first."""
    events = {"predictions": prediction("a", 100), "outcomes": outcome("a", 100 + said)}
    for topic in sorted(events, reverse=first == "predictions"):
        feed(shard, topic, events[topic])

    assert joined(shard) == int(met)


def test_a_pair_counts_when_the_later_one_came_marked_with_its_prediction(shard: Shard) -> None:
    feed(shard, "predictions", prediction("a", 3))
    feed(shard, "outcomes", outcome("a", 47))
    tick = shard.plan.tick
    records = shard.finish((START + DAY) // tick).records

    table = next(r.counts for r in records if r.chain == "joined")

    assert set(table[PANE].tolist()) == {(START + 47 * MINUTE) // tick}
    assert set(table[COHORT].tolist()) == {(START + 3 * MINUTE) // tick}


def test_an_outcome_without_prediction_is_an_orphan_when_its_wait_ends(shard: Shard) -> None:
    feed(shard, "predictions", prediction("z", 0))
    feed(shard, "outcomes", outcome("nobody", 1))
    out = Output()
    for minute in (15, 21, 200):
        feed(shard, "predictions", prediction(f"p{minute}", minute))
        out = feed(shard, "outcomes", outcome(f"p{minute}", minute))

        assert shard.counters["orphan"] == int(minute > 21)
    table = next(r.counts for r in out.records if r.chain == "joined")
    orphans = table[:, table[CELL] == ORPHANS]
    assert orphans[PANE].tolist() == [(START + 21 * MINUTE) // shard.plan.tick]
    assert orphans[COUNT].tolist() == [1]


def test_of_two_outcomes_the_first_counts_even_long_after(shard: Shard) -> None:
    """Beyond dedup_ttl and orphan_ttl the prediction itself still knows that it has its label."""
    feed(shard, "predictions", prediction("a", 0))
    feed(shard, "outcomes", outcome("a", 1))
    feed(shard, "outcomes", outcome("x", 40))
    feed(shard, "outcomes", outcome("a", 45))

    assert joined(shard) == 1
    assert shard.counters["duplicate"] == 1


def test_a_repeated_prediction_within_join_ttl_is_a_duplicate_and_after_it_a_new_one(shard: Shard) -> None:
    feed(shard, "predictions", prediction("a", 0), prediction("b", 59), prediction("a", 59.5))
    assert shard.counters["duplicate"] == 1

    feed(shard, "predictions", prediction("c", 129), prediction("b", 130), prediction("a", 131))

    assert shard.counters["duplicate"] == 1
    assert shard.counters["predictions"] == 5


@pytest.mark.parametrize("topic", ["predictions", "outcomes"])
def test_a_chunk_of_nothing_but_repeats_changes_a_counter_only(shard: Shard, topic: str) -> None:
    events = [prediction("a", 0), prediction("b", 1)] if topic == "predictions" else [outcome("a", 0), outcome("b", 1)]
    feed(shard, topic, *events)
    before = shard.counters[topic]

    feed(shard, topic, *events)

    assert (shard.counters["duplicate"], shard.counters[topic]) == (2, before)


def test_a_correction_restates_and_is_no_second_outcome(shard: Shard) -> None:
    feed(shard, "predictions", prediction("a", 0))
    feed(shard, "outcomes", outcome("a", 1), outcome("a", 2, revision=1))

    assert (joined(shard), shard.counters["revised"], shard.counters["revision_ignored"]) == (1, 1, 0)
    assert (shard.counters["outcomes"], shard.counters["duplicate"]) == (1, 0)


@pytest.mark.parametrize("first", ["predictions", "outcomes"])
def test_one_outcome_with_both_facts_is_one_joined_and_two_are_two(shard: Shard, first: str) -> None:
    """Facts are two, outcomes are counted as they came; whichever topic is read first."""
    both, review = {"confirmed_ood": True}, {"confirmed_ood": True, "label": None}
    said = [outcome("a", 1, **both), outcome("b", 1), outcome("b", 2, **review)]
    topics = {"predictions": [prediction("a", 0), prediction("b", 0)], "outcomes": said}
    for topic in sorted(topics, reverse=first == "predictions"):
        feed(shard, topic, *topics[topic])
    table = next(r.counts for r in shard.finish((START + DAY) // shard.plan.tick).records if r.chain == "joined")

    assert (joined(shard), shard.counters["outcomes"], shard.counters["duplicate"]) == (3, 3, 0)
    assert table[COUNT, table[CELL] == LABELS].sum() == 2  # events that have a label


def test_one_outcome_with_both_facts_waits_once_and_is_one_orphan(shard: Shard) -> None:
    feed(shard, "predictions", prediction("z", 0))
    feed(shard, "outcomes", outcome("nobody", 1, confirmed_ood=True), outcome("none", 1))
    assert shard.join.waiting() == 2

    feed(shard, "outcomes", outcome("z", 50))
    feed(shard, "predictions", prediction("y", 50))

    assert (shard.counters["orphan"], shard.join.waiting()) == (2, 0)


def test_a_review_is_new_after_the_label_and_a_correction_beside_it_is_told(shard: Shard) -> None:
    feed(shard, "predictions", prediction("a", 0))
    feed(shard, "outcomes", outcome("a", 1), outcome("a", 2, confirmed_ood=True, revision=1), outcome("a", 3))

    assert (shard.counters["outcomes"], joined(shard)) == (2, 2)
    assert (shard.counters["known_facts"], shard.counters["revision_ignored"], shard.counters["duplicate"]) == (0, 0, 1)


@given(
    made_at=st.lists(st.integers(0, 200), min_size=1, max_size=25),
    delays=st.lists(st.integers(-40, 90), min_size=25, max_size=25),
    turns=st.lists(st.booleans(), max_size=40),
)
@settings(max_examples=60)
def test_the_join_is_the_slow_obvious_one(made_at: list[int], delays: list[int], turns: list[bool]) -> None:
    shard = made(make_plan(load_policy(POLICY, "join.yaml")))
    predictions = sorted((minute, f"e{i}") for i, minute in enumerate(made_at))
    outcomes = sorted((max(0, minute + delays[i]), f"e{i}") for i, minute in enumerate(made_at))
    queues = {
        "predictions": [prediction(name, minute) for minute, name in predictions],
        "outcomes": [outcome(name, minute) for minute, name in outcomes],
    }
    for turn in [*turns, *([True, False] * 50)]:
        topic = "predictions" if turn else "outcomes"
        if queues[topic]:
            feed(shard, topic, queues[topic].pop(0))

    at = {name: minute for minute, name in predictions}
    met = sum(at[name] - 20 <= minute <= at[name] + 60 for minute, name in outcomes)
    assert joined(shard) == met


def test_files_are_waited_for_and_a_silent_topic_is_not() -> None:
    """Past join_ttl of the predictions' own time a live shard gives up, and says how often; a patient one waits."""
    plan = make_plan(load_policy(POLICY, "join.yaml"))
    events = [prediction(f"e{i}", i * 0.1) for i in range(70_000)]
    for patient in (False, True):
        shard = made(plan, patient=patient)
        for start in range(0, len(events), 10_000):
            feed(shard, "predictions", *events[start : start + 10_000])

        feed(shard, "outcomes", *(outcome(f"e{i}", i * 0.1 + 1) for i in range(0, 70_000, 1000)))

        assert (joined(shard) == 70) == patient
        assert (shard.counters["evicted"] > 0) != patient


def test_ids_are_the_same_in_any_batch() -> None:
    lines = [msgspec.json.encode(prediction(f"e{i}", i)) for i in range(50)]
    whole, _ = DECODE["predictions"](Lines(lines, 0, START + DAY))
    part, _ = DECODE["predictions"](Lines(lines[17:], 17, START + DAY))

    assert isinstance(whole, Predictions)
    assert isinstance(part, Predictions)
    np.testing.assert_array_equal(whole.ids.h1[17:], part.ids.h1)
    np.testing.assert_array_equal(whole.ids.h2[17:], part.ids.h2)
