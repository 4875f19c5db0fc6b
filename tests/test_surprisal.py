"""Laws of the surprisal score."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.surprisal import (
    NAN_CELL,
    SCALE,
    SurprisalScorer,
    category_table,
    cell_codes,
    good_turing_upper,
    numeric_table,
)

COUNTS = st.lists(st.integers(0, 5000), min_size=1, max_size=60).filter(lambda counts: sum(counts) > 0)


def scorer(features: int = 3, seed: int = 0) -> SurprisalScorer:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(features, 4000))
    categories = rng.integers(0, 7, size=(features, 4000)).astype(np.int32)
    bare = SurprisalScorer(
        (0.0,) * features,
        (1.0,) * features,
        tuple(numeric_table(row, 0.0, 1.0) for row in numbers),
        tuple(category_table(np.bincount(row, minlength=7), 3) for row in categories),
        np.zeros(features, np.int64),
        np.zeros(features, np.int64),
    )
    return bare.with_means(numbers, categories)


def events(n: int, features: int = 3, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(features, n)) * 3
    numbers[:, ::17] = np.nan
    numbers[:, ::29] = np.inf
    return numbers, rng.integers(-2, 7, size=(features, n)).astype(np.int32)


def test_a_score_is_the_exact_sum_of_its_features_surprisals() -> None:
    one, (numbers, categories) = scorer(), events(500)
    expected = [
        sum(int(one.number_tables[f][cell_codes(numbers[f], 0.0, 1.0)[i]]) for f in range(3))
        + sum(int(one.category_tables[f][categories[f, i]]) for f in range(3))
        for i in range(500)
    ]

    assert one.score(numbers, categories).tolist() == expected


@given(cut=st.lists(st.integers(0, 700), max_size=6))
def test_a_score_does_not_depend_on_how_the_stream_is_cut(cut: list[int]) -> None:
    one, (numbers, categories) = scorer(), events(700)
    edges = [0, *sorted(cut), 700]
    parts = [one.score(numbers[:, a:b], categories[:, a:b]) for a, b in pairwise(edges)]

    np.testing.assert_array_equal(np.concatenate(parts), one.score(numbers, categories))


@given(counts=COUNTS, missing=st.integers(0, 50))
@example(counts=[1, 5000], missing=0)
def test_an_unseen_value_is_at_least_as_surprising_as_the_rarest_seen(counts: list[int], missing: int) -> None:
    table = category_table(np.array(counts), missing)

    assert table[-2] >= table[:-2].max()
    assert table[-2] >= table[-1]


@given(counts=COUNTS)
def test_a_rarer_value_is_never_less_surprising(counts: list[int]) -> None:
    ordered = np.sort(np.array(counts))

    assert (np.diff(category_table(ordered, 0)[:-2]) <= 0).all()


def test_new_values_exceed_the_good_turing_bound_in_few_draws() -> None:
    rng = np.random.default_rng(3)
    shares = 1.0 / np.arange(1, 3001) ** 1.3
    shares /= shares.sum()
    exceeded = 0
    for _ in range(300):
        counts = rng.multinomial(4000, shares)
        exceeded += shares[counts == 0].sum() > good_turing_upper(counts)

    assert exceeded <= 3


def test_without_a_singleton_the_bound_is_the_rule_of_three() -> None:
    assert good_turing_upper(np.array([600, 400])) == pytest.approx(3 / 1000)
    assert good_turing_upper(np.array([], np.int64)) == 1.0


def test_cells_cover_six_deviations_with_one_beyond_each_end_and_one_for_nan() -> None:
    values = np.array([-np.inf, -6.01, -6.0, 0.0, 5.99, 6.0, np.inf, np.nan])

    assert cell_codes(values, 0.0, 1.0).tolist() == [0, 0, 1, 33, 64, 65, 65, NAN_CELL]


def test_a_number_far_away_or_missing_is_more_surprising_than_a_common_one() -> None:
    table = numeric_table(np.random.default_rng(0).normal(size=5000), 0.0, 1.0)
    at = table[cell_codes(np.array([0.0, 2.5, 40.0, np.nan]), 0.0, 1.0)]

    assert at[0] < at[1] < at[2] == at[3]
    assert at[3] > 8 * SCALE


def test_no_mass_is_lost_by_smoothing() -> None:
    table = numeric_table(np.random.default_rng(0).normal(size=5000) * 4, 0.0, 1.0)

    assert np.exp(-table / SCALE).sum() == pytest.approx(1.0, abs=1e-5)


def test_unseen_means_a_value_that_no_reference_row_had() -> None:
    categories = np.array([[0, -1, -2, 3], [1, 2, 0, -2]], np.int32)

    assert scorer(2).unseen(categories).tolist() == [False, False, True, True]


def test_numbers_alone_or_categories_alone_can_be_scored() -> None:
    one, (numbers, categories) = scorer(), events(50)
    none = SurprisalScorer((), (), (), one.category_tables, one.number_means[:0], one.category_means)
    only = SurprisalScorer(one.means, one.sds, one.number_tables, (), one.number_means, one.category_means[:0])
    parts = none.score(numbers[:0], categories) + only.score(numbers, categories[:0])

    np.testing.assert_array_equal(parts, one.score(numbers, categories))
