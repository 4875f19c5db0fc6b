"""Laws of the OOD score."""

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.tables import fitted, scores
from interlock.detectors.conformal import Calibration, conformal_scale
from interlock.detectors.ood import WEIGHT, OodScorer, Parts, Space, number_vectors, numbers_weight
from interlock.detectors.prototypes import learned
from interlock.detectors.surprisal import SCALE, SurprisalScorer, category_table, numeric_table

Numbers = NDArray[np.float64]
Codes = NDArray[np.int32]


def familiar(n: int, seed: int) -> tuple[Numbers, Codes]:
    """Two numbers that always go together, one that does not, and a category."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=n)
    numbers = np.array([one, one + 0.05 * rng.normal(size=n), rng.normal(size=n)])
    return numbers, rng.integers(0, 5, size=(1, n)).astype(np.int32)


def scorer(*, parts: bool = True) -> OodScorer:
    numbers, categories = familiar(6000, 0)
    bare = SurprisalScorer(
        (0.0,) * 3,
        (1.0,) * 3,
        tuple(numeric_table(row, 0.0, 1.0) for row in numbers),
        (category_table(np.bincount(categories[0], minlength=5), 0),),
        np.zeros(3, np.int64),
        np.zeros(1, np.int64),
    ).with_means(numbers, categories)
    if not parts:
        return OodScorer(bare)
    apart = familiar(2000, 1)
    prototypes = learned(number_vectors(numbers, bare.means, bare.sds))
    distances = prototypes.distances(number_vectors(apart[0], bare.means, bare.sds))
    space = Space(prototypes, conformal_scale(distances, SCALE), numbers_weight(3, 1))
    return OodScorer(bare, Parts(conformal_scale(bare.score(*apart), SCALE), space))


BARE, WHOLE = scorer(parts=False), scorer()


def strange(n: int) -> tuple[Numbers, Codes]:
    rng = np.random.default_rng(9)
    numbers = rng.normal(size=(3, n)) * 3
    numbers[:, ::17], numbers[:, ::29] = np.nan, np.inf
    return numbers, rng.integers(-2, 5, size=(1, n)).astype(np.int32)


@given(cut=st.lists(st.integers(0, 3000), max_size=5))
def test_a_score_does_not_depend_on_how_the_stream_is_cut(cut: list[int]) -> None:
    numbers, categories = strange(3000)
    parts = [WHOLE.score(numbers[:, a:b], categories[:, a:b]) for a, b in pairwise([0, *sorted(cut), 3000])]

    np.testing.assert_array_equal(np.concatenate(parts), WHOLE.score(numbers, categories))


def test_a_score_is_the_weighted_sum_of_conformal_surprisal_and_distance() -> None:
    numbers, categories = strange(500)
    assert WHOLE.parts is not None
    space = WHOLE.parts.numbers
    assert space is not None
    surprise = WHOLE.parts.surprisal.of(BARE.score(numbers, categories))
    distance = space.scale.of(space.prototypes.distances(number_vectors(numbers, (0.0,) * 3, (1.0,) * 3)))

    assert space.weight == 2 * WEIGHT * 3 // 4
    np.testing.assert_array_equal(WHOLE.score(numbers, categories), surprise + distance * 3 // 2)


def test_numbers_that_are_common_alone_but_never_go_together_are_odd() -> None:
    held = familiar(3000, 2)
    apart = np.array([[1.2], [-1.2], [0.0]]), np.array([[0]], np.int32)
    limit = Calibration(np.sort(WHOLE.score(*held))).threshold(0.01)
    plain = Calibration(np.sort(BARE.score(*held))).threshold(0.01)

    assert WHOLE.score(*apart)[0] >= limit
    assert BARE.score(*apart)[0] < plain


def test_the_reason_is_the_feature_furthest_above_its_usual_surprisal() -> None:
    numbers, categories = np.zeros((3, 4)), np.zeros((1, 4), np.int32)
    numbers[1, 0] = 50.0
    categories[0, 1] = -2
    numbers[2, 3] = np.nan

    assert BARE.reasons(numbers, categories, np.array([0, 1, 3])).tolist() == [1, 3, 2]
    assert WHOLE.reasons(numbers, categories, np.array([0, 1, 3])).tolist() == [1, 3, 2]


def test_of_numbers_that_do_not_go_together_one_of_them_is_the_reason() -> None:
    numbers, categories = np.array([[1.5, 0.0], [-1.5, 0.0], [0.1, 0.0]]), np.array([[0, 0]], np.int32)

    assert WHOLE.reasons(numbers, categories, np.array([0]))[0] in (0, 1)


def test_without_features_there_is_no_reason() -> None:
    none = OodScorer(SurprisalScorer((), (), (), (), np.zeros(0, np.int64), np.zeros(0, np.int64)))

    assert none.reasons(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.array([0, 2])).tolist() == [-1, -1]


@given(scores=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=200))
def test_a_scale_is_minus_log_p_rounded_down_inside_and_rises_beyond(scores: list[int]) -> None:
    known = np.array(scores)
    scale, p_values = conformal_scale(known, SCALE), Calibration(np.sort(known)).p_values(known)
    nats = scale.of(known) / SCALE
    far = scale.of(known.max() + np.array([0, 10, 10**4, 10**8, 2**61]))

    assert (nats <= -np.log(p_values) + 1e-9).all()
    assert (nats > -np.log(p_values) - 1 / 32 - 1e-9).all()
    assert (np.diff(scale.of(np.sort(known))) >= 0).all()
    assert (np.diff(far) >= 0).all()
    assert far[-1] > far[0] + SCALE


def table(n: int, seed: int) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    one = rng.normal(size=n)
    return {"a": one, "b": one + 0.1 * rng.normal(size=n), "c": rng.exponential(size=n), "d": rng.normal(size=n)}


def test_renaming_features_so_that_their_order_changes_changes_no_score() -> None:
    names = {"a": "z", "b": "y", "c": "x", "d": "w"}
    learnt, traffic = table(3000, 0), table(2000, 1)
    plain = scores(fitted(learnt), traffic)
    renamed = scores(fitted({names[k]: v for k, v in learnt.items()}), {names[k]: v for k, v in traffic.items()})

    np.testing.assert_array_equal(plain, renamed)


@given(exponents=st.tuples(*[st.integers(-40, 40)] * 4))
@settings(max_examples=8)
def test_the_unit_of_a_feature_changes_no_score(exponents: tuple[int, ...]) -> None:
    learnt, traffic = table(1500, 0), table(300, 1)
    factors = dict(zip("abcd", (2.0**e for e in exponents), strict=True))
    scaled = scores(
        fitted({k: v * factors[k] for k, v in learnt.items()}), {k: v * factors[k] for k, v in traffic.items()}
    )

    np.testing.assert_array_equal(scaled, scores(fitted(learnt), traffic))


def test_columns_that_are_constant_all_missing_or_infinite_end_in_scores_and_warnings() -> None:
    learnt: dict[str, Any] = table(2000, 0) | {
        "constant": np.full(2000, 3.0),
        "missing": [None] * 2000,
        "half": [None, 1.0] * 1000,
        "huge": [1e308, -1e308] * 1000,
    }
    reference = fitted(learnt)
    usual = {"constant": 3.0, "half": 1.0}
    odd: dict[str, Any] = {name: [usual.get(name, 0.0), np.inf, -np.inf, None, 1e308] for name in learnt}
    found = scores(reference, odd)

    assert {warning.split(":")[0] for warning in reference.warnings} == {
        "2000 rows",
        "constant",
        "half",
        "missing",
        "huge",
        "no scores",
        "no labels",
    }
    assert reference.numbers == ("a", "b", "c", "constant", "d", "half")
    assert (found[1:] > found[0]).all()
    assert (found >= 0).all()
    assert found.max() < 200 * SCALE
