"""VERDICTS.md section 5 for rates judged by arrival: pages on null streams within the bound, real failures found and ended.

The policy accepts 100 false pages a year over 31 slots (30 tenants and `(other)`): C = 2,717, near the least that `check`
admits for hourly panes and a 7-day window (1,680), so that the bound is several pages and can be told from none.
"""

import numpy as np
import pytest

from benchmarks.court import WEEK, Court, Floats, Ints, Judged, during, make_policy, promise, rates, tenants
from interlock.detectors.dispersion import proportion_dispersion

pytestmark = pytest.mark.statistical

SLICES, PANES, TARGET = 30, 900, 0.05


def court(**more: object) -> Court:
    """An OOD rate of at most .05 per tenant over 7 days."""
    slo = promise("ood_rate_7d", f"<= {TARGET}", "7d", **more)
    return Court(make_policy(slo, SLICES, false_pages_per_year=100), tenants(SLICES))


def independent(
    seed: int, rate: float | Floats, volume: float | Floats = 20.0, panes: int = PANES
) -> tuple[Ints, Ints]:
    """Events and flags int64[T, S]: Poisson volumes, independent flags."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(np.broadcast_to(volume, (panes, SLICES)))
    return n, rng.binomial(n, np.broadcast_to(rate, n.shape))


def clustered(seed: int, size: int) -> tuple[Ints, Ints]:
    """The same in clusters of geometric size, flagged or not as one."""
    rng = np.random.default_rng(seed)
    clusters = rng.poisson(20 / size, (PANES, SLICES))
    flagged = rng.binomial(clusters, TARGET)
    hits, rest = (
        k + rng.negative_binomial(np.maximum(k, 1), 1 / size) * (k > 0) for k in (flagged, clusters - flagged)
    )
    return hits + rest, hits


def within_bound(judged: Judged, of: Court, n: Ints) -> bool:
    """Whether the pages of a null stream keep the bound starts / C."""
    return len(judged.pages) <= of.most_pages(int((n > 0).sum()))


def test_independent_events_at_the_target_page_within_the_bound() -> None:
    """Law: E[pages] <= starts / C. Measured: 5 pages in 30 x 37 days; bound 9.9."""
    of, (n, hits) = court(), independent(1, TARGET)
    judged = of.judge(PANES, rates(n, hits))

    assert within_bound(judged, of, n)
    assert len(judged.verdicts) > SLICES * PANES // 7


@pytest.mark.parametrize("size", [2, 5])
def test_clusters_page_within_the_bound_once_their_dispersion_is_known(size: int) -> None:
    """Law: counts divided by phi, here estimated from a week (truth 2 size - 1), keep the bound of 9.9 but for chance.

    Measured: 12 pages for size 2 (phi read as 2.82) and 6 for size 5: phi is a heuristic outside the proof.
    """
    n, hits = clustered(2, size)
    phi = proportion_dispersion(hits[:WEEK].ravel(), n[:WEEK].ravel())
    of = court(dispersion=phi)
    judged = of.judge(PANES, rates(n, hits))

    assert abs(phi - (2 * size - 1)) < 0.15 * (2 * size - 1)
    assert within_bound(judged, of, n)


@pytest.mark.parametrize("size", [2, 5])
def test_clusters_without_dispersion_are_outside_the_null(size: int) -> None:
    """Pinned: events that hang together are no independent evidence. All tenants page in 20 days."""
    of, (n, hits) = court(), clustered(2, size)
    n[480:] = hits[480:] = 0
    judged = of.judge(480, rates(n, hits))

    assert np.isfinite(judged.first(of.scopes)).mean() > 0.5


def test_daily_rhythm_of_traffic_keeps_the_bound_and_of_the_rate_does_not() -> None:
    """Law: volume may vary as it likes. Pinned: a rate of .09 by day and .01 by night pages, although it averages .05.

    Every stretch inside the window must keep the target, not the average (VERDICTS.md section 2). Measured: 2 pages of a bound of 9.9, and 92.
    """
    of, wave = court(), np.sin(np.arange(PANES) * 2 * np.pi / 24)[:, None]
    n, hits = independent(3, TARGET, 20 * (1 + 0.9 * wave))
    judged = of.judge(PANES, rates(n, hits))
    by_day = of.judge(PANES, rates(*independent(4, np.where(wave > 0, 0.09, 0.01))))

    assert within_bound(judged, of, n)
    assert np.isfinite(by_day.first(of.scopes)).mean() > 0.8


def test_a_ramp_at_launch_keeps_the_bound() -> None:
    """Law: volume may grow from 1 to 200 an hour over 37 days at the target. Measured: 1 page, bound 9.5."""
    of, volume = court(), np.geomspace(1, 200, PANES)[:, None]
    n, hits = independent(5, TARGET, volume)
    judged = of.judge(PANES, rates(n, hits))

    assert within_bound(judged, of, n)


def test_one_bad_hour_in_six_pages_a_few_times_in_90_days() -> None:
    """Law: re-engagements within 24 h update the incident and double the hold, up to a day, so that flapping ends.

    100 events an hour; .2 flagged in every sixth hour and .005 in the others, .0375 on average; 10 streams. Measured: each
    pages once and engages 5.4 times in 90 days, then stays engaged (VERDICTS.md: 240 pages without the rule).
    """
    of = court()
    rate = np.where(np.arange(2160) % 6 == 0, 0.2, 0.005)[:, None]
    n, hits = (table * (np.arange(SLICES) < 10) for table in independent(6, rate, 100, panes=2160))
    judged = of.judge(2160, rates(n, hits))
    pages = np.unique([scope for scope, _ in judged.pages], return_counts=True)[1]

    assert len(pages) == 10
    assert pages.max() <= 3
    assert len(judged.engaged()) <= 10 * 10


def test_a_steady_failure_pages_once_and_is_not_released() -> None:
    """Law: the mirrored detector does not flap (`M below C for a day` releases 28 to 38 times). Rate .08 for 21 days."""
    of = court()
    judged = of.judge(500, rates(*independent(7, 0.08, panes=500)))

    assert len(judged.pages) == SLICES
    assert not judged.released()


@pytest.mark.parametrize(("rate", "delay", "release"), [(0.1, 30, 48), (0.25, 4, 48), (0.5, 2, 48)])
def test_a_failure_of_four_days_pages_once_and_is_released_after_it(rate: float, delay: int, release: int) -> None:
    """Law: one page per slice, soon; release after the end and not before. Rate .02 otherwise; 20 events an hour.

    Measured, median and p95: .10 20 and 43 h, .25 2 and 5 h, .50 1 and 2 h; release 19 to 59 h after the end, median 32: at
    .02 against .05 an hour brings .3 nats of 9 (VERDICTS.md has 3 to 31 h, for busier streams).
    """
    of, start, end = court(), 400, 496
    judged = of.judge(900, rates(*independent(8, during(900, start, end, rate, 0.02), panes=900)))
    found = judged.first(of.scopes) - start + 1
    over = np.array(judged.released()) - end + 1

    assert len(judged.pages) == len(judged.engaged()) == len(judged.released()) == SLICES
    assert np.median(found) <= delay
    assert over.min() >= 1
    assert np.median(over) <= release


def test_half_of_a_busy_stream_out_of_distribution_pages_within_a_minute() -> None:
    """VERDICTS.md section 5, for scale: a 10-minute window, 2.5 events a second, rate 50 % against a target of .05.

    Panes of 5 s, one page a year, 20 seeds. Measured: median 10 s, at most 15 s.
    """
    delays = []
    for seed in range(20):
        of = Court(make_policy(promise("ood_rate_10m", "<= 0.05", "10m")))
        rng = np.random.default_rng(seed)
        n = rng.poisson(12.5, (200, 1))
        judged = of.judge(200, rates(n, rng.binomial(n, during(200, 120, 200, 0.5, 0.02))))
        assert len(judged.pages) == 1
        delays.append((judged.pages[0][1] - 120 + 1) * judged.pane_ms / 1000)

    assert max(delays) <= 60


@pytest.mark.parametrize("indicator", ["ood_rate", "unseen_rate"])
def test_both_rates_are_judged_alike(indicator: str) -> None:
    """Law: `unseen_rate` has the same counts and the same test; only what it counts differs. 30 % instead of 2 % at 120 an hour: 3 panes."""
    of = Court(make_policy(promise(f"{indicator}_24h", "<= 0.05", "24h")))
    rng = np.random.default_rng(9)
    n = rng.poisson(20, (500, 1))
    judged = of.judge(500, rates(n, rng.binomial(n, during(500, 300, 400, 0.3, 0.02))))

    assert len(judged.pages) == len(judged.released()) == 1
    assert 300 <= judged.pages[0][1] <= 303
