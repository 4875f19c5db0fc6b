"""A label and a review of an event are two facts: each counts once, in one outcome or in two, whichever comes first."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events import History, history
from tests.replaying import START, Event, replay_lines
from tests.reviewing import POLICY as RECALL
from tests.reviewing import events as unfamiliar
from tests.reviewing import export, odd, replayed, reviewed, take
from tests.test_laws import EXCEPTED, Cut, Run, run

LATER = 40 * 60_000
LABELS = ("event_id", "ts", "label")
REVIEWS = ("event_id", "ts", "confirmed_ood")

Said = dict[str, Any]


@cache
def events() -> History:
    """Return a history that breaks recall and calibration."""
    return history(seed=7, hours=26, per_hour=150)


def told(make: Callable[[Said], Iterable[Said]]) -> History:
    """Return the history with other outcomes in place of each, in the order of their times."""
    found = [one for line in events().outcomes for one in make(msgspec.json.decode(line))]
    found.sort(key=lambda one: int(one["ts"]))
    return History(events().predictions, [msgspec.json.encode(one) for one in found], events().end)


def only(said: Said, names: tuple[str, ...], later: int = 0, **more: object) -> Said:
    """Return some fields of an outcome, so much later."""
    return {name: said[name] for name in names if name in said} | {"ts": said["ts"] + later} | more


def has(said: Said) -> bool:
    return "confirmed_ood" in said


def reviews_later(said: Said) -> list[Said]:
    """Labels as they came, reviews 40 minutes after them."""
    return [only(said, LABELS), *([only(said, REVIEWS, LATER)] * has(said))]


def labels_later(said: Said) -> list[Said]:
    """Reviews as they came, labels 40 minutes after them."""
    return [only(said, REVIEWS), only(said, LABELS, LATER)] if has(said) else [said]


@cache
def apart() -> Run:
    return run(told(reviews_later), Cut())


@cache
def together() -> Run:
    return run(events(), Cut())


def same(found: Run, expected: Run, slo: bytes = b"") -> None:
    """Compare verdicts and controls (of an SLO) to the byte."""
    assert not any(found.counters.get(name) for name in EXCEPTED)
    for one, other in ((found.verdicts, expected.verdicts), (found.controls, expected.controls)):
        lines = [line for line in one.splitlines() if slo in line]
        assert lines
        assert hash(tuple(lines)) == hash(tuple(line for line in other.splitlines() if slo in line))


def test_the_history_told_apart_engages_on_labels_and_on_reviews() -> None:
    """Otherwise equality would say little: two runs without any review are equal too."""
    for slo in (b'"ood_recall_12h"', b'"decision_ece_6h"'):
        assert any(slo in line and b'"engaged"' in line for line in apart().controls.splitlines()), slo


@pytest.mark.parametrize("order", [1, -1])
def test_two_outcomes_at_one_time_say_what_one_says(order: int) -> None:
    split = told(lambda said: [only(said, LABELS), only(said, REVIEWS)][::order] if has(said) else [said])

    same(run(split, Cut((211,), 2)), together())


@pytest.mark.parametrize("apart_by", [reviews_later, labels_later])
@given(
    sizes=st.lists(st.integers(40, 1500), min_size=1, max_size=4),
    shards=st.sampled_from([1, 3]),
    order=st.lists(st.booleans(), max_size=40),
    resume=st.lists(st.integers(1, 40), max_size=3, unique=True),
)
@settings(max_examples=3, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_between_the_two_says_the_same(
    apart_by: Callable[[Said], list[Said]], sizes: list[int], shards: int, order: list[bool], resume: list[int]
) -> None:
    split = told(apart_by)

    same(run(split, Cut(sizes, shards, order, resume)), run(split, Cut()))


def test_a_fact_that_comes_again_counts_nothing_even_if_it_says_otherwise() -> None:
    """The label again, and the contrary, beside the review that is new, and both once more."""

    def make(said: Said) -> list[Said]:
        again = only(said, (*LABELS, "confirmed_ood"), LATER, label=not said["label"])
        return [only(said, LABELS), *([again, again] * has(said))]

    found = run(told(make), Cut((307,), 2))

    same(found, apart())
    assert found.counters["known_facts"] == found.counters["duplicate"] == sum(map(has, _said()))


def _said() -> list[Said]:
    return [msgspec.json.decode(line) for line in events().outcomes]


def test_each_fact_counts_as_if_both_had_come_in_one_outcome_at_its_own_time() -> None:
    """Outcomes of nobody keep the times of the topic the same."""

    def early(said: Said) -> list[Said]:
        return [said, *([only(said, LABELS, LATER, event_id="nobody")] * has(said))]

    def late(said: Said) -> list[Said]:
        nobody = only(said, LABELS, event_id="nobody")
        return [nobody, only(said, (*LABELS, "confirmed_ood"), LATER)] if has(said) else [said]

    same(apart(), run(told(early), Cut()), b"decision_ece_6h")
    same(apart(), run(told(late), Cut()), b"ood_recall_12h")


def test_labels_first_and_reviews_later_identify_recall(tmp_path: Path) -> None:
    """As audits are: every label after ten minutes, what is due reviewed an hour after the event."""
    assert replayed(tmp_path).code == 4
    export(tmp_path)
    assert take(tmp_path, reviewed(tmp_path / "todo.csv"))[0] == 0
    reviews = [msgspec.json.decode(x) for x in (tmp_path / "out/reviews/outcomes.jsonl").read_bytes().splitlines()]
    labels: list[Event] = [
        {"event_id": f"e{i}", "ts": START + i * 60_000 + 600_000, "label": odd(i)} for i in range(len(unfamiliar()))
    ]
    both = sorted([*labels, *reviews], key=lambda one: int(one["ts"]))

    def last(outcomes: list[Event], name: str) -> list[Event]:
        (tmp_path / name).mkdir()
        ran = replay_lines(tmp_path / name, unfamiliar(), outcomes, RECALL)
        assert ran.counted("duplicate") == 0
        return [{k: v[k] for k in ("state", "value", "low", "n") if k in v} for v in ran.lines("verdicts")[-1:]]

    found = last(both, "both")

    assert found[0]["state"] == "met"
    assert found == last(reviews, "reviews")
