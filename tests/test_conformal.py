"""Laws of the conformal p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.conformal import Calibration, audit_levels, thin

Ints = NDArray[np.int64]

SCORES = st.lists(st.integers(-50, 50), min_size=1, max_size=200).map(lambda s: np.sort(np.array(s, np.int64)))
RATES = st.floats(0.001, 1.0)


@given(scores=SCORES, rate=RATES)
def test_flagged_means_a_p_value_of_at_most_the_rate(scores: Ints, rate: float) -> None:
    calibration = Calibration(scores)
    queries = np.arange(-60, 60)
    flagged = queries >= calibration.threshold(rate)

    np.testing.assert_array_equal(flagged, calibration.p_values(queries) <= rate)


def test_familiar_events_are_flagged_at_most_at_the_rate() -> None:
    rng = np.random.default_rng(0)
    flagged = 0
    for _ in range(400):
        calibration = Calibration(np.sort(rng.integers(0, 10**6, 499)))
        flagged += int((rng.integers(0, 10**6, 50) >= calibration.threshold(0.05)).sum())

    assert flagged <= 20_000 * 0.05 + 4 * np.sqrt(20_000 * 0.05 + 400 * (50 * 0.0097) ** 2)
    assert flagged >= 20_000 * 0.05 * 0.9


def test_too_few_calibration_scores_flag_nothing() -> None:
    assert Calibration(np.arange(50)).threshold(0.01) == np.iinfo(np.int64).max


@given(scores=SCORES, most=st.integers(1, 50), rate=RATES)
def test_thinned_calibration_flags_no_more(scores: Ints, most: int, rate: float) -> None:
    kept = thin(scores, most)

    assert len(kept) == min(most, len(scores))
    assert kept[-1] == scores[-1]
    assert Calibration(kept).threshold(rate) >= Calibration(scores).threshold(rate)


def test_strata_are_cut_at_p_values_of_20_and_5_percent() -> None:
    calibration = Calibration(np.arange(9999))
    level = calibration.level(np.arange(9999))

    assert np.bincount(level).tolist() == [8000, 1500, 499]


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.02, 0.05, 0.1])
def test_audit_levels_are_powers_of_two_that_average_near_the_rate(rate: float) -> None:
    levels = audit_levels(rate)

    assert all(np.log2(level) == round(np.log2(level)) for level in levels)
    assert list(levels) == sorted(levels)
    assert 0.7 * rate <= 0.80 * levels[0] + 0.15 * levels[1] + 0.04 * levels[2] <= 1.45 * rate


def test_audit_levels_end_at_everything_and_at_nothing() -> None:
    assert audit_levels(1.0) == (1.0, 1.0, 1.0)
    assert audit_levels(0.5) == (0.25, 1.0, 1.0)
    assert audit_levels(0.0) == (0.0, 0.0, 0.0)
