"""Laws of audited recall: evidence, value, interval, and whether the audits are the ones that should have been."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from interlock.detectors.fixed import to_nats
from interlock.detectors.never import rate_bound
from interlock.detectors.recall import RecallEvidence, interval, selection_log_e, value

LEVELS = (0.01, 0.25)


def expected_e_value(evidence: RecallEvidence, recall: float, n: int, *, good: bool) -> NDArray[np.float64]:
    """E[exp(l)] over n OOD events, half in each audit level: flagged, audited miss, or unseen."""
    total = np.zeros(5 if good else 6)
    fates: list[tuple[str | int, float]] = [("hit", recall)]
    fates += [(level, (1 - recall) / 2 * pi) for level, pi in enumerate(LEVELS)]
    fates += [("unseen", (1 - recall) / 2 * (1 - pi)) for pi in LEVELS]
    for events in itertools.product(fates, repeat=n):
        kinds = [kind for kind, _ in events]
        hits, misses = np.array([kinds.count("hit")]), np.array([[kinds.count(0), kinds.count(1)]])
        log_e = evidence.log_good(hits, misses) if good else evidence.log_bad(hits, misses)
        total += math.prod(p for _, p in events) * np.exp(to_nats(log_e[0]))
    return total


@pytest.mark.parametrize("dispersion", [1.0, 2.0])
@pytest.mark.parametrize("r0", [0.5, 0.9])
def test_no_stake_gains_in_expectation_on_the_hypothesis_side_of_the_target(r0: float, dispersion: float) -> None:
    evidence = RecallEvidence.build(r0, LEVELS, dispersion)
    for n in (1, 2, 4):
        for share in (0.0, 0.5, 1.0):
            assert np.all(expected_e_value(evidence, r0 + share * (1 - r0), n, good=False) <= 1 + 1e-12)
            assert np.all(expected_e_value(evidence, r0 * share, n, good=True) <= 1 + 1e-12)


def test_at_the_target_next_to_nothing_is_given_away() -> None:
    evidence = RecallEvidence.build(0.9, LEVELS)

    assert np.all(expected_e_value(evidence, 0.9, 3, good=False) >= 1 - 1e-7)
    assert np.all(expected_e_value(evidence, 0.9, 3, good=True) >= 1 - 1e-7)


@given(counts=st.lists(st.tuples(*[st.integers(0, 500)] * 3), min_size=1, max_size=8))
def test_evidence_adds_up_over_panes(counts: list[tuple[int, int, int]]) -> None:
    evidence, panes = RecallEvidence.build(0.9, LEVELS, 1.4), np.array(counts)
    hits, misses = panes[:, 0], panes[:, 1:]
    total = hits.sum(keepdims=True), misses.sum(axis=0, keepdims=True)

    assert np.array_equal(evidence.log_bad(hits, misses).sum(axis=0), evidence.log_bad(*total)[0])
    assert np.array_equal(evidence.log_good(hits, misses).sum(axis=0), evidence.log_good(*total)[0])


def test_targets_and_audit_levels_are_checked() -> None:
    for r0, pis in ((0.0, LEVELS), (1.0, LEVELS), (0.9, ()), (0.9, (0.0,))):
        with pytest.raises(ValueError, match="pi > 0"):
            RecallEvidence.build(r0, pis)


def test_the_value_weights_a_miss_by_one_over_its_audit_probability() -> None:
    got = value(np.array([90, 5, 0]), np.array([[0, 0], [1, 2], [0, 0]]), LEVELS)

    assert got[:2] == pytest.approx([1.0, 5 / (5 + 100 + 8)])
    assert np.isnan(got[2])


def test_without_counts_the_interval_is_everything() -> None:
    lower, upper = interval(np.array([0]), np.array([[0, 0]]), LEVELS)

    assert (lower[0], upper[0]) == (0.0, 1.0)


@given(hits=st.integers(0, 20_000), misses=st.tuples(st.integers(0, 100), st.integers(0, 3000)))
def test_the_interval_holds_the_value(hits: int, misses: tuple[int, int]) -> None:
    counts = np.array([hits]), np.array([misses])
    lower, upper = interval(*counts, LEVELS)

    assert 0 <= lower[0] <= upper[0] <= 1
    if hits + sum(misses) > 0:
        assert lower[0] <= value(*counts, LEVELS)[0] <= upper[0]


def test_the_interval_is_what_the_evidence_does_not_reject_at_half_alpha() -> None:
    hits, misses, threshold = np.array([900]), np.array([[2, 30]]), math.log(2 / 0.05)
    lower, upper = interval(hits, misses, LEVELS)

    def bad(r0: float) -> float:
        log_e = to_nats(RecallEvidence.build(r0, LEVELS).log_bad(hits, misses)[0])
        return float(np.logaddexp.reduce(log_e)) - math.log(6)

    def good(r0: float) -> float:
        log_e = to_nats(RecallEvidence.build(r0, LEVELS).log_good(hits, misses)[0])
        return float(np.logaddexp.reduce(log_e)) - math.log(5)

    assert good(lower[0]) >= threshold > good(lower[0] + 2e-4)
    assert bad(upper[0] - 2e-4) < threshold <= bad(upper[0])


@pytest.mark.parametrize(("ood", "pi", "recall"), [(1000, 0.05, 0.9), (17_000, 0.01, 0.8), (1000, 1.0, 0.95)])
def test_the_interval_covers_the_true_recall(ood: int, pi: float, recall: float) -> None:
    rng = np.random.default_rng(5)
    hits = rng.binomial(ood, recall, 500)
    misses = rng.binomial(ood - hits, pi)[:, None]
    lower, upper = interval(hits, misses, (pi,))

    assert np.mean((lower <= recall) & (recall <= upper)) >= 0.95


def test_dispersion_widens_the_interval_as_fewer_events_would() -> None:
    hits, misses = np.array([900]), np.array([[3, 30]])

    assert interval(hits, misses, LEVELS, dispersion=3.0) == interval(hits // 3, misses // 3, LEVELS)


def test_slots_computed_together_or_alone_have_the_same_bits() -> None:
    rng = np.random.default_rng(6)
    hits, misses = rng.integers(0, 2000, 200), rng.integers(0, 60, (200, 2))
    together = (*interval(hits, misses, LEVELS), value(hits, misses, LEVELS))
    for j in range(0, 200, 29):
        one = hits[j : j + 1], misses[j : j + 1]
        alone = (*interval(*one, LEVELS), value(*one, LEVELS))

        assert [a.tobytes() for a in alone] == [t[j : j + 1].tobytes() for t in together]


@pytest.mark.parametrize("pi", [0.01, 0.3, 1.0])
def test_the_selection_e_value_has_expectation_one_where_audits_are_as_declared(pi: float) -> None:
    selected = np.arange(61)
    chance = binom.pmf(selected, 60, pi)
    possible = chance > 0
    expected = (np.exp(selection_log_e(selected, np.full(61, 60), pi)[possible]) * chance[possible]).sum()

    assert 0 < expected <= 1 + 1e-9


def test_too_few_and_too_many_audits_are_noticed() -> None:
    log_e = selection_log_e(np.array([0, 100, 200]), np.full(3, 10_000), 0.01)

    assert log_e[1] < 0
    assert log_e[0] > math.log(1000)
    assert log_e[2] > math.log(1000)
    assert selection_log_e(np.array([9]), np.array([10]), 1.0)[0] > math.log(1000)


def test_zero_violations_prove_a_rate_at_any_time() -> None:
    assert rate_bound(0) == 1.0
    assert rate_bound(1) == pytest.approx(0.95)
    assert rate_bound(10_000) == pytest.approx(3e-4, rel=2e-3)
    for n in (1, 7, 1000):
        assert (1 - rate_bound(n, 0.1)) ** n == pytest.approx(0.1)
