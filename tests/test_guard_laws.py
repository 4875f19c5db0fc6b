"""The topic may be compacted, repeated and littered: a guard reaches the same state, and never a weaker mode."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.protocol import MODES, strongest
from interlock.scopes import Request
from tests.guarding import (
    MODEL,
    NOTHING_SAID,
    REQUESTS,
    Clock,
    Judge,
    Record,
    guarding,
)

PLACES = [
    ("ood_rate", {}, "notify"),
    ("ood_rate", {"slice": "tenant=a"}, "route_to_human_review"),
    ("ood_rate", {"slice": "tenant=b,region=eu"}, "throttle"),
    ("ood_rate", {"slice": "(other)"}, "route_to_human_review"),
    ("ece", {"slice": "tenant=a"}, "degrade_to_safe_mode"),
    ("never", {"version": "2"}, "kill_switch"),
    ("canary", {"variant": "canary"}, "degrade_to_safe_mode"),
]
TURNS = st.lists(st.none() | st.sampled_from(PLACES), max_size=25)
"""What a judge does: None renews the lease, else that place is engaged, or released if it is engaged."""


def judged(turns: Any) -> Judge:
    judge = Judge()
    for turn in turns:
        if turn is None:
            judge.renew()
        else:
            judge.turn(*turn)
    return judge


@given(TURNS, st.data(), st.lists(REQUESTS, min_size=1, max_size=4))
def test_a_guard_of_the_compacted_topic_reaches_the_state_of_one_that_saw_all(
    turns: Any, data: Any, requests: list[Request]
) -> None:
    """Law: the same controls at once; no weaker mode ever; the same modes with the next lease at the latest."""
    judge = judged(turns)
    last = {key: place for place, (key, _) in enumerate(judge.records)}
    kept = [
        said
        for place, said in enumerate(judge.records)
        if last[said[0]] == place or data.draw(st.booleans(), label=f"{place} remains")
    ]
    saw_all, saw_kept = guarding(judge.records), guarding(kept)

    assert {one.control_id for one in saw_kept.engaged()} == {one.control_id for one in saw_all.engaged()}
    for asked in requests:
        assert saw_kept.rank(MODEL, asked) >= saw_all.rank(MODEL, asked)

    judge.renew()
    for state in (saw_all, saw_kept):
        state.read(judge.records[-1:])

    for asked in requests:
        assert saw_kept.rank(MODEL, asked) == saw_all.rank(MODEL, asked)
        assert saw_kept.controls(MODEL, asked) == saw_all.controls(MODEL, asked)


@given(TURNS, st.data(), st.lists(REQUESTS, min_size=1, max_size=4))
def test_a_judge_that_publishes_again_from_an_earlier_point_ends_in_the_same_state(
    turns: Any, data: Any, requests: list[Request]
) -> None:
    records = judged(turns).records
    repeated: list[Record] = []
    for end, said in enumerate(records, 1):
        repeated.append(said)
        if data.draw(st.booleans(), label=f"restart after {end}"):
            repeated += records[data.draw(st.integers(0, end), label="from") : end]
    once, again = guarding(records), guarding(repeated)

    for asked in requests:
        assert again.rank(MODEL, asked) == once.rank(MODEL, asked)
        assert again.controls(MODEL, asked) == once.controls(MODEL, asked)


@given(TURNS, st.data(), st.lists(REQUESTS, min_size=1, max_size=4))
def test_no_sequence_of_tombstones_junk_and_older_records_lowers_a_mode(
    turns: Any, data: Any, requests: list[Request]
) -> None:
    records = judged(turns).records
    state = guarding(records)
    before = [state.rank(MODEL, asked) for asked in requests]
    old = [*records, *((key, None) for key, _ in records), *(said for _, said in NOTHING_SAID)]
    state.read(data.draw(st.lists(st.sampled_from(old), max_size=30)))

    assert all(state.rank(MODEL, asked) >= was for asked, was in zip(requests, before, strict=True))


@given(TURNS, st.sampled_from(MODES), REQUESTS, st.floats(-1e9, 1e9))
def test_whatever_the_clock_says_no_mode_is_weaker_than_what_is_engaged(
    turns: Any, on_lost: str, asked: Request, passed: float
) -> None:
    clock = Clock()
    state = guarding(judged(turns).records, clock, on_lost)
    clock.now += passed

    assert state.rank(MODEL, asked) >= MODES.index(strongest(one.mode for one in state.controls(MODEL, asked)))
