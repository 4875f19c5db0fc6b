"""Laws of the evidence about a rate, and of its intervals."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from interlock.detectors.fixed import to_nats
from interlock.detectors.proportion import ProportionEvidence, clopper_pearson, proves_at_most

Ints = NDArray[np.int64]

TARGETS = [0.01, 0.05, 0.1, 0.5, 0.9]


def expected_e_value(log_e: Callable[[Ints, Ints], Ints], rate: float, n: int) -> NDArray[np.float64]:
    """E[exp(l)] under Binomial(n, rate), by enumeration."""
    hits = np.arange(n + 1)
    e_values = np.exp(to_nats(log_e(hits, np.full(n + 1, n))))
    return np.asarray((e_values * binom.pmf(hits, n, rate)[:, None]).sum(axis=0))


@pytest.mark.parametrize("dispersion", [1.0, 1.7, 5.0])
@pytest.mark.parametrize("q0", TARGETS)
def test_no_alternative_gains_in_expectation_while_the_rate_is_on_target(q0: float, dispersion: float) -> None:
    evidence = ProportionEvidence.build(q0, dispersion)
    for n in (1, 2, 5, 12, 40):
        for share in (0.0, 0.3, 0.9, 1.0):
            assert np.all(expected_e_value(evidence.log_bad, share * q0, n) <= 1 + 1e-12)
            assert np.all(expected_e_value(evidence.log_good, 1 - share * (1 - q0), n) <= 1 + 1e-12)


@pytest.mark.parametrize("q0", TARGETS)
def test_at_the_target_next_to_nothing_is_given_away(q0: float) -> None:
    evidence = ProportionEvidence.build(q0)

    assert np.all(expected_e_value(evidence.log_bad, q0, 12) >= 1 - 1e-7)
    assert np.all(expected_e_value(evidence.log_good, q0, 12) >= 1 - 1e-7)


@given(data=st.data(), q0=st.sampled_from(TARGETS), dispersion=st.sampled_from([1.0, 2.3]))
def test_evidence_adds_up_over_any_cut_into_panes(data: st.DataObject, q0: float, dispersion: float) -> None:
    evidence = ProportionEvidence.build(q0, dispersion)
    n = np.array(data.draw(st.lists(st.integers(0, 1000), min_size=1, max_size=8)))
    hits = np.array([data.draw(st.integers(0, int(k))) for k in n])
    total = np.array([hits.sum()]), np.array([n.sum()])

    assert np.array_equal(evidence.log_bad(hits, n).sum(axis=0), evidence.log_bad(*total)[0])
    assert np.array_equal(evidence.log_good(hits, n).sum(axis=0), evidence.log_good(*total)[0])


def test_evidence_points_to_the_side_that_the_counts_are_on() -> None:
    evidence = ProportionEvidence.build(0.1)

    assert np.all(evidence.log_bad(np.array([100]), np.array([100])) > 0)
    assert np.all(evidence.log_good(np.array([0]), np.array([100])) > 0)
    assert evidence.bad_weights.sum() == pytest.approx(1)
    assert evidence.good_weights.sum() == pytest.approx(1)


def test_a_target_without_both_sides_is_refused() -> None:
    for q0, dispersion in ((0.0, 1.0), (1.0, 1.0), (0.1, 0.5)):
        with pytest.raises(ValueError, match="0 < q0 < 1"):
            ProportionEvidence.build(q0, dispersion)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_interval_is_the_one_of_scipy(alpha: float) -> None:
    hits = np.array([0, 1, 3, 10, 50, 99, 100, 0, 1])
    n = np.array([10, 10, 1000, 20, 100, 100, 100, 1, 1])
    lower, upper = clopper_pearson(hits, n, alpha)
    expected = [binomtest(int(k), int(m)).proportion_ci(1 - alpha, "exact") for k, m in zip(hits, n, strict=True)]

    assert lower == pytest.approx([e.low for e in expected], abs=1e-12)
    assert upper == pytest.approx([e.high for e in expected], abs=1e-12)


def test_no_events_prove_nothing() -> None:
    lower, upper = clopper_pearson(np.array([0]), np.array([0]))

    assert (lower[0], upper[0]) == (0.0, 1.0)
    assert not proves_at_most(np.array([0]), np.array([0]), 0.99)[0]


def test_dispersion_widens_the_interval_as_fewer_events_would() -> None:
    hits, n = np.array([30]), np.array([300])

    assert clopper_pearson(hits, n, dispersion=3.0) == clopper_pearson(hits // 3, n // 3)


@given(
    n=st.integers(0, 3000),
    share=st.floats(0, 1),
    q0=st.floats(0.001, 0.999),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
    dispersion=st.sampled_from([1.0, 1.9]),
)
def test_the_proof_is_the_interval_compared_with_the_target(
    n: int, share: float, q0: float, alpha: float, dispersion: float
) -> None:
    hits, events = np.array([int(share * n)]), np.array([n])
    upper = clopper_pearson(hits, events, alpha, dispersion)[1][0]

    if abs(upper - q0) > 1e-9:
        assert proves_at_most(hits, events, q0, alpha, dispersion)[0] == (upper <= q0)


def test_slots_computed_together_or_alone_have_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(0, 500, 200)
    hits = rng.binomial(n, 0.1)
    together = clopper_pearson(hits, n, dispersion=1.3)
    for j in range(0, 200, 37):
        alone = clopper_pearson(hits[j : j + 1], n[j : j + 1], dispersion=1.3)

        assert [a.tobytes() for a in alone] == [t[j : j + 1].tobytes() for t in together]
