"""Laws of the evidence about calibration and of the signs it bets on."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.calibration import (
    SignedResiduals,
    ece_upper,
    ece_value,
)
from interlock.detectors.ece import (
    BETS,
    BINS,
    GROUPS,
    SIGN_STEPS,
    EceEvidence,
    groups_equal_mass,
    groups_equal_width,
    in_groups,
    micro_bin,
)
from interlock.detectors.fixed import SCALE, to_nats
from interlock.detectors.signs import MEMORY, SignMemory

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


def stack(*parts: Counts) -> Counts:
    """The slots of all parts, one after the other."""
    n, sum_p, sum_y = (np.concatenate(counts) for counts in zip(*parts, strict=True))
    return n, sum_p, sum_y


def random_signs(seed: int, slots: int) -> Floats:
    steps = np.random.default_rng(seed).integers(-SIGN_STEPS, SIGN_STEPS + 1, (slots, GROUPS))
    return np.asarray(steps[:, WIDTH] / SIGN_STEPS)


def expected_e_value(evidence: EceEvidence, signs: Floats, events: list[tuple[float, int, float]], n: int) -> Floats:
    """E[exp(log_bad)] of n independent events drawn from (p, y, probability), by enumeration."""
    total = np.zeros(len(BETS))
    for draws in itertools.product(events, repeat=n):
        counts = tally(np.array([[d[0] for d in draws]]), np.array([[d[1] for d in draws]]))
        total += np.prod([d[2] for d in draws]) * np.exp(to_nats(evidence.log_bad(signs, *counts)[0]))
    return total


def population_ece(events: list[tuple[float, int, float]]) -> float:
    residual = np.zeros(GROUPS)
    for p, y, weight in events:
        residual[WIDTH[micro_bin(np.array([p]))[0]]] += weight * (y - p)
    return float(np.abs(residual).sum())


def test_micro_bins_cover_zero_to_one() -> None:
    p = np.array([0.0, 1 / 64 - 1e-12, 1 / 64, 0.5, 1 - 1e-12, 1.0])

    assert micro_bin(p).tolist() == [0, 0, 1, 32, 63, 63]


@given(n_ref=st.lists(st.integers(0, 1000), min_size=BINS, max_size=BINS))
def test_groups_are_fixed_in_order_and_in_range(n_ref: list[int]) -> None:
    for groups in (groups_equal_mass(np.array(n_ref)), WIDTH):
        assert groups.shape == (BINS,)
        assert groups.min() >= 0
        assert groups.max() < GROUPS
        assert np.all(np.diff(groups) >= 0)


def test_equal_mass_shares_the_reference_out_evenly() -> None:
    n_ref = np.arange(BINS) + 20
    share = in_groups(n_ref, groups_equal_mass(n_ref)) / n_ref.sum()

    assert np.abs(share - 1 / GROUPS).max() < 0.025
    assert np.array_equal(groups_equal_mass(np.zeros(BINS, dtype=np.int64)), WIDTH)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 80), kind=st.sampled_from(["spread", "one bin", "falling"]))
def test_evidence_is_never_above_that_of_the_true_probabilities(seed: int, n: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((1, n)) if kind == "spread" else (rng.random((1, n)) + rng.integers(0, BINS)) / BINS
    y = p * BINS % 1 < 0.5 if kind == "falling" else rng.random((1, n)) < rng.random()
    evidence, signs = EceEvidence(0.05, WIDTH), random_signs(seed, 1)
    residual = signs[0, micro_bin(p[0])] * (y[0] - p[0])
    exact = np.log1p(BETS[:, None] * (residual - 0.05)).sum(axis=1)
    good = evidence.log_good(*(c[0] for c in tally(p, y)))

    assert np.all(to_nats(evidence.log_bad(signs, *tally(p, y))[0]) <= exact + 1e-8)
    for j, sign in enumerate((1, -1)):
        exact_good = np.log1p(BETS[:, None] * (0.05 - sign * (y[0] - p[0]))).sum(axis=1)
        assert np.all(to_nats(good[j].sum(axis=-1)) <= exact_good + 1e-8)


@pytest.mark.parametrize("dispersion", [1.0, 2.0])
def test_no_stake_gains_in_expectation_while_the_ece_is_on_target(dispersion: float) -> None:
    low, high = 28 / BINS + 1e-6, 29 / BINS - 1e-6
    populations = [
        [(low, 1, 0.5), (high, 0, 0.5)],  # the worst for a bet at the bin's mean: y falls with p inside the bin
        [(low, 1, 0.25), (low, 0, 0.25), (high, 1, 0.25), (high, 0, 0.25)],
        [(0.3, 1, 0.2), (0.3, 0, 0.3), (0.91, 1, 0.4), (0.91, 0, 0.1)],
    ]
    for events in populations:
        evidence = EceEvidence(population_ece(events), WIDTH, dispersion)
        for signs in (np.ones((1, BINS)), -np.ones((1, BINS)), random_signs(1, 1)):
            for n in (1, 2, 5):
                assert np.all(expected_e_value(evidence, signs, events, n) <= 1 + 1e-12)


def test_a_bet_at_the_bins_mean_would_gain_where_outcomes_fall_with_p_inside_a_bin() -> None:
    low, high = 28 / BINS + 1e-6, 29 / BINS - 1e-6
    eps, n, total = population_ece([(low, 1, 0.5), (high, 0, 0.5)]), 6, 0.0
    for draws in itertools.product((0, 1), repeat=n):
        mean = np.mean([low if y else high for y in draws])
        total += np.prod([1 + 0.7 * (y - mean - eps) for y in draws]) / 2**n

    assert total > 1 + 5e-3


def test_release_evidence_does_not_gain_while_the_ece_is_above_target() -> None:
    events = [(0.3, 1, 0.25), (0.3, 0, 0.25), (0.9, 1, 0.36), (0.9, 0, 0.14)]  # residuals +.10 and -.09
    evidence, total = EceEvidence(population_ece(events), WIDTH), np.zeros(len(BETS))
    for draws in itertools.product(events, repeat=5):
        counts = tally(np.array([[d[0] for d in draws]]), np.array([[d[1] for d in draws]]))
        weakest = evidence.log_good(*(c[0] for c in counts)).min(axis=0).sum(axis=-1)
        total += np.prod([d[2] for d in draws]) * np.exp(to_nats(weakest))

    assert np.all(total <= 1 + 1e-12)


def test_evidence_of_separate_bins_adds_up() -> None:
    counts, signs = draw(5, 3, 500), random_signs(5, 3)
    evidence = EceEvidence(0.05, WIDTH)
    parts = [tuple(np.where(np.arange(BINS) % 2 == j, c, 0) for c in counts) for j in (0, 1)]

    assert np.array_equal(sum(evidence.log_bad(signs, *part) for part in parts), evidence.log_bad(signs, *counts))


def test_an_empty_pane_is_no_evidence() -> None:
    nothing = np.zeros((2, BINS), dtype=np.int64)
    evidence = EceEvidence(0.05, WIDTH)

    assert not evidence.log_bad(np.ones((2, BINS)), nothing, nothing, nothing).any()
    assert not evidence.log_good(nothing[0], nothing[0], nothing[0]).any()
    assert not evidence.signs(nothing, nothing, nothing).any()


def test_a_target_that_cannot_be_bet_on_is_refused() -> None:
    for eps, dispersion in ((0.0, 1.0), (0.41, 1.0), (0.05, 0.9)):
        with pytest.raises(ValueError, match=r"0 < eps <= 0\.4"):
            EceEvidence(eps, WIDTH, dispersion)


def test_signs_follow_the_residuals_of_their_group_and_are_quantised() -> None:
    evidence = EceEvidence(0.05, WIDTH)
    over, under = draw(1, 1, 4000, 0.2), draw(1, 1, 4000, -0.2)
    filled = over[0][0] > 20

    assert np.all(evidence.signs(*over)[0, filled] < -0.5)
    assert np.all(evidence.signs(*under)[0, filled] > 0)
    assert np.array_equal(evidence.signs(*over) * SIGN_STEPS, np.rint(evidence.signs(*over) * SIGN_STEPS))


def test_slots_computed_together_or_alone_have_the_same_bits() -> None:
    counts = stack(draw(7, 100, 50), draw(8, 100, 3))
    evidence = EceEvidence(0.05, WIDTH, 1.3)
    signs = evidence.signs(*counts)
    together = (evidence.log_bad(signs, *counts), signs, ece_value(*counts, WIDTH), ece_upper(*counts, WIDTH))
    for j in range(0, 200, 13):
        one = counts[0][j : j + 1], counts[1][j : j + 1], counts[2][j : j + 1]
        s = evidence.signs(*one)
        alone = (evidence.log_bad(s, *one), s, ece_value(*one, WIDTH), ece_upper(*one, WIDTH))

        assert [a.tobytes() for a in alone] == [t[j : j + 1].tobytes() for t in together]


def newest_panes(panes: list[Counts], slot: int) -> Counts:
    """The slow obvious memory: whole panes, newest first, until 5,000 labels."""
    n, p, y = (np.zeros(BINS, dtype=np.int64) for _ in range(3))
    for pane in reversed(panes):
        if n.sum() >= MEMORY:
            break
        n, p, y = n + pane[0][slot], p + pane[1][slot], y + pane[2][slot]
    return n, p, y


def test_memory_keeps_whole_panes_newest_first_until_5000_labels() -> None:
    memory = SignMemory(3)
    panes: list[Counts] = []
    sizes = np.random.default_rng(2).integers(0, 3000, (25, 3))
    for t, row in enumerate(sizes.tolist()):
        panes.append(stack(*(draw(100 * t + slot, 1, size) for slot, size in enumerate(row))))
        memory.add(*panes[-1])
        for slot in range(3):
            for got, expected in zip(memory.sums(), newest_panes(panes, slot), strict=True):
                assert np.array_equal(got[slot], expected)


def test_memory_is_bounded_however_narrow_the_panes_are() -> None:
    memory = SignMemory(1)
    for t in range(7000):
        memory.add(*tally(np.array([[0.5 + t % 7 / 20]]), np.array([[1]])))

    assert len(memory.snapshot()["cells"]) == MEMORY
    assert memory.sums()[0].sum() == MEMORY


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 19))
def test_memory_and_histogram_resume_anywhere_without_a_changed_bit(seed: int, cut: int) -> None:
    memory, residuals = SignMemory(2), SignedResiduals(2, 8)
    again, residuals_again = SignMemory(2), SignedResiduals(2, 8)
    evidence = EceEvidence(0.05, WIDTH)
    for t in range(20):
        counts = draw(seed + t, 2, 900 * (t % 3))
        signs = evidence.signs(*memory.sums())
        for m, r in ((memory, residuals), (again, residuals_again)):
            m.add(*counts)
            r.add(3 * t, signs, *counts)
        if t == cut:
            saved, saved_residuals = again.snapshot(), residuals_again.snapshot()
            again, residuals_again = SignMemory(2), SignedResiduals(2, 8)
            again.restore(saved)
            residuals_again.restore(saved_residuals)

    assert all(np.array_equal(a, b) for a, b in zip(memory.sums(), again.sums(), strict=True))
    assert [residuals.lower(s) for s in (0, 1)] == [residuals_again.lower(s) for s in (0, 1)]


def test_memory_forgets_the_cleared_slots_only() -> None:
    memory, fresh, kept = SignMemory(2), SignMemory(2), SignMemory(2)
    memory.add(*draw(1, 2, 4000))
    kept.add(*draw(1, 2, 4000))
    memory.clear(np.array([True, False]))
    for seed in range(2, 7):
        for m in (memory, fresh, kept):
            m.add(*draw(seed, 2, 2000))

    for got, new, old in zip(memory.sums(), fresh.sums(), kept.sums(), strict=True):
        assert np.array_equal(got[0], new[0])
        assert np.array_equal(got[1], old[1])
