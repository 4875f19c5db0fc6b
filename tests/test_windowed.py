"""Laws of the e-detector whose starts are limited to a window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.fixed import SCALE, to_nats
from interlock.detectors.windowed import CLIP, StartWindow

Pane = tuple[int, NDArray[np.int64], NDArray[np.bool_]]

K = 3
WEIGHTS = np.array([0.5, 0.3, 0.2])


def stream(seed: int, slots: int, panes: int, jump: int = 4) -> list[Pane]:
    """Panes (index, log e-values, non-empty), with gaps, empty slots and long runs of evidence both ways."""
    rng = np.random.default_rng(seed)
    index = np.cumsum(rng.integers(1, jump, panes))
    nonempty = rng.random((panes, slots)) < 0.7
    log_e = np.floor(rng.normal(0, 2, (panes, slots, K)) * SCALE).astype(np.int64) * nonempty[..., None]
    return [(int(index[t]), log_e[t], nonempty[t]) for t in range(panes)]


def brute_force(panes: list[Pane], window: int, *, exact: bool) -> NDArray[np.float64]:
    """Ln of the sum over starts, term by term; `exact`: all starts later than pane - window, not whole blocks only."""
    now, width = panes[-1][0], max(1, -(-window // 24))
    total = np.zeros(panes[0][1].shape[0])
    for j, (pane, _, nonempty) in enumerate(panes):
        if (pane if exact else pane // width * width) > now - window:
            evidence = to_nats(np.sum([later[1] for later in panes[j:]], axis=0))
            total += nonempty * (np.exp(evidence) * WEIGHTS).sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(total))


@pytest.mark.parametrize("window", [1, 5, 24, 25, 50, 168])
def test_equals_the_sum_over_all_starts_in_whole_blocks(window: int) -> None:
    panes = stream(window, 7, 200)
    detector = StartWindow(7, WEIGHTS, window)
    for t, pane in enumerate(panes):
        detector.advance(*pane)
        expected = brute_force(panes[: t + 1], window, exact=False)
        got = detector.log_m()

        assert np.array_equal(np.isfinite(got), np.isfinite(expected))
        assert np.allclose(got, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("window", [1, 24, 25, 50, 168])
def test_whole_blocks_only_ever_drop_starts_of_the_window(window: int) -> None:
    panes = stream(100 + window, 5, 150)
    detector = StartWindow(5, WEIGHTS, window)
    for t, pane in enumerate(panes):
        detector.advance(*pane)

        assert np.all(detector.log_m() <= brute_force(panes[: t + 1], window, exact=True) + 1e-9)


def test_the_window_is_given_away_by_less_than_one_block() -> None:
    window, width = 168, 7
    detector = StartWindow(1, np.array([1.0]), window)
    counts = []
    for pane in range(600):
        detector.advance(pane, np.zeros((1, 1), dtype=np.int64), np.array([True]))
        counts.append(round(float(np.exp(detector.log_m()[0]))))

    assert max(counts) == window
    assert min(counts[window:]) == window - width + 1


def test_slots_computed_together_or_alone_have_the_same_bits() -> None:
    panes = stream(1, 200, 120)
    together = StartWindow(200, WEIGHTS, 50)
    alone = {slots: StartWindow(len(slots), WEIGHTS, 50) for slots in ((0,), (199,), (3, 77, 150))}
    for pane, log_e, nonempty in panes:
        together.advance(pane, log_e, nonempty)
        for slots, detector in alone.items():
            detector.advance(pane, log_e[list(slots)], nonempty[list(slots)])

            assert detector.log_m().tobytes() == together.log_m()[list(slots)].tobytes()


@given(
    seed=st.integers(0, 2**32),
    window=st.integers(1, 80),
    cut=st.integers(0, 59),
    cleared=st.integers(0, 59),
)
def test_snapshot_and_resume_anywhere_changes_no_bit(seed: int, window: int, cut: int, cleared: int) -> None:
    panes = stream(seed, 3, 60)
    straight, resumed = StartWindow(3, WEIGHTS, window), StartWindow(3, WEIGHTS, window)
    for t, pane in enumerate(panes):
        straight.advance(*pane)
        resumed.advance(*pane)
        if t == cleared:
            for detector in (straight, resumed):
                detector.clear(np.array([True, False, True]))
        if t == cut:
            saved = resumed.snapshot()
            resumed = StartWindow(3, WEIGHTS, window)
            resumed.restore(saved)

        assert straight.log_m().tobytes() == resumed.log_m().tobytes()


def test_a_snapshot_does_not_change_with_its_source() -> None:
    panes = stream(9, 2, 30)
    detector = StartWindow(2, WEIGHTS, 10)
    for pane in panes[:20]:
        detector.advance(*pane)
    saved = detector.snapshot()
    before = {key: np.array(part).copy() for key, part in saved.items()}
    for pane in panes[20:]:
        detector.advance(*pane)

    assert all(np.array_equal(before[key], saved[key]) for key in saved)


@given(seed=st.integers(0, 2**32), window=st.integers(1, 80))
def test_panes_that_are_empty_for_all_may_be_left_out(seed: int, window: int) -> None:
    panes = stream(seed, 2, 40)
    filled = {pane for pane, _, _ in panes}
    sparse, dense = StartWindow(2, WEIGHTS, window), StartWindow(2, WEIGHTS, window)
    nothing = np.zeros((2, K), dtype=np.int64), np.zeros(2, dtype=np.bool_)
    start = 0
    for pane in panes:
        for empty in range(start, pane[0]):
            assert empty not in filled
            dense.advance(empty, *nothing)
        start = pane[0] + 1
        sparse.advance(*pane)
        dense.advance(*pane)

        assert sparse.log_m().tobytes() == dense.log_m().tobytes()


def test_clear_raises_the_floor_of_its_slots_only() -> None:
    panes = stream(4, 4, 80)
    mask = np.array([True, False, False, True])
    cleared, untouched, fresh = (StartWindow(4, WEIGHTS, 30) for _ in range(3))
    for t, pane in enumerate(panes):
        cleared.advance(*pane)
        untouched.advance(*pane)
        if t == 40:
            cleared.clear(mask)
            assert np.all(np.isneginf(cleared.log_m()[mask]))
        if t > 40:
            fresh.advance(*pane)
            assert np.array_equal(cleared.log_m()[mask], fresh.log_m()[mask])
        assert np.array_equal(cleared.log_m()[~mask], untouched.log_m()[~mask])


def test_no_start_gives_minus_infinity() -> None:
    detector = StartWindow(2, WEIGHTS, 10)
    log_e = np.array([[SCALE] * K, [0] * K])
    detector.advance(3, log_e, np.array([True, False]))

    assert np.isfinite(detector.log_m()[0])
    assert np.isneginf(detector.log_m()[1])


def test_a_year_of_overwhelming_evidence_does_not_overflow() -> None:
    detector = StartWindow(1, WEIGHTS, 1000)
    for pane in range(1500):
        detector.advance(pane, np.full((1, K), 1 << 50), np.array([True]))

    assert 950 * CLIP < detector.log_m()[0] * SCALE < 1001 * CLIP


def test_panes_must_increase() -> None:
    detector = StartWindow(1, WEIGHTS, 10)
    detector.advance(5, np.zeros((1, K), dtype=np.int64), np.array([True]))

    with pytest.raises(ValueError, match="panes must increase: 5 after 5"):
        detector.advance(5, np.zeros((1, K), dtype=np.int64), np.array([True]))
    with pytest.raises(ValueError, match="at least 1"):
        StartWindow(1, WEIGHTS, 0)
