"""Outcomes that carry their predictions say what outcomes say that find theirs in the store, and need no store."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.streams.reference import Reference
from tests import test_laws, test_laws_compare, test_laws_facts, test_laws_means, test_laws_ratios
from tests.events import History
from tests.test_laws import CUTS, EXCEPTED, Cut, Run, repeated, run

COUNTED = ("joined", "outcomes", "predictions", "orphan")


class Known(NamedTuple):
    """A history, its policy, and the reference."""

    events: Callable[[], History]
    policy: str
    reference: Callable[[], Reference | None] = lambda: None


KNOWN: Mapping[str, Known] = {
    "calibration and recall": Known(test_laws.events, test_laws.POLICY),
    "ratios": Known(test_laws_ratios.events, test_laws_ratios.POLICY, test_laws_ratios.reference),
    "means": Known(test_laws_means.events, test_laws_means.POLICY),
    "variants": Known(test_laws_compare.events, test_laws_compare.POLICY),
    "by arrival": Known(
        test_laws_ratios.events, test_laws_ratios.POLICY.replace("labels: {", "labels: {judge_on: arrival, ")
    ),
    "a sample": Known(test_laws_ratios.events, test_laws_ratios.POLICY.replace("labels: {", "labels: {sample: 0.5, ")),
    "facts apart": Known(lambda: test_laws_facts.told(test_laws_facts.reviews_later), test_laws.POLICY),
}


def carrying(events: History) -> History:
    """Return the history with outcomes that carry their predictions; those of nobody carry none."""
    made = {one["event_id"]: one for one in map(msgspec.json.decode, events.predictions)}

    def with_prediction(line: bytes) -> bytes:
        said = msgspec.json.decode(line)
        own = {name: value for name, value in made.get(said["event_id"], {}).items() if name != "event_id"}
        return msgspec.json.encode(said | ({"prediction": own} if own else {}))

    return History(events.predictions, [*map(with_prediction, events.outcomes)], events.end, events.reports)


def at_source(policy: str) -> str:
    return policy.replace("labels: {", "labels: {joined_at_source: true, ")


@cache
def carried(name: str) -> Run:
    known = KNOWN[name]
    return run(carrying(known.events()), Cut(), at_source(known.policy), known.reference())


def said(lines: bytes) -> list[dict[str, Any]]:
    """Return records without what names the policy, which is another."""
    found = [msgspec.json.decode(line) for line in lines.splitlines()]
    return [{name: x for name, x in one.items() if name not in ("policy_digest", "verdict_id")} for one in found]


@pytest.mark.parametrize("name", KNOWN)
def test_outcomes_that_carry_their_predictions_say_what_those_say_that_find_them(name: str) -> None:
    known, found = KNOWN[name], carried(name)
    stored = run(known.events(), Cut(), known.policy, known.reference())

    assert not any(one.counters.get(excepted) for one in (found, stored) for excepted in EXCEPTED)
    assert {key: found.counters[key] for key in COUNTED} == {key: stored.counters[key] for key in COUNTED}
    assert found.counters["joined"] > (0.4 if name == "a sample" else 0.9) * found.counters["predictions"]
    assert len(said(found.verdicts)) > 20
    for one, other in ((found.verdicts, stored.verdicts), (found.controls, stored.controls)):
        assert said(one) == said(other)


@pytest.mark.parametrize("name", ["ratios", "facts apart"])
@given(cut=CUTS)
@settings(max_examples=4, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(name: str, cut: Cut) -> None:
    known = KNOWN[name]

    test_laws.same(run(carrying(known.events()), cut, at_source(known.policy), known.reference()), carried(name))


@pytest.mark.parametrize("first", [0, 1])
def test_one_topic_wholly_before_the_other_says_the_same(first: int) -> None:
    events = carrying(test_laws.events())
    cut = Cut((997,), 3, [bool(first)] * 1000)

    test_laws.same(run(events, cut, at_source(test_laws.POLICY)), carried("calibration and recall"))


@given(seed=st.integers(0, 2**16), sizes=st.lists(st.integers(20, 4000), min_size=1, max_size=3))
@settings(max_examples=3, deadline=None)
def test_any_record_delivered_twice_counts_once(seed: int, sizes: list[int]) -> None:
    events = carrying(test_laws_ratios.events())
    doubled = repeated(events, np.random.default_rng(seed))
    known = KNOWN["ratios"]

    again = run(doubled, Cut(sizes, 2), at_source(known.policy), known.reference())

    assert again.counters["duplicate"] == sum(
        len(two) - len(one)
        for one, two in ((events.predictions, doubled.predictions), (events.outcomes, doubled.outcomes))
    )
    test_laws.same(again, carried("ratios"))
