"""VERDICTS.md section 5: the streams of test_guarantees_rates with a real failure that starts and ends."""

import numpy as np
import pytest

from benchmarks.court import WEEK, Court, Floats, Ints, Judged, during, make_policy, promise, rates, tenants
from interlock.detectors.dispersion import proportion_dispersion

pytestmark = pytest.mark.statistical

SLICES, PANES, START, END = 8, 700, 300, 396
GOOD, BAD = 0.02, 0.25


def court(**more: object) -> Court:
    """An OOD rate of at most .05 per tenant over 7 days, one false page a year for all: C = 78,894."""
    return Court(make_policy(promise("ood_rate_7d", "<= 0.05", "7d", **more), SLICES), tenants(SLICES))


def found_and_ended(judged: Judged, of: Court, within: int) -> None:
    """Check one page per tenant, its median delay in hours, nothing before, and a release after the end of each."""
    first = judged.first(of.scopes)

    assert len(judged.pages) == SLICES
    assert first.min() >= START
    assert np.median(first) - START + 1 <= within
    assert len(judged.released()) == SLICES
    assert min(judged.released()) >= END


def failing() -> Floats:
    """A rate of .25 for four days, .02 else."""
    return during(PANES, START, END, BAD, GOOD)


@pytest.mark.parametrize(("size", "within"), [(2, 12), (5, 30)])
def test_clusters_that_fail_for_four_days_page_once_and_are_released(size: int, within: int) -> None:
    """Clusters of geometric size, flagged or not as one; phi is learned from the first week."""
    rng = np.random.default_rng(40 + size)
    clusters = rng.poisson(20 / size, (PANES, SLICES))
    flagged = rng.binomial(clusters, failing())
    hits, rest = grown(rng, flagged, size), grown(rng, clusters - flagged, size)
    n = hits + rest
    of = court(dispersion=proportion_dispersion(hits[:WEEK].ravel(), n[:WEEK].ravel()))

    found_and_ended(of.judge(PANES, rates(n, hits)), of, within)


def grown(rng: np.random.Generator, clusters: Ints, size: int) -> Ints:
    """Return the events of so many clusters of geometric size."""
    return clusters + rng.negative_binomial(np.maximum(clusters, 1), 1 / size) * (clusters > 0)


def test_a_failure_under_a_daily_rhythm_of_traffic_pages_once_and_is_released() -> None:
    """20 events an hour in the mean, between 2 and 38."""
    rng, of = np.random.default_rng(50), court()
    wave = 1 + 0.9 * np.sin(np.arange(PANES) * 2 * np.pi / 24)[:, None]
    n = rng.poisson(np.broadcast_to(20 * wave, (PANES, SLICES)))

    found_and_ended(of.judge(PANES, rates(n, rng.binomial(n, failing()))), of, 12)


def test_a_failure_during_the_ramp_at_launch_pages_once_and_is_released() -> None:
    """Traffic grows from 1 to 200 events an hour over the stream; the failure comes at about ten."""
    rng, of = np.random.default_rng(51), court()
    n = rng.poisson(np.broadcast_to(np.geomspace(1, 200, PANES)[:, None], (PANES, SLICES)))

    found_and_ended(of.judge(PANES, rates(n, rng.binomial(n, failing()))), of, 12)


def test_a_failure_of_a_slice_that_appeared_late_pages_and_is_released() -> None:
    """The slices are new a day before they fail."""
    rng, of = np.random.default_rng(52), court()
    n = rng.poisson(20, (PANES, SLICES)) * (np.arange(PANES) >= START - 24)[:, None]

    found_and_ended(of.judge(PANES, rates(n, rng.binomial(n, failing()))), of, 8)
