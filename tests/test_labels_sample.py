"""`labels.sample`: of a share of predictions labels are asked for, and only these are remembered for them."""

from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from interlock.policies.changes import refusals
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.streams.batch import Lines, Wanted
from interlock.streams.budget import Budget
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.ids import select
from interlock.streams.scoring import SAMPLE, Scorer
from interlock.streams.shard import Shard
from tests import test_laws_ratios
from tests.events import History
from tests.test_laws import CUTS, SECRET, Cut, Run, repeated, run, same

SHARE = 0.25
ALL = """
model: claims
lateness: 5m
false_pages_per_year: 200
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
slices: [{by: [tenant], max: 3}]
slos:
- {name: accuracy_6h, objective: o, target: ">= 0.9", window: 6h, action_on_breach: notify, per: tenant}
- {name: label_coverage_6h, objective: o, target: ">= 0.999", window: 6h, action_on_breach: notify}"""
POLICY = ALL.replace("labels: {", f"labels: {{sample: {SHARE}, ")
RECALL = '\n- {name: ood_recall_6h, objective: o, target: ">= 0.8", window: 6h, action_on_breach: notify}'


def wrong(outcome: bytes) -> bytes:
    said = msgspec.json.decode(outcome)
    return msgspec.json.encode(said | {"label": not said["label"], "confirmed_ood": True})


@cache
def straight() -> Run:
    return run(test_laws_ratios.events(), Cut(), POLICY)


def drawn(event: bytes) -> bool:
    (value,) = select([msgspec.json.decode(event)["event_id"]], SECRET, SAMPLE)
    return bool(value < np.uint64(SHARE * 2.0**64))


def test_outcomes_of_predictions_that_are_not_drawn_say_nothing() -> None:
    events = test_laws_ratios.events()
    contrary = [line if drawn(line) else wrong(line) for line in events.outcomes]

    same(run(History(events.predictions, contrary, events.end), Cut(), POLICY), straight())
    assert b'"breached"' in straight().verdicts
    assert straight().counters["not_sampled"] == sum(not drawn(line) for line in events.outcomes)
    assert straight().counters["outcomes"] == sum(map(drawn, events.outcomes))


@given(cut=CUTS)
@settings(max_examples=4, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(test_laws_ratios.events(), cut, POLICY), straight())


def test_any_record_delivered_twice_counts_once() -> None:
    doubled = repeated(test_laws_ratios.events(), np.random.default_rng(4))

    again = run(doubled, Cut((503,), 3), POLICY)

    assert (again.verdicts, again.controls) == (straight().verdicts, straight().controls)
    assert again.counters["predictions"] == straight().counters["predictions"]
    assert again.counters["outcomes"] == straight().counters["outcomes"]


def fed(policy: str) -> Shard:
    """Return a shard that has read ten hours of the history, with small blocks."""
    plan = make_plan(load_policy(policy.encode(), "sample.yaml"))
    shard = Shard(0, plan, Scorer(plan.policy, None, SECRET), budget=Budget(rows=64))
    events = test_laws_ratios.events()
    decode = prediction_decoder(Wanted(paths=plan.paths), SECRET), outcome_decoder(SECRET)
    for at in range(0, 1600, 100):
        shard.predictions(decode[0](Lines(events.predictions[at : at + 100], at, events.end))[0])
        shard.outcomes(decode[1](Lines(events.outcomes[at : at + 100], at, events.end))[0])
    return shard


def test_only_what_is_drawn_is_remembered_beyond_dedup_ttl() -> None:
    """Two predictions a minute; what goes, goes in blocks of 64."""
    shard, asked = fed(POLICY), sum(map(drawn, test_laws_ratios.events().predictions[:1600]))
    others = shard.join.stores()["others"]

    assert shard.join.predictions.size == asked
    assert others.size <= 2 * 15 + 100 + 64
    assert shard.join.sizes()["outcomes"] <= 2 * asked, "each has a label and a review"
    assert set(others.kind.names or ()) == {"h1", "h2", "e"}


def test_reviews_may_come_of_any_prediction_so_that_recall_has_all_remembered() -> None:
    assert fed(POLICY + RECALL).join.predictions.size == 1600


def test_a_state_from_when_all_were_remembered_is_taken_over() -> None:
    saved = fed(POLICY).snapshot()
    del saved["join"]["others"]
    shard = fed(POLICY)
    shard.restore(saved)

    assert shard.join.predictions.size == fed(POLICY).join.predictions.size


@pytest.mark.parametrize(
    ("first", "new", "line"),
    [
        (
            POLICY,
            POLICY.replace("0.25", "0.5"),
            "labels.sample: found 0.5, the group has 0.25; it cannot change in mid-stream",
        ),
        (POLICY, POLICY + RECALL, "slos: they ask for reviews, which the group has not kept"),
    ],
)
def test_no_policy_that_needs_what_was_not_kept_can_follow(first: str, new: str, line: str) -> None:
    found = refusals(*(load_policy(text.encode(), "p.yaml") for text in (first, new)))

    assert found == [f"{line}; a new --group can"]


def test_recall_may_follow_where_all_is_remembered() -> None:
    first, new = (load_policy(text.encode(), "p.yaml") for text in (ALL, ALL + RECALL))

    assert refusals(first, new) == []
