"""Laws of the evidence that releases a control, and of the evidence that holds it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.fixed import SCALE, to_nats
from interlock.detectors.mirror import MOST_STARTS, Mirror, RecentStarts, SignedMirror

K = 3
WEIGHTS = np.array([0.5, 0.3, 0.2])


def evidence(seed: int, *shape: int) -> NDArray[np.int64]:
    return np.floor(np.random.default_rng(seed).normal(0, 1.5, shape) * SCALE).astype(np.int64)


def brute_force(log_e: NDArray[np.int64]) -> float:
    """Ln of the sum over starts and alternatives of int64[T, K]."""
    return float(np.log(sum((np.exp(to_nats(log_e[s:].sum(axis=0))) * WEIGHTS).sum() for s in range(len(log_e)))))


def test_v_is_the_sum_over_all_starts_since_engagement() -> None:
    log_e, mirror = evidence(1, 60, K), Mirror(WEIGHTS)

    assert mirror.log_v == -np.inf
    for t in range(60):
        mirror.step(log_e[t])

        assert mirror.log_v == pytest.approx(brute_force(log_e[: t + 1]), abs=1e-9)


def test_signed_v_takes_the_weaker_sign_of_every_group() -> None:
    log_e, mirror = evidence(2, 40, 2, K, 4), SignedMirror(WEIGHTS, 4)

    assert mirror.log_v == -np.inf
    for t in range(40):
        mirror.step(log_e[t])
        weakest = [log_e[s : t + 1].sum(axis=0).min(axis=0).sum(axis=-1) for s in range(t + 1)]
        expected = np.log(sum((np.exp(to_nats(w)) * WEIGHTS).sum() for w in weakest))

        assert mirror.log_v == pytest.approx(expected, abs=1e-9)


def test_signed_v_is_below_the_evidence_against_every_pattern_of_signs() -> None:
    log_e, mirror = evidence(3, 30, 2, K, 3), SignedMirror(WEIGHTS, 3)
    for pane in log_e:
        mirror.step(pane)

    for pattern in np.ndindex(2, 2, 2):
        chosen = np.sum([log_e[:, sign, :, g] for g, sign in enumerate(pattern)], axis=0)
        assert mirror.log_v <= brute_force(chosen) + 1e-9


def test_thinned_starts_only_lower_v_and_memory_is_bounded() -> None:
    log_e = evidence(4, 3 * MOST_STARTS, 2, K, 2)
    log_e[:, 1] = log_e[:, 0]
    mirror, exact = SignedMirror(WEIGHTS, 2), Mirror(WEIGHTS)
    for pane in log_e:
        mirror.step(pane)
        exact.step(pane[0].sum(axis=-1))

        assert mirror.log_v <= exact.log_v + 1e-9
        assert len(mirror.snapshot()["starts"]) <= MOST_STARTS


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 29))
def test_snapshot_and_resume_anywhere_changes_no_bit(seed: int, cut: int) -> None:
    log_e, signed = evidence(seed, 30, K), evidence(seed, 30, 2, K, 2)
    straight = Mirror(WEIGHTS), SignedMirror(WEIGHTS, 2), RecentStarts(WEIGHTS, 7)
    resumed = Mirror(WEIGHTS), SignedMirror(WEIGHTS, 2), RecentStarts(WEIGHTS, 7)
    for t in range(30):
        for mirror, signed_mirror, recent in (straight, resumed):
            mirror.step(log_e[t])
            signed_mirror.step(signed[t])
            recent.step(2 * t, log_e[t])
        if t == cut:
            saved = resumed[0].snapshot(), resumed[1].snapshot(), resumed[2].snapshot()
            resumed = Mirror(WEIGHTS), SignedMirror(WEIGHTS, 2), RecentStarts(WEIGHTS, 1)
            resumed[0].restore(saved[0])
            resumed[1].restore(saved[1])
            resumed[2].restore(saved[2])

        assert straight[0].log_v == resumed[0].log_v
        assert straight[1].log_v == resumed[1].log_v
        assert straight[2].log_m(2 * t) == resumed[2].log_m(2 * t)


def test_recent_starts_lie_in_the_last_hold_panes_whatever_hold_is_later() -> None:
    log_e, panes = evidence(6, 300, K), np.cumsum(np.random.default_rng(6).integers(1, 5, 300))
    recent = RecentStarts(WEIGHTS, 10, longest=200)
    for t, pane in enumerate(panes.tolist()):
        recent.step(pane, log_e[t])
        for hold in (200, 20, 10):
            recent.hold = hold
            first = int(np.searchsorted(panes, pane - hold, side="right"))

            assert recent.log_m(pane) == pytest.approx(brute_force(log_e[first : t + 1]), abs=1e-9)


def test_recent_starts_forget_what_no_hold_can_reach() -> None:
    recent = RecentStarts(WEIGHTS, 5, longest=50)
    for pane in range(5000):
        recent.step(pane, np.zeros(K, dtype=np.int64))

    assert len(recent.snapshot()["panes"]) <= 2 * 50 + 64
    assert recent.log_m(4999) == pytest.approx(np.log(5))
    assert recent.log_m(6000) == -np.inf


def test_hold_and_panes_are_checked() -> None:
    recent = RecentStarts(WEIGHTS, 5, longest=50)
    recent.step(3, np.zeros(K, dtype=np.int64))

    with pytest.raises(ValueError, match="hold must be 1 to 50 panes, got 51"):
        recent.hold = 51
    with pytest.raises(ValueError, match="panes must increase"):
        recent.step(3, np.zeros(K, dtype=np.int64))


def test_evidence_beyond_any_threshold_does_not_overflow() -> None:
    mirror, signed = Mirror(WEIGHTS), SignedMirror(WEIGHTS, 2)
    for _ in range(1000):
        mirror.step(np.full(K, 1 << 45))
        signed.step(np.full((2, K, 2), 1 << 45))

    assert np.isfinite(mirror.log_v)
    assert np.isfinite(signed.log_v)
