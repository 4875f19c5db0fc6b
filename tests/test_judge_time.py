"""STREAM.md §3 and §6 on the judge: panes that come behind, idle sources, clock records."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.said import Said
from interlock.streams.axes import CohortAxis
from interlock.streams.chains import TallyGapError
from interlock.streams.judge import Judge
from interlock.streams.tally import PANE, TallyRecord
from tests.tallying import (
    ECE,
    OOD,
    START,
    Book,
    Step,
    book,
    controls,
    cut,
    heard,
    history,
    ms,
    new_judge,
    resumed,
    text,
    told,
)

SEEDS = (0, 1, 2)


@cache
def steps(seed: int, *, idle: bool = True) -> tuple[Step, ...]:
    return tuple(history(seed, 3, 400, idle=idle))


@cache
def straight(seed: int, *, idle: bool = True) -> tuple[bytes, ...]:
    return tuple(text(heard(steps(seed, idle=idle), 3)))


def merged(judge: Judge, chain: str = "predictions") -> int:
    """The last tick of a history that was judged."""
    return judge.chains[chain].merged - START


def scored(judge: Judge) -> int:
    """All events in the window of the OOD rate."""
    return int(judge.models["m"].axes[OOD].machine.window.sums[:, 0].sum())  # type: ignore[union-attr]


# -- laws of any history ---------------------------------------------------------------------------------------------


def test_the_histories_bring_counts_behind_breaches_and_silence() -> None:
    """Otherwise equality would say little."""
    for seed in SEEDS:
        judge = new_judge(3)
        said = [one for step in steps(seed) for one in told(judge, step)]

        assert judge.counters["behind"] > 1000
        assert {"ood_rate_1h", "decision_ece_1h", "ood_rate_1h.no_data"} <= {c.slo for c in controls(said)}


@pytest.mark.parametrize("idle", [True, False])
@given(seed=st.sampled_from(SEEDS), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
@settings(max_examples=6)
def test_records_in_any_chunks_say_the_same(idle: bool, seed: int, sizes: list[int]) -> None:
    judge, said, waiting, turn = new_judge(3), list[Said](), list[TallyRecord](), 0
    for step in steps(seed, idle=idle):
        if isinstance(step, TallyRecord):
            waiting.append(step)
        if not isinstance(step, TallyRecord) or len(waiting) >= sizes[turn % len(sizes)]:
            said += judge.apply(waiting)
            waiting, turn = [], turn + 1
            said += [] if isinstance(step, TallyRecord) else told(judge, step)
    said += judge.apply(waiting)

    assert text(said) == list(straight(seed, idle=idle))


@pytest.mark.parametrize("idle", [True, False])
@given(seed=st.sampled_from(SEEDS), knife=st.integers(0, 1 << 16))
@settings(max_examples=6)
def test_records_cut_at_any_pane_say_the_same(idle: bool, seed: int, knife: int) -> None:
    pieces = cut(steps(seed, idle=idle), np.random.default_rng(knife))

    assert len(pieces) > 2 * len(steps(seed, idle=idle))
    assert text(heard(pieces, 3)) == list(straight(seed, idle=idle))


@pytest.mark.parametrize("seed", SEEDS)
def test_stopping_and_resuming_anywhere_says_the_same(seed: int) -> None:
    judge, said = new_judge(3), list[Said]()
    for place, step in enumerate(steps(seed)):
        said += told(judge, step)
        judge = resumed(judge) if place % 7 == 0 else judge

    assert text(said) == list(straight(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_records_delivered_again_change_nothing(seed: int) -> None:
    judge, said, seen = new_judge(3), list[Said](), list[Step]()
    for step in steps(seed):
        said += told(judge, step)
        seen.append(step)
        said += judge.apply(x for x in seen[-9:] if isinstance(x, TallyRecord))

    assert text(said) == list(straight(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_without_idle_sources_nothing_comes_behind_and_the_order_of_shards_does_not_show(seed: int) -> None:
    judge = new_judge(3)
    records = [step for step in steps(seed, idle=False) if isinstance(step, TallyRecord)]
    said = judge.apply(sorted(records, key=lambda record: record.shard))

    assert judge.counters["behind"] == 0
    assert text(said) == list(straight(seed, idle=False))


def test_a_gap_stops_the_judge() -> None:
    judge = new_judge(1)
    judge.apply([book(0).record(0, "predictions", None, 5)])

    with pytest.raises(TallyGapError, match="predictions of shard 0"):
        judge.apply([book(8).record(0, "predictions", 7, 9)])


# -- idle sources ----------------------------------------------------------------------------------------------------


def test_an_active_shard_that_never_reported_blocks_until_it_is_declared_idle() -> None:
    judge = new_judge(2)
    before = judge.apply([book(0, 1, 2).record(0, "predictions", None, 5)])
    after = judge.idle(1, "predictions")

    assert before == []
    assert after
    assert merged(judge) == 5


def test_what_an_idle_shard_brings_counts_in_the_first_open_pane_and_is_reported() -> None:
    """Law: all counts arrive in some pane: 30 events of the past, 10 of the present; 30 came behind."""
    judge = new_judge(2)
    judge.apply([book(0, 5).record(0, "predictions", None, 20)])
    judge.idle(1, "predictions")
    late = book(3, 4, 20, 22).record(1, "predictions", None, 25)
    judge.apply([late])
    judge.apply([book().record(0, "predictions", 20, 21)])
    first_open = scored(judge)
    judge.apply([book().record(0, "predictions", 21, 30)])

    assert judge.counters["behind"] == 30
    assert first_open == 20 + 30
    assert scored(judge) == 60
    assert late.counts[PANE].min() == START + 3  # the caller's record is as it was


def test_the_causes_of_what_comes_behind_are_told_with_it() -> None:
    judge = new_judge(2)
    judge.apply([book(0).record(0, "predictions", None, 20)])
    judge.idle(1, "predictions")
    made = book(3)
    made.violation(3)
    judge.apply([made.record(1, "predictions", None, 59)])
    said = judge.apply([book().record(0, "predictions", 20, 59)])

    assert [c.evidence["first"]["event"] for c in controls(said)] == ["e3"]


def test_any_progress_makes_a_source_active_again_and_waited_for() -> None:
    judge = new_judge(2)
    judge.apply([book(0).record(0, "predictions", None, 20)])
    judge.idle(1, "predictions")
    judge.apply([book(3).record(1, "predictions", None, 10)])
    judge.apply([book().record(0, "predictions", 20, 40)])
    waits = merged(judge)
    judge.apply([book().record(1, "predictions", 10, 33)])

    assert (waits, merged(judge)) == (20, 33)


def test_a_repeat_makes_no_source_active() -> None:
    judge = new_judge(2)
    again = book(3).record(1, "predictions", None, 10)
    judge.apply([book(0).record(0, "predictions", None, 20), again])
    judge.idle(1, "predictions")
    judge.apply([again, book().record(0, "predictions", 20, 40)])

    assert merged(judge) == 40


def test_without_any_active_source_the_furthest_shard_decides() -> None:
    judge = new_judge(2)
    judge.apply([book(0).record(0, "predictions", None, 20), book(0).record(1, "predictions", None, 7)])
    judge.idle(0, "predictions")
    one = merged(judge)
    judge.idle(1, "predictions")

    assert (one, merged(judge)) == (7, 20)


def test_clock_records_pass_time_only_while_no_source_is_active_and_never_back() -> None:
    judge = new_judge(2)
    judge.apply([book(0).record(shard, "predictions", None, 20) for shard in range(2)])
    judge.idle(0, "predictions")
    active = judge.clock(ms(100)), merged(judge)
    judge.idle(1, "predictions")
    judge.clock(ms(100))
    passed = merged(judge)
    back = judge.clock(ms(50)), merged(judge)
    judge.apply([book(21).record(0, "predictions", 20, 30)])
    returned = judge.clock(ms(300)), merged(judge)

    assert active == ([], 20)
    assert passed == 99
    assert back == ([], 99)
    assert returned == ([], 99)
    assert judge.counters["behind"] == 10


def test_labels_wait_for_shards_with_active_outcomes_only_and_follow_predictions_without_any() -> None:
    judge = new_judge(2)
    judge.apply([book(0).record(shard, "predictions", None, 50) for shard in range(2)])
    judge.apply([book().record(0, "joined", None, 30)])
    blocked = merged(judge, "joined") < 0
    judge.idle(1, "outcomes")
    one = merged(judge, "joined")
    judge.idle(0, "outcomes")
    none = merged(judge, "joined")
    judge.apply([book().record(shard, "predictions", 50, 60) for shard in range(2)])

    assert blocked
    assert (one, none, merged(judge, "joined")) == (30, 50, 60)


def test_labels_that_come_behind_keep_their_cohort() -> None:
    """Law: a label of tick 0 that arrives behind is judged with the predictions of tick 0, within maturity (40 ticks)."""
    judge = new_judge(2)
    judge.apply([book(0, n=60).record(shard, "predictions", None, 60) for shard in range(2)])
    judge.apply([book().record(0, "joined", None, 10)])
    judge.idle(1, "outcomes")
    labels = Book()
    labels.labels(2, 0, 120, 90)
    judge.apply([labels.record(1, "joined", None, 12), book().record(0, "joined", 10, 60)])
    judge.apply([book().record(1, "joined", 12, 60)])
    machine = judge.models["m"].axes[ECE].machine  # type: ignore[union-attr]

    assert judge.counters["behind"] == 120
    assert machine.measure.labels(machine.window.sums) == (120, 120)  # type: ignore[union-attr]


def test_predictions_that_come_behind_are_due_labels_in_their_own_cohort() -> None:
    """Law: the labels of those predictions find them: nobody waits for labels that have come."""
    judge = new_judge(2)
    judge.apply([book(0, n=60).record(0, "predictions", None, 30)])
    judge.idle(1, "predictions")
    judge.apply([book().record(0, "joined", None, 4)])
    judge.idle(1, "outcomes")
    labels = Book()
    labels.labels(8, 5, 60, 45)
    judge.apply([book(5, n=60).record(1, "predictions", None, 30), labels.record(1, "joined", None, 30)])
    judge.apply([book().record(0, "joined", 4, 30)])
    axis = judge.models["m"].axes[ECE]

    assert judge.counters["behind"] == 60  # only predictions did
    assert isinstance(axis, CohortAxis)
    assert axis._labels(axis.cohorts[START + 5]) == (60, 60)


def test_what_no_slo_judges_is_not_kept() -> None:
    judge = new_judge(2)
    judge.apply([book(0, 1).record(shard, "abuse", None, 5) for shard in range(2)])

    assert judge.chains["abuse"].waiting == []
