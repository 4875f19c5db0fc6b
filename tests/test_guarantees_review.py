"""The promise of review thresholds: what stays automatic has more errors than the rate with probability delta at most."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.court import Court, Decisions, Floats, decisions, during, make_policy, promise
from interlock.detectors.ece import groups_equal_width
from interlock.detectors.review import Promise, Sides

pytestmark = pytest.mark.statistical

ORDER = Sides().order(groups_equal_width())
DELTA, RATE = 0.05, 0.1


def broken(rng: np.random.Generator, truth: Floats, per_group: int, trials: int) -> int:
    """In how many of the trials the range that passed has more errors than RATE, labels spread evenly over groups."""
    n = np.full(15, per_group)
    found = 0
    for wrong in rng.binomial(n, truth, (trials, 15)):
        passed = list(Promise(RATE, DELTA).automatic(n, wrong, ORDER))
        found += bool(passed) and truth[passed].mean() > RATE
    return found


@pytest.mark.parametrize("per_group", [20, 100, 400])
@pytest.mark.parametrize("shape", ["at the rate", "a step above it", "rising"])
def test_no_error_curve_breaks_the_promise_more_often_than_delta(shape: str, per_group: int) -> None:
    """Law: P(error rate of the automatic range > rate) <= delta for whatever curve, also where every prefix is false.

    Measured in 2,000 trials each: at most 4.5 % (20 labels a group, all just above the rate).
    """
    place = np.empty(15)
    place[ORDER] = np.arange(15)
    curves = {
        "at the rate": np.full(15, RATE * 1.0001),
        "a step above it": np.where(place < 5, 0.05, 0.3),
        "rising": 0.02 + 0.02 * place,
    }
    trials = 2000

    assert broken(np.random.default_rng(7), curves[shape], per_group, trials) <= binom.ppf(0.999, trials, DELTA)


def test_enough_labels_open_all_that_is_good() -> None:
    """Power: groups with 2 % errors pass at a rate of 10 % with 400 labels each; the next one never does."""
    place = np.empty(15)
    place[ORDER] = np.arange(15)
    wrong = np.random.default_rng(3).binomial(400, np.where(place < 8, 0.02, 0.98), (200, 15))
    sizes = [len(Promise(RATE, DELTA).automatic(np.full(15, 400), one, ORDER)) for one in wrong]

    assert min(sizes) == 8
    assert max(sizes) <= 8


def test_ranges_frozen_by_a_breach_keep_the_promise_on_what_comes_after() -> None:
    """Law: the stretch that engages is chosen by the data, and what its labels prove still holds for the labels after it.

    Decisions too sure by .12; 24 streams, rate .36. Measured: 0 broken, 23 with a range that is not empty.
    """
    bad, opened, panes = 0, 0, 200
    for seed in range(24):
        review = {"error_rate": 0.36}
        of = Court(
            make_policy(
                promise("decision_ece_24h", "<= 0.05", "24h"),
                labels={"maturity": "1h"},
                review=review,
                false_pages_per_year=30,
            )
        )
        seen: Decisions = decisions(np.random.default_rng(seed), 60, during(panes, 40, panes, 0.12, 0.0), (panes, 1))
        found = of.judge(panes, seen.made(), seen.joined(1))
        ranges = found.controls[0].parameters["automatic"]
        scores = np.array([p for p in (np.arange(34, 59) + 0.5) / 64 if any(a <= p < b for a, b in ranges)])
        opened += len(scores) > 0
        bad += len(scores) > 0 and (1 - (scores - 0.12)).mean() > 0.36

    assert opened > 12
    assert bad <= binom.ppf(0.999, 24, DELTA)
