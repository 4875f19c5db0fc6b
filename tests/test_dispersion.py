"""Laws of the dispersion that a reference's panes show."""

import numpy as np
import pytest
from numpy.typing import NDArray

from interlock.detectors.dispersion import ece_dispersion, proportion_dispersion
from interlock.detectors.ece import BINS, groups_equal_width

GROUPS = groups_equal_width()


def test_independent_events_have_dispersion_near_one_however_small_the_panes() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 3, 100):
        n = rng.poisson(size, 2000)

        assert 1 <= proportion_dispersion(rng.binomial(n, 0.05), n) < 1.1


@pytest.mark.parametrize("mean", [2, 5])
def test_clusters_hit_as_one_have_dispersion_2g_minus_1(mean: int) -> None:
    rng = np.random.default_rng(2)
    hit, other = rng.poisson(2, 4000), rng.poisson(38, 4000)
    hits = hit + rng.negative_binomial(np.maximum(hit, 1), 1 / mean) * (hit > 0)
    others = other + rng.negative_binomial(np.maximum(other, 1), 1 / mean) * (other > 0)

    assert proportion_dispersion(hits, hits + others) == pytest.approx(2 * mean - 1, rel=0.15)


def test_dispersion_equals_pearsons_for_panes_of_one_size() -> None:
    hits, n = np.array([3, 9, 1, 30]), np.full(4, 50)
    q = hits.sum() / n.sum()
    pearson = ((hits - n * q) ** 2 / (n * q * (1 - q))).sum() / 3

    assert proportion_dispersion(hits, n) == pytest.approx(pearson)


def test_empty_panes_do_not_count() -> None:
    hits, n = np.array([3, 9, 1, 30]), np.full(4, 50)
    padded = np.concatenate([hits, [0, 0]]), np.concatenate([n, [0, 0]])

    assert proportion_dispersion(*padded) == proportion_dispersion(hits, n)


def test_dispersion_is_never_below_one_and_one_where_it_cannot_be_told() -> None:
    for hits, n in (([], []), ([1], [4]), ([0, 0], [5, 5]), ([5, 5], [5, 5]), ([2, 2, 2], [4, 4, 4])):
        assert proportion_dispersion(np.array(hits, dtype=np.int64), np.array(n, dtype=np.int64)) == 1.0
    nothing = np.zeros((3, BINS), dtype=np.int64)
    assert ece_dispersion(nothing, nothing, GROUPS) == 1.0


def panes(shift: NDArray[np.float64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Micro-bin counts of panes whose outcomes are shifted together by `shift` float64[P]."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(8, (len(shift), BINS))
    rate = np.clip((np.arange(BINS) + 0.5) / BINS * 0.8 + shift[:, None], 0, 1)
    return n, rng.binomial(n, rate)


def test_a_constant_miscalibration_is_no_dispersion_of_calibration() -> None:
    assert ece_dispersion(*panes(np.full(500, 0.1), 3), GROUPS) < 1.1


def test_panes_in_which_all_groups_err_together_are_dispersed() -> None:
    shift = np.where(np.random.default_rng(4).random(500) < 0.5, 0.0, 0.15)

    assert ece_dispersion(*panes(shift, 4), GROUPS) > 3
