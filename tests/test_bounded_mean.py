"""Evidence about means: an e-value under every null, never above what the values themselves say, intervals that cover."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.detectors import auroc, losses
from interlock.detectors.bounded_mean import BETS, MeanEvidence, interval
from interlock.detectors.fixed import SCALE

means = st.floats(0.01, 0.99)
values = st.lists(st.integers(0, SCALE), min_size=1, max_size=30)


def bins(shares: list[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count places in [0, SCALE] in bins: n and sums, int64[1, 64]."""
    place = np.asarray(shares, np.int64)
    n, total = np.zeros((2, 1, losses.BINS), np.int64)
    np.add.at(n[0], losses.loss_bin(place), 1)
    np.add.at(total[0], losses.loss_bin(place), place)
    return n, total


@given(mean=means, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_bet_on_two_points_gains_nothing_in_expectation_while_the_mean_is_kept(
    mean: float, low: float, high: float
) -> None:
    """Every distribution on [0, 1] with this mean mixes pairs of points around it."""
    a, b = sorted((low * mean, mean + high * (1 - mean)))
    share = (mean - a) / (b - a) if b > a else 0.0
    evidence = MeanEvidence.build(mean, np.array([a, b]))

    for factors in (evidence.above, evidence.below):
        expected = (1 - share) * np.exp(factors[0]) + share * np.exp(factors[1])
        assert (expected <= 1 + 1e-9).all()


@given(shares=values, mean=means, dispersion=st.sampled_from([1.0, 2.5]))
def test_evidence_from_bins_is_never_above_that_of_the_values_and_little_below(
    shares: list[int], mean: float, dispersion: float
) -> None:
    evidence = MeanEvidence.build(mean, losses.POINTS, dispersion)
    weights = losses.at_edges(*bins(shares))
    x = np.array(shares) / SCALE
    above = np.array([np.log1p(bet / mean * (x - mean)).sum() for bet in BETS]) / dispersion
    below = np.array([np.log1p(bet / (1 - mean) * (mean - x)).sum() for bet in BETS]) / dispersion
    width = 1.5 / losses.BINS

    for told, exact, edge in (
        (evidence.log_above(weights), above, mean),
        (evidence.log_below(weights), below, 1 - mean),
    ):
        found = told[0] / SCALE
        assert (found <= exact + 1e-9).all()
        stake = BETS / edge * width / (1 - BETS)  # the most that a factor changes over a bin
        assert (found >= exact - len(x) / dispersion * (stake**2 + 1e-6)).all()


@given(parts=st.lists(values, min_size=1, max_size=4))
def test_adding_bins_adds_evidence_and_keeps_the_sum_of_values(parts: list[list[int]]) -> None:
    n, total = (np.sum(x, axis=0) for x in zip(*(bins(part) for part in parts), strict=True))
    whole = bins([x for part in parts for x in part])

    assert np.array_equal(n, whole[0])
    assert total.sum() == sum(sum(part) for part in parts)
    assert losses.at_edges(n, total).sum() == pytest.approx(sum(map(len, parts)))
    assert losses.at_edges(n, total)[0] @ losses.POINTS == pytest.approx(total.sum() / SCALE, abs=1e-6)


def test_many_slots_at_once_say_what_each_says_alone() -> None:
    rng = np.random.default_rng(0)
    tables = [bins(rng.integers(0, SCALE, size)) for size in (1, 40, 0, 700)]
    weights = losses.at_edges(*(np.concatenate(part) for part in zip(*tables, strict=True)))
    evidence = MeanEvidence.build(0.4, losses.POINTS)

    for slot in range(len(weights)):
        alone = weights[slot : slot + 1]
        assert np.array_equal(evidence.log_above(weights)[slot], evidence.log_above(alone)[0])
        assert np.array_equal(evidence.log_below(weights)[slot], evidence.log_below(alone)[0])


@given(shares=values)
def test_an_interval_holds_the_mean_and_its_ends_are_what_the_bets_just_reject(shares: list[int]) -> None:
    weights = losses.at_edges(*bins(shares))
    low, high = interval(weights[0], losses.POINTS, 0.05)
    mean = sum(shares) / len(shares) / SCALE

    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    for end, side in ((low, "log_above"), (high, "log_below")):
        if 1e-6 < end < 1 - 1e-6:
            nats = getattr(MeanEvidence.build(end, losses.POINTS), side)(weights)[0] / SCALE
            assert np.logaddexp.reduce(nats) - np.log(len(BETS)) == pytest.approx(np.log(40), abs=1e-4)


def test_no_values_leave_everything_open() -> None:
    assert interval(np.zeros(losses.BINS + 1), losses.POINTS, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(("mean", "dispersion"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.9), (float("nan"), 1.0)])
def test_a_mean_that_cannot_be_tested_is_refused(mean: float, dispersion: float) -> None:
    with pytest.raises(ValueError, match="0 < mean < 1"):
        MeanEvidence.build(mean, losses.POINTS, dispersion)


def test_losses_are_those_of_the_textbook_and_infinite_ones_are_clipped() -> None:
    p, y = np.array([0.0, 0.25, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    share, clipped = losses.within(losses.log_loss(p, y), (0.0, 10.0))

    assert losses.brier(p, y).tolist() == [0, 0.5625, 0, 1, 1]
    assert losses.log_loss(p, y)[:3] == pytest.approx([0, np.log(4), 0])
    assert share[3:].tolist() == [SCALE, SCALE]
    assert clipped.tolist() == [False, False, False, True, True]


def counts(negatives: list[int], positives: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Counts of scores, by bin, int64[1, 64] each."""
    first, second = (np.bincount(part, minlength=losses.BINS).astype(np.int64)[None] for part in (negatives, positives))
    return first, second


scores = st.lists(st.integers(0, 7), min_size=1, max_size=4)


@given(negatives=scores, positives=scores)
def test_auroc_is_the_share_of_pairs_in_order(negatives: list[int], positives: list[int]) -> None:
    said = [1.0 if n < p else 0.5 if n == p else 0.0 for n in negatives for p in positives]

    assert auroc.auroc(*counts(negatives, positives))[0] == pytest.approx(np.mean(said))


@given(negatives=scores, positives=scores, target=st.floats(0.55, 0.95))
def test_evidence_of_pairs_is_never_above_the_average_over_all_pairings(
    negatives: list[int], positives: list[int], target: float
) -> None:
    """The slow obvious version: every way to pair the rarer class with different labels of the other."""
    evidence = MeanEvidence.build(target, auroc.POINTS)
    few, many = sorted((negatives, positives), key=len)
    sign = 1 if few is negatives else -1
    bet = [
        evidence.below[[1 + sign * int(np.sign(b - a)) for a, b in zip(few, order, strict=False)]].sum(axis=0)
        for order in permutations(many, len(few))
    ]
    average = np.log(np.mean(np.exp(bet), axis=0))
    told = evidence.log_below(auroc.pairs(*counts(negatives, positives)))[0] / SCALE

    assert (told <= average + 1e-9).all()


@given(negatives=scores, positives=scores)
def test_pairs_are_as_many_as_the_rarer_class_has(negatives: list[int], positives: list[int]) -> None:
    pairs = auroc.pairs(*counts(negatives, positives))[0]

    assert pairs.sum() == pytest.approx(min(len(negatives), len(positives)))
    assert not auroc.pairs(*counts(negatives, [])).any()
    assert np.isnan(auroc.auroc(*counts([], positives))[0])
