"""Laws of the distance to the nearest prototype."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.prototypes import (
    CLIP,
    Prototypes,
    learned,
    normalized,
    numbers_scale,
    standardized,
)

Ints = NDArray[np.int64]


def vectors(n: int, width: int, reach: int = 512, seed: int = 0) -> Ints:
    return np.random.default_rng(seed).integers(-reach, reach + 1, size=(n, width))


def plainly(of: Ints, centres: Ints) -> list[int]:
    """The squared distance in Python's integers."""
    return [min(sum((int(a) - int(b)) ** 2 for a, b in zip(v, c, strict=True)) for c in centres) for v in of]


@pytest.mark.parametrize(
    ("width", "reach"), [(1, 512), (3, 512), (21, 512), (22, 512), (85, 256), (700, 64), (40, 4096)]
)
def test_a_distance_is_the_exact_integer_at_any_width(width: int, reach: int) -> None:
    events = np.concatenate([vectors(20, width, reach), np.full((1, width), reach), np.full((1, width), -reach)])
    centres = np.concatenate([vectors(7, width, reach, 1), np.full((1, width), reach)])

    assert Prototypes(centres).distances(events).tolist() == plainly(events, centres)


@given(cut=st.lists(st.integers(0, 5000), max_size=4))
def test_neither_distance_nor_nearest_depends_on_how_the_stream_is_cut(cut: list[int]) -> None:
    events, prototypes = vectors(5000, 20), Prototypes(vectors(64, 20, seed=1))
    pieces = [events[a:b] for a, b in pairwise([0, *sorted(cut), 5000])]

    assert np.concatenate([prototypes.distances(p) for p in pieces]).tolist() == prototypes.distances(events).tolist()
    assert np.concatenate([prototypes.nearest(p) for p in pieces]).tolist() == prototypes.nearest(events).tolist()


@pytest.mark.parametrize("width", [1, 20, 21, 22, 85, 86, 400, 4096])
def test_the_scale_is_the_finest_that_float32_adds_exactly(width: int) -> None:
    scale = numbers_scale(width)
    reach = int(CLIP) * scale

    assert 8 <= scale <= 64
    assert 3 * width * reach**2 < 2**24 or scale == 8
    assert scale == 64 or 3 * width * (2 * reach) ** 2 >= 2**24


def test_shares_add_up_to_the_distance() -> None:
    events, prototypes = vectors(50, 6), Prototypes(vectors(9, 6, seed=1))

    assert prototypes.shares(events).sum(axis=1).tolist() == prototypes.distances(events).tolist()


def test_numbers_far_away_are_clipped_and_missing_ones_lie_at_the_mean() -> None:
    numbers = np.array([[1.0, np.nan, np.inf, -np.inf, 1e308], [2.0, 5.0, 2.0, 2.0, 2.0]])
    found = standardized(numbers, np.array([1.0, 2.0]), np.array([1e-3, 1.0]), 64)

    assert found.tolist() == [[0, 0], [0, 192], [512, 0], [-512, 0], [512, 0]]


@given(exponent=st.integers(-300, 300))
def test_embeddings_have_length_one_whatever_their_size(exponent: int) -> None:
    rows = np.array([[3.0, 4.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]) * 2.0**exponent

    assert normalized(rows).tolist() == [[1229, 1638, 0], [-2048, 0, 0], [0, 0, 0]]


def test_centres_are_the_same_whatever_order_features_come_in() -> None:
    events, order = vectors(3000, 5, 60), np.array([3, 1, 4, 0, 2])

    np.testing.assert_array_equal(learned(events, 16).centres[:, order], learned(events[:, order], 16).centres)


def test_centres_find_well_parted_groups() -> None:
    middles = np.array([[0, 0], [400, 0], [0, 400], [-400, -400]])
    events = middles[np.random.default_rng(0).integers(0, 4, 4000)] + vectors(4000, 2, 9)
    found = learned(events, 40)

    assert Prototypes(found.centres).distances(events).max() < 2 * 18**2
    assert Prototypes(found.centres).distances(middles).max() < 2 * 4**2


def test_k_means_lowers_the_mean_distance_of_other_events() -> None:
    rng = np.random.default_rng(0)
    events = np.rint(rng.normal(size=(9000, 4)) * 64).astype(np.int64)
    start = Prototypes(np.unique(events[:6000], axis=0)[:64])

    assert learned(events[:6000], 64).distances(events[6000:]).mean() < 0.8 * start.distances(events[6000:]).mean()


def test_as_many_distinct_vectors_as_centres_are_their_own_centres() -> None:
    events = np.tile(np.array([[1, 2], [3, 4], [-5, 6]]), (10, 1))

    assert learned(events).distances(events).max() == 0
    assert len(learned(events).centres) == 3
