"""The watchdog's judgement: who stands still with records to read and no reason is found, and nobody else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.streams.stalls import Stall, Stalls

HERE, THERE = ("predictions", 0), ("outcomes", 3)

AFTER = 60.0
LOOK = 10.0

Look = tuple[int | None, int | None]
"""A position and an end, None where it may wait, and where the broker does not tell."""


def judged(looks: list[Look]) -> list[Stall | None]:
    """Return what is said at each look, ten seconds apart."""
    stalls = Stalls(AFTER)
    return [
        stalls.look(n * LOOK, {HERE: position}, {} if end is None else {HERE: end})
        for n, (position, end) in enumerate(looks)
    ]


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([(5, 5)] * 20, "there is nothing to read"),
        ([(9, 5)] * 20, "it is past what is committed"),
        ([(n, 100) for n in range(20)], "it moves, if slowly"),
        ([(None, 100)] * 20, "it waits for a reason"),
        ([(5, None)] * 20, "the broker is away"),
        ([(5, 100)] * 6, "it has not been long"),
        ([(5, 100)] * 6 + [(5, None)] + [(5, 100)] * 6, "the broker was away in between"),
        ([(5, 100)] * 6 + [(None, 100)] + [(5, 100)] * 6, "it had a reason in between"),
        ([(5, 100)] * 6 + [(3, 100)] * 6, "its state is an older one"),
    ],
)
def test_nobody_is_found_who(looks: list[Look], why: str) -> None:
    assert judged(looks) == [None] * len(looks), why


def test_who_stands_still_with_records_to_read_is_found_after_the_time_and_named() -> None:
    said = judged([(4, 100), *[(5, 100 + n) for n in range(7)]])

    assert said[:-1] == [None] * 7
    assert said[-1] == Stall(HERE, 5, 106, AFTER)
    assert str(said[-1]) == "predictions, partition 0, stands at 5 for 60 s, its end is 106"


def test_a_place_that_moves_hides_none_that_stands_still() -> None:
    stalls = Stalls(AFTER)
    said = [stalls.look(n * LOOK, {HERE: n, THERE: 7}, {HERE: 100, THERE: 8}) for n in range(7)]

    assert said == [*[None] * 6, Stall(THERE, 7, 8, AFTER)]


looks = st.lists(st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2, 3])), max_size=40)


@given(looks)
def test_found_are_just_those_whose_last_looks_all_saw_the_same_position_before_an_end(seen: list[Look]) -> None:
    said = judged(seen)
    needed = int(AFTER / LOOK) + 1
    for n, stall in enumerate(said):
        last = seen[max(0, n + 1 - needed) : n + 1]
        still = len(last) == needed and len({at for at, _ in last}) == 1
        lags = all(at is not None and end is not None and at < end for at, end in last)

        assert (stall is not None) == (still and lags)
