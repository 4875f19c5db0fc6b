"""Laws of the calibration error as a value, of its interval, and of its weighted 95th percentile."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import foldnorm

from interlock.detectors.calibration import (
    SignedResiduals,
    ece_plugin,
    ece_upper,
    ece_value,
    kumar_l2,
    weighted_p95,
)
from interlock.detectors.ece import (
    BINS,
    SIGN_STEPS,
    EceEvidence,
    groups_equal_width,
    in_groups,
    micro_bin,
)
from interlock.detectors.fixed import SCALE, to_nats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = tuple[Ints, Ints, Ints]
WIDTH = groups_equal_width()


def tally(p: Floats, y: NDArray[np.generic]) -> Counts:
    """(n, sum p, sum y) int64[S, 64] of events [S, n]."""
    rows, cells = np.arange(len(p))[:, None], micro_bin(p)
    out = np.zeros((3, len(p), BINS), dtype=np.int64)
    np.add.at(out[0], (rows, cells), 1)
    np.add.at(out[1], (rows, cells), np.rint(p * SCALE).astype(np.int64))
    np.add.at(out[2], (rows, cells), y.astype(np.int64))
    return out[0], out[1], out[2]


def draw(seed: int, slots: int, n: int, over: float = 0.0) -> Counts:
    """Top-label confidences in [.5, 1] that are `over` too high."""
    rng = np.random.default_rng(seed)
    p = rng.beta(4, 1.2, (slots, n)) * 0.5 + 0.5
    return tally(p, rng.random((slots, n)) < p - over)


def test_values_equal_their_definitions() -> None:
    n, p, y = (in_groups(c[0], WIDTH) for c in draw(3, 1, 2000, 0.07))
    filled = n > 1
    n, mean_p, mean_y = n[filled], p[filled] / SCALE / n[filled], y[filled] / n[filled]
    square = (mean_p - mean_y) ** 2 - mean_y * (1 - mean_y) / (n - 1)

    assert ece_plugin(*draw(3, 1, 2000, 0.07), WIDTH)[0] == pytest.approx(np.average(abs(mean_p - mean_y), weights=n))
    assert kumar_l2(*draw(3, 1, 2000, 0.07), WIDTH)[0] == pytest.approx(np.sqrt(np.average(square, weights=n)))


def test_the_debiased_value_is_the_centre_of_a_folded_normal_with_the_mean_seen() -> None:
    p, y = np.full((1, 200), 0.75), np.arange(200)[None] < 137
    centre, spread = ece_value(*tally(p, y), WIDTH)[0], np.sqrt(0.685 * 0.315 / 200)

    assert 0 < centre < 0.065
    assert foldnorm.mean(centre / spread, scale=spread) == pytest.approx(0.065, abs=1e-6)


@pytest.mark.parametrize("over", [0.0, 0.05, 0.1])
def test_the_debiased_value_is_nearer_to_the_truth_than_the_plain_one(over: float) -> None:
    counts = draw(11, 300, 1000, over)
    plain, debiased = ece_plugin(*counts, WIDTH).mean(), ece_value(*counts, WIDTH).mean()

    assert debiased <= plain
    assert abs(debiased - over) < 0.02 if over == 0 else abs(debiased - over) < 0.006


def test_where_nothing_was_counted_there_is_no_value_and_no_bound() -> None:
    nothing = (np.zeros((1, BINS), dtype=np.int64),) * 3

    assert np.isnan(ece_value(*nothing, WIDTH)[0])
    assert np.isnan(ece_plugin(*nothing, WIDTH)[0])
    assert np.isnan(kumar_l2(*nothing, WIDTH)[0])
    assert ece_upper(*nothing, WIDTH)[0] == 1.0
    assert SignedResiduals(1, 10).lower(0) == 0.0


def test_a_panes_histogram_adds_and_subtracts_exactly() -> None:
    sliding, last = SignedResiduals(2, 5), SignedResiduals(2, 5)
    for pane in range(12):
        counts, signs = draw(pane, 2, 400, 0.2), -np.ones((2, BINS))
        sliding.add(pane, signs, *counts)
        if pane > 12 - 1 - 5:
            last.add(pane, signs, *counts)

    assert [sliding.lower(s) for s in (0, 1)] == [last.lower(s) for s in (0, 1)]
    assert sliding.lower(0) > 0.1
    sliding.expire(100)
    assert sliding.lower(0) == 0.0


def test_the_lower_bound_is_what_the_betting_test_rejects() -> None:
    counts, residuals = draw(1, 1, 3000, 0.15), SignedResiduals(1, 1)
    signs = np.full((1, BINS), np.rint(-0.987 * SIGN_STEPS) / SIGN_STEPS)
    residuals.add(0, signs, *counts)
    lower = residuals.lower(0, 0.05)

    def wealth(eps: float) -> float:
        return float(np.exp(to_nats(EceEvidence(eps, WIDTH).log_bad(signs, *counts)[0])).mean())

    assert 0.05 < lower < 0.15
    assert wealth(lower) >= 1 / 0.05
    assert wealth(lower + 2 / 1024) < 1 / 0.05


def test_dispersion_lowers_the_lower_bound() -> None:
    counts, plain, dispersed = draw(1, 1, 3000, 0.15), SignedResiduals(1, 1), SignedResiduals(1, 1, 3.0)
    for residuals in (plain, dispersed):
        residuals.add(0, -np.ones((1, BINS)), *counts)

    assert 0 < dispersed.lower(0) < plain.lower(0)


def test_p95_is_the_smallest_value_that_95_percent_of_the_weight_is_within() -> None:
    assert weighted_p95([0.3, 0.1, 0.2], [1, 10, 9]) == 0.2
    assert weighted_p95([0.3, 0.1], [5, 95]) == 0.1
    assert weighted_p95([0.3, 0.1], [6, 94]) == 0.3
    assert weighted_p95([0.2], [7]) == 0.2
    assert weighted_p95([0.5, 0.1], [0, 3]) == 0.1
    assert weighted_p95([], []) is None
    with pytest.raises(ValueError, match="at most 1"):
        weighted_p95([0.1], [1], q=1.1)
