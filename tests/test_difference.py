"""Evidence about a difference of rates: never more than 1 expected on the null, whatever both arms share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

from interlock.detectors.difference import DifferenceEvidence, interval
from interlock.detectors.fixed import to_nats

Numbers = st.integers(0, 400)


def likelihood(k: np.ndarray, n: int, p: float) -> np.ndarray:
    """P(Bin(n, p) = k), from its formula: scipy's overflows where p is too small for a normal number."""
    return np.asarray(comb(n, k) * p**k * (1 - p) ** (n - k))


def expectation(limit: float, p1: float, p0: float, n1: int, n0: int, *, good: bool, phi: float = 1.0) -> float:
    """The largest expected factor of all alternatives, by the sum over all outcomes of a pane."""
    k1, k0 = (x.ravel() for x in np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1), indexing="ij"))
    chance = likelihood(k1, n1, p1) * likelihood(k0, n0, p0)
    evidence = DifferenceEvidence.build(limit, phi)
    tell = evidence.log_good if good else evidence.log_bad
    return float((chance[:, None] * np.exp(to_nats(tell((k1, k1 * 0 + n1), (k0, k0 * 0 + n0))))).sum(axis=0).max())


@pytest.mark.parametrize("limit", [-0.2, 0.0, 0.01, 0.3])
@pytest.mark.parametrize(("n1", "n0"), [(1, 1), (3, 20), (20, 3), (12, 12), (1, 60)])
def test_on_the_line_of_the_null_no_alternative_is_expected_above_one_at_any_shared_level(
    limit: float, n1: int, n0: int
) -> None:
    for p0 in np.linspace(max(0.0, -limit), min(1.0, 1 - limit), 9):
        for good in (False, True):
            assert expectation(limit, min(1.0, p0 + limit), p0, n1, n0, good=good) <= 1


@given(st.floats(-0.9, 0.9), st.floats(0, 1), st.floats(0, 1), st.integers(1, 8), st.integers(1, 8))
def test_inside_the_null_no_alternative_is_expected_above_one(
    limit: float, one: float, other: float, n1: int, n0: int
) -> None:
    good = one - other >= limit

    assert expectation(limit, one, other, n1, n0, good=good) <= 1
    assert expectation(limit, one, other, n1, n0, good=good, phi=2.5) <= 1


@given(st.lists(st.tuples(Numbers, Numbers, Numbers, Numbers), min_size=1, max_size=12), st.floats(-0.5, 0.5))
def test_a_batch_says_to_the_bit_what_its_rows_say_alone(rows: list[tuple[int, ...]], limit: float) -> None:
    table = np.array(rows, np.int64)
    one, other = ((np.minimum(table[:, i], table[:, i + 1]), table[:, i + 1]) for i in (0, 2))
    evidence = DifferenceEvidence.build(limit)
    whole = evidence.log_bad(one, other)
    alone = [evidence.log_bad((a[:1], b[:1]), (c[:1], d[:1])) for a, b, c, d in _single(one, other)]

    assert (whole == np.concatenate(alone)).all()


def _single(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, ...]]:
    return [tuple(part[i : i + 1] for part in (*one, *other)) for i in range(len(one[0]))]


@given(Numbers, Numbers)
def test_a_pane_that_lacks_an_arm_says_nothing(failures: int, more: int) -> None:
    arm, none = (np.array([failures]), np.array([failures + more])), (np.array([0]), np.array([0]))
    evidence = DifferenceEvidence.build(0.02)

    assert not evidence.log_bad(arm, none).any()
    assert not evidence.log_good(none, arm).any()
    assert [float(end[0]) for end in interval(arm, none)] == [-1, 1]


def test_evidence_grows_by_nine_tenths_of_what_the_best_test_would_give() -> None:
    """Against the growth rate of the alternative that is true, which no test exceeds."""
    for p0, excess in ((0.01, 0.05), (0.1, 0.1), (0.3, 0.05), (0.5, 0.2)):
        n1, n0, p1 = 10_000, 90_000, p0 + 0.01 + excess
        one, other = ((np.array([round(n * p)]), np.array([n])) for n, p in ((n1, p1), (n0, p0)))
        got = float(to_nats(DifferenceEvidence.build(0.01).log_bad(one, other)).max())
        q = np.linspace(p0, p1 - 0.01, 20_001)
        best = (n1 * _kl(p1, q + 0.01) + n0 * _kl(p0, q)).min()

        assert 0.88 * best < got <= best


def _kl(t: float, q: np.ndarray) -> np.ndarray:
    out: np.ndarray = t * np.log(t / q) + (1 - t) * np.log((1 - t) / (1 - q))
    return out


def test_the_interval_covers_the_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    for p1, p0, n1, n0 in ((0.05, 0.03, 200, 1800), (0.5, 0.4, 50, 50), (0.01, 0.01, 300, 300)):
        one, other = rng.binomial(n1, p1, 4000), rng.binomial(n0, p0, 4000)
        low, high = interval((one, np.full(4000, n1)), (other, np.full(4000, n0)))

        assert ((low <= p1 - p0) & (p1 - p0 <= high)).mean() >= 0.95


def test_what_cannot_be_a_difference_is_refused() -> None:
    for limit, phi in ((1.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (0.1, 0.5)):
        with pytest.raises(ValueError, match="need -1 < limit < 1"):
            DifferenceEvidence.build(limit, phi)
