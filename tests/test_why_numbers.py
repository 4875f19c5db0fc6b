"""The numbers of `interlock why`: what is beyond a target, how far recovery is, and how factors are said."""

import math

import numpy as np
import pytest

from interlock.detectors.mirror import Mirror
from interlock.detectors.proportion import ProportionEvidence
from interlock.policies.measures import RecallMeasure
from interlock.policies.plan import CONFIRMED, MISSED, audit_cell
from interlock.policies.scalars import Target
from interlock.policies.why_case import Case
from interlock.policies.why_good import Traffic, least_to_prove, panes_to
from interlock.policies.why_parts import beyond, rankings
from interlock.policies.why_words import odds, span
from interlock.records import Count
from tests.explaining import MINUTE
from tests.tabling import verdict


def test_a_recall_has_the_weighted_misses_that_are_too_many_beyond_its_target() -> None:
    measure = RecallMeasure(0.9, (0.5,), 1.0)
    row = np.zeros(measure.width, np.int64)
    row[CONFIRMED], row[measure.column(audit_cell(0, MISSED))] = 80, 10

    assert beyond(measure, row[None], Target(">=", 0.9)) == pytest.approx([0.9 * (80 + 10 / 0.5) - 80])


@pytest.mark.parametrize(
    ("factor", "said"),
    [(0.5, "1 : 0.5"), (1, "1 : 1"), (3214, "1 : 3,200"), (3.3e6, "1 : 3.3 million"), (1.2e9, "1 : 1.2 billion")],
)
def test_a_factor_is_said_in_digits_that_people_read(factor: float, said: str) -> None:
    assert odds(math.log(factor)) == said


def test_a_factor_beyond_all_floats_is_a_power_of_ten() -> None:
    assert odds(200 * math.log(10)) == "1 : 10^200"
    assert odds(4000 * math.log(10)) == "1 : 10^4,000"


def test_spans_are_in_their_two_largest_units() -> None:
    assert [span(x * MINUTE) for x in (0, 1, 60, 61, 1440, 1501)] == [
        "0 s",
        "1 min",
        "1 h",
        "1 h 1 min",
        "1 d",
        "1 d 1 h",
    ]


def test_counts_that_the_verdict_does_not_tell_of_are_not_read_as_others() -> None:
    one = verdict(1, slo="ood_recall_24h", target=">= 0.9", value=0.8, evidence={"hits": 8, "audited_misses": 1})
    cells = [CONFIRMED, audit_cell(0, MISSED), audit_cell(1, MISSED)]
    counts = [Count("recall", "", "1", cell, 9) for cell in cells]

    assert rankings(Case(one, one, [], [], window=counts[:2]))[0] == []
    assert "give --policy" not in rankings(Case(one, one, [], [], window=counts[:2]))[1][0]
    assert "give --policy" in rankings(Case(one, one, [], [], window=counts))[1][0]


def test_the_panes_that_are_told_are_the_first_after_which_the_mirror_proves_it() -> None:
    measure, evidence = Case(verdict(1), verdict(1), [], []).measure, ProportionEvidence.build(0.05)
    assert measure is not None
    for per_pane in (1, 7, 300):
        told = panes_to(10.0, Mirror(evidence.good_weights), measure, Traffic(np.array([per_pane, 0, 0]), 1), None)
        mirror, panes = Mirror(evidence.good_weights), 0
        while mirror.log_v < 10.0:
            mirror.step(evidence.log_good(np.array([0]), np.array([per_pane]))[0])
            panes += 1

        assert told == panes


def test_traffic_that_is_too_near_the_target_is_said_to_prove_nothing() -> None:
    measure, evidence = Case(verdict(1), verdict(1), [], []).measure, ProportionEvidence.build(0.05)
    assert measure is not None
    bad = Traffic(np.array([1000, 50, 0]), 1)

    assert panes_to(10.0, Mirror(evidence.good_weights), measure, bad, None) is None


def test_the_events_that_are_told_are_the_fewest_that_prove_the_target() -> None:
    measure = Case(verdict(1), verdict(1), [], []).measure
    assert measure is not None
    least = least_to_prove(measure, np.array([1000, 0, 0]))
    assert least is not None

    assert [bool(measure.estimate(np.array([[n, 0, 0]])).proven[0]) for n in (least - 2, least)] == [False, True]
