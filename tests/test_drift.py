"""Drift's bins, evidence and effect sizes: nulls by exact sums, any batching, tied and missing values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.detectors.drift import BINS, MISSING, NEW, UNIT, Bins, Design, DriftDetector, alternatives, log_e
from interlock.detectors.e_bh import e_bh
from interlock.detectors.effect_sizes import effect_sizes
from interlock.streams.drift_bins import FEW, OTHERS
from interlock.streams.fit_drift import category_stream, number_stream

RNG = np.random.default_rng(3)
NORMAL = number_stream("x", RNG.standard_normal(5000))
CODES = np.minimum(RNG.geometric(0.2, 5000) - 1, 29).astype(np.int32)
CATEGORY = category_stream("c", CODES, [f"v{i:02d}" for i in range(30)])


@pytest.mark.parametrize("stream", [NORMAL, CATEGORY], ids=["number", "category"])
def test_no_alternative_gains_under_the_null_even_one_standard_error_away(stream: object) -> None:
    bins: Bins = stream.bins  # type: ignore[attr-defined]
    design = Design.of(bins)
    p0 = bins.shares
    factors = np.exp(design.coefficients[: len(design.tried), : len(p0)] / UNIT)
    worst = np.max(factors @ p0)
    away = np.sqrt(((factors - factors @ p0[:, None]) ** 2) @ p0 / bins.rows)

    assert len(design.tried) > 20
    assert worst <= 1
    assert np.all(factors @ p0 + away <= 1)


def test_every_alternative_is_a_distribution() -> None:
    for stream in (NORMAL, CATEGORY):
        for named, q in alternatives(stream.bins):
            assert q.min() > 0, named
            assert q.sum() == pytest.approx(1), named
    assert len(alternatives(NORMAL.bins)) == 50


def test_dispersion_divides_the_evidence() -> None:
    from dataclasses import replace  # noqa: PLC0415

    thick = Design.of(replace(NORMAL.bins, phi=3.0))
    factors = np.exp(thick.coefficients[: len(thick.tried)] / UNIT)

    assert np.all(factors @ NORMAL.bins.shares <= 1)
    assert factors.max() < np.exp(Design.of(NORMAL.bins).coefficients.max() / UNIT / 2)


@given(seed=st.integers(0, 2**16), cut=st.integers(1, 39))
def test_slots_judged_together_or_apart_have_the_same_bits(seed: int, cut: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 9, (40, 2, BINS))
    designs = [Design.of(NORMAL.bins), Design.of(CATEGORY.bins)]
    together, apart = DriftDetector(designs, 40), DriftDetector(designs, 40)

    for _ in range(3):
        together.step(counts, np.arange(40))
        apart.step(counts, np.arange(cut))
        apart.step(counts, np.arange(cut, 40))

    assert together.m.tobytes() == apart.m.tobytes()


def test_the_product_of_large_counts_is_that_of_integers() -> None:
    coefficients = Design.of(NORMAL.bins).coefficients
    counts = np.random.default_rng(1).integers(0, 1 << 40, (3, BINS))
    small = counts >> 25

    exact = np.array(coefficients.astype(object) @ small.T.astype(object))

    assert np.array_equal(log_e(small, coefficients), exact.astype(np.float64))
    assert np.isfinite(log_e(counts, coefficients)).all()


def test_an_idle_slot_keeps_its_evidence() -> None:
    detector = DriftDetector([Design.of(NORMAL.bins)], 3)
    counts = np.full((3, 1, BINS), 2)
    detector.step(counts, np.array([0, 2]))
    before = detector.m.copy()
    detector.step(counts, np.array([0]))

    assert before[1, 0] == 0
    assert detector.m[2, 0] == before[2, 0]
    assert detector.m[0, 0] != before[0, 0]


def test_a_bin_that_fills_is_the_alternative_that_is_told() -> None:
    counts = np.round(NORMAL.bins.shares * 1000).astype(np.int64)
    counts[7] += 150
    detector = DriftDetector([Design.of(NORMAL.bins)], 1)
    detector.step(counts.reshape(1, 1, BINS), np.zeros(1, np.int64))

    best = detector.best(0, 0)

    assert (best.kind, best.bin) == ("more", 7)


def test_a_number_falls_into_bins_of_about_equal_mass_and_two_of_its_own() -> None:
    values = np.array([np.nan, -99.0, 99.0, np.inf, -np.inf, 0.0])

    assert NORMAL.of_numbers(values).tolist()[:5] == [MISSING, NEW, NEW, NEW, NEW]
    assert max(NORMAL.bins.counts[2:]) - min(NORMAL.bins.counts[2:]) <= 2
    assert NORMAL.bins.counts[:2] == (0, 0)


def test_the_bin_of_a_number_is_the_same_in_a_chunk_of_any_size() -> None:
    rng = np.random.default_rng(7)
    edges = np.array(NORMAL.edges)
    ties = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), NORMAL.range or ()])
    special = np.concatenate([ties, [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308]])
    values = rng.permutation(np.concatenate([special, rng.standard_normal(3 * FEW)]))

    whole = NORMAL.of_numbers(values)

    for size in (1, FEW // 7, FEW - 1, FEW, FEW + 1):
        parts = [NORMAL.of_numbers(values[at : at + size]) for at in range(0, len(values), size)]
        assert np.concatenate(parts).tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("values", "known"),
    [([1.0] * 600, 1), ([0.0] * 500 + [1.0] * 100, 2), ([1e308, -1e308] * 300, 2), ([0.0] * 599 + [1.0], 2)],
    ids=["constant", "binary", "huge", "one other"],
)
def test_tied_values_give_fewer_bins_and_finite_evidence(values: list[float], known: int) -> None:
    stream = number_stream("x", np.array(values))
    design = Design.of(stream.bins)
    detector = DriftDetector([design], 1)
    for codes in (stream.of_numbers(np.array(values)), np.full(600, NEW), np.full(600, MISSING)):
        detector.step(np.bincount(codes, minlength=BINS).reshape(1, 1, BINS), np.zeros(1, np.int64))

    assert sum(count > 0 for count in stream.bins.counts) == known
    assert detector.m[0, 0] > 1e6
    assert np.isfinite(detector.m).all()
    assert all(np.isfinite(list(effect_sizes(np.zeros(3, np.int64), np.zeros(3, np.int64)).values())))


def test_a_category_of_a_million_values_has_sixteen_known_bins() -> None:
    codes = np.concatenate([np.zeros(500, np.int32), np.arange(1_000_000, dtype=np.int32)])
    stream = category_stream("c", codes, [str(i) for i in range(1_000_000)])

    assert stream.values == ("0",)
    assert stream.bins.labels == ("missing", "unseen codes", "0", OTHERS)
    assert stream.bins.counts == (0, 0, 501, 999_999)
    assert stream.bins.new == 0.5


def test_e_bh_is_the_largest_j_by_hand() -> None:
    m = np.array([[1000.0, 40.0, 55.0], [0.0, 1.0, 30.0]])

    assert e_bh(m, 10, 6).tolist() == [[True, True, True], [False, False, True]]
    assert e_bh(m, 25, 6).tolist() == [[True, False, False], [False, False, False]]
    assert not e_bh(m, 200, 6).any()
    assert not e_bh(np.zeros((2, 0)), 200, 6).any()


@given(seed=st.integers(0, 2**16))
def test_e_bh_finds_nothing_where_the_mean_is_below_c(seed: int) -> None:
    m = np.random.default_rng(seed).pareto(1.0, 50) * 3

    found = e_bh(m, 10, 50).any()

    assert not found or m.mean() >= 10


def test_effect_sizes_of_equal_counts_are_zero_and_w1_is_the_shift() -> None:
    counts = np.array([0, 0, 500, 500, 500, 500])
    moved = np.array([0, 0, 0, 500, 500, 1000])
    centres = (0.5, 1.5, 2.5, 3.5)

    same = effect_sizes(counts, counts, centres)
    shifted = effect_sizes(moved, counts, centres)

    assert all(value == pytest.approx(0, abs=1e-12) for value in same.values())
    assert shifted["w1"] == pytest.approx(0.75, abs=0.01)
    assert shifted["ks"] == pytest.approx(0.25, abs=0.01)
    assert shifted["psi"] > 0.5
