"""Review thresholds: which scores stay automatic, how they move, what a control and a page say of them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from benchmarks.court import Court, Ints, Judged, decisions, during, make_policy, promise
from interlock.detectors.ece import groups_equal_width
from interlock.detectors.review import Promise, Sides, by_group, ranges
from interlock.policies.load import PolicyErrors, load_policy
from interlock.policies.pages import page_of
from interlock.policies.review import automatic_text
from interlock.records import Control
from tests.guarding import NOW, control, mode, trusting

HALF = groups_equal_width()
"""15 groups of equal width."""
PANES = 432
"""Three days of ten-minute panes."""


def every(value: int) -> Ints:
    return np.full(64, value, np.int64)


# -- which groups pass -----------------------------------------------------------------------------------------------


def test_low_scores_that_turn_out_positive_are_errors_and_high_ones_that_do_not() -> None:
    found = Sides().errors(every(10), every(3))

    assert found.tolist() == [3] * 32 + [7] * 32


def test_the_micro_bin_that_the_boundary_cuts_has_the_worse_of_both_counts() -> None:
    assert Sides(0.305).errors(every(10), every(3))[18:22].tolist() == [3, 7, 7, 7]
    assert Sides(0.305).errors(every(10), every(8))[18:22].tolist() == [8, 8, 2, 2]


def test_confidence_orders_groups_by_their_distance_to_the_boundary_and_top_classes_have_no_low_side() -> None:
    assert Sides().order(HALF) == [14, 0, 13, 1, 12, 2, 11, 3, 10, 4, 9, 5, 8, 6, 7]
    assert Sides(one_sided=True).order(HALF) == [14, 13, 12, 11, 10, 9, 8, 7]
    assert Sides(0.0).order(HALF) == list(range(14, -1, -1))


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1)), min_size=15, max_size=15), st.floats(0.02, 0.4))
def test_groups_pass_in_order_while_the_exact_binomial_test_rejects_and_the_first_failure_ends_it(
    counted: list[tuple[int, float]], rate: float
) -> None:
    n = np.array([size for size, _ in counted])
    wrong = np.array([int(size * share * rate * 2) for size, share in counted])
    order = Sides().order(HALF)
    slow: list[int] = []
    for group in order:
        if n[group] == 0:
            continue
        if binom.cdf(wrong[[*slow, group]].sum(), n[[*slow, group]].sum(), rate) > 0.05:
            break
        slow.append(group)

    assert Promise(rate).automatic(n, wrong, order) == tuple(slow)


def test_clusters_count_as_fewer_labels() -> None:
    n, wrong = np.full(15, 60), np.zeros(15, np.int64)

    assert Promise(0.05).automatic(n, wrong, [0]) == (0,)
    assert Promise(0.05, dispersion=2.0).automatic(n, wrong, [0]) == ()


def test_no_labels_prove_nothing_and_all_wrong_proves_nothing() -> None:
    nothing = np.zeros(15, np.int64)

    assert Promise(0.2).automatic(nothing, nothing, Sides().order(HALF)) == ()
    assert Promise(0.2).automatic(np.full(15, 50), np.full(15, 50), Sides().order(HALF)) == ()


def test_ranges_join_neighbours_and_end_where_groups_end() -> None:
    assert ranges([], HALF) == []
    assert ranges([0, 14, 13], HALF) == [(0.0, 5 / 64), (56 / 64, 1.0)]
    assert ranges(range(15), HALF) == [(0.0, 1.0)]
    assert by_group(every(1), HALF).sum() == 64


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], "no score"),
        ([[0.0, 1.0]], "scores of any value"),
        ([[0.0, 0.0625], [0.9375, 1.0]], "scores below 0.0625 and from 0.938 on"),
        ([[0.25, 0.5]], "scores from 0.25 to 0.5"),
    ],
)
def test_ranges_in_words(found: list[list[float]], text: str) -> None:
    assert automatic_text(found) == text


# -- what the machine says -------------------------------------------------------------------------------------------


def court(name: str = "decision_ece_24h", **more: object) -> Court:
    review = {"error_rate": 0.2, "thresholds": "from_calibration", **more}
    return Court(
        make_policy(promise(name, "<= 0.05", "24h"), labels={"maturity": "1h"}, review=review, false_pages_per_year=30)
    )


def judged(of: Court, error: float, start: int = 216, end: int = PANES, seed: int = 5) -> Judged:
    """Calibrated decisions, 30 in ten minutes, that are too sure by `error` from pane `start` to `end`."""
    made = decisions(np.random.default_rng(seed), 30, during(PANES, start, end, error, 0.0), (PANES, 1))
    return of.judge(PANES, made.made(), made.joined(1))


def standing(found: Judged) -> list[Control]:
    return [one for one in found.controls if one.slo.endswith(".thresholds")]


def breaches(found: Judged) -> list[Control]:
    return [one for one in found.controls if "." not in one.slo]


def reach(one: Control) -> list[int]:
    """The 64ths of the score range that stay automatic."""
    return [b for low, high in one.parameters["automatic"] for b in range(int(low * 64), int(high * 64))]


@pytest.mark.parametrize("name", ["decision_ece_24h", "decision_ece_p95_24h"])
def test_thresholds_begin_with_nothing_and_move_by_one_group_at_a_time(name: str) -> None:
    said = standing(judged(court(name), 0.0))
    steps = [len(set(reach(b)) ^ set(reach(a))) for a, b in itertools.pairwise(said)]

    assert reach(said[0]) == []
    assert {one.epoch for one in said} == {1}
    assert {one.mode for one in said} == {"human_review"}
    assert len(reach(said[-1])) >= 12, "the scores from .72 on have an error rate below .2"
    assert max(steps) <= 5, "a group of equal width has 4 or 5 of 64 micro-bins"


def test_without_the_key_nothing_stands_before_a_breach() -> None:
    of = court()
    bare = Court(make_policy(promise("decision_ece_24h", "<= 0.05", "24h"), labels={"maturity": "1h"}))

    assert standing(judged(of, 0.0))
    assert not standing(judged(bare, 0.0))


@pytest.mark.parametrize("name", ["decision_ece_24h", "decision_ece_p95_24h"])
def test_a_breach_freezes_what_its_own_stretch_proves_and_afterwards_it_only_shrinks(name: str) -> None:
    said = breaches(judged(court(name, error_rate=0.35), 0.2))
    first, *later = [one for one in said if one.state == "engaged" and one.epoch == 1]
    of_all = [set(reach(one)) for one in (first, *later)]

    assert of_all[0], "high scores are right often enough"
    assert max(of_all[0]) == 59, "no label has a score from .92 on"
    assert all(after <= before for before, after in itertools.pairwise(of_all))


def test_a_breach_that_leaves_nothing_provable_has_everything_reviewed_and_the_page_says_so() -> None:
    of = court(error_rate=0.05)
    first = breaches(judged(of, 0.3))[0]
    page = page_of(first, of.policy)

    assert page is not None
    assert first.parameters["automatic"] == []
    assert "People review all" in page.details["done"]


def test_the_page_of_a_breach_says_what_is_still_decided_automatically() -> None:
    of = court(error_rate=0.35)
    found = judged(of, 0.2)
    page = page_of(breaches(found)[0], of.policy)

    assert page is not None
    assert "Still decided automatically: scores from" in page.details["done"]
    assert all(page_of(one, of.policy) is None for one in standing(found))


def test_an_slo_that_asks_for_another_action_says_no_ranges() -> None:
    slo = promise("decision_ece_24h", "<= 0.05", "24h", action_on_breach="degrade_to_safe_mode")
    of = Court(
        make_policy(slo, labels={"maturity": "1h"}, review={"thresholds": "from_calibration", "error_rate": 0.35})
    )
    found = judged(of, 0.2)

    assert breaches(found)
    assert not standing(found)
    assert all("automatic" not in one.parameters for one in found.controls)


def test_the_default_error_rate_is_the_target_and_wrong_values_are_refused() -> None:
    text = json.dumps({"slos": [promise("decision_ece_24h", "<= 0.05", "24h")], "review": {"confidence": 1.0}})

    assert breaches(judged(court(error_rate=None), 0.3))[0].parameters["error_rate"] == 0.05
    with pytest.raises(PolicyErrors, match="review"):
        load_policy(text.encode(), "p.yaml")


# -- what a guard does -----------------------------------------------------------------------------------------------


def reviewing(automatic: object, **more: object) -> object:
    return control(mode="human_review", action="route_to_human_review", parameters={"automatic": automatic}, **more)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (None, "human_review"),
        (0.0, "normal"),
        (0.25, "human_review"),
        (0.75, "normal"),
        (1.0, "normal"),
        (float("nan"), "human_review"),
        (1.5, "human_review"),
        (0.5, "human_review"),
    ],
)
def test_a_score_inside_a_range_is_decided_automatically(score: float | None, said: str) -> None:
    state = trusting(reviewing([[0.0, 0.25], [0.75, 1.0]]))  # type: ignore[arg-type]

    assert mode(state, score=score) == said


@pytest.mark.parametrize(
    "junk", [None, "all", [0, 1], [[0.0, 1.0], [2]], [[True, 1]], [[0.9, 0.1]], [[-1, 2]], {"a": 1}]
)
def test_ranges_that_cannot_be_read_leave_nothing(junk: object) -> None:
    assert mode(trusting(reviewing(junk)), score=0.5) == "human_review"  # type: ignore[arg-type]


def test_a_score_must_lie_in_the_ranges_of_every_control_and_no_range_lowers_another_mode() -> None:
    wide, narrow = reviewing([[0.5, 1.0]], slo="a"), reviewing([[0.9, 1.0]], slo="b")
    safe = control(mode="safe_mode", action="degrade_to_safe_mode", slo="c", parameters={"automatic": [[0.0, 1.0]]})

    assert mode(trusting(wide, narrow), score=0.7) == "human_review"  # type: ignore[arg-type]
    assert mode(trusting(wide, narrow), score=0.95) == "normal"  # type: ignore[arg-type]
    assert mode(trusting(wide, safe), score=0.95) == "safe_mode"  # type: ignore[arg-type]


def test_without_a_lease_no_score_is_decided_automatically() -> None:
    state = trusting(reviewing([[0.0, 1.0]]))  # type: ignore[arg-type]
    state._clock = lambda: NOW + 1e12

    assert mode(state, score=0.95) != "normal"
