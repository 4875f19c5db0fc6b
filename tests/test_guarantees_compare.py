"""VERDICTS.md section 5 for comparisons and panes: pages at the boundary within the bound, shared shifts no news, failures found.

The policy accepts 5 false pages a year of each of 16 slots: C = 1,753, near the least that `check` admits (1,680).
"""

import numpy as np
import pytest

from benchmarks.court import Court, Floats, Ints, during, make_policy, promise, rates, tenants

pytestmark = pytest.mark.statistical

SLICES, PANES, LIMIT = 15, 500, 0.02


def court(target: str = f"<= {LIMIT}", **more: object) -> Court:
    """An OOD rate per tenant over 7 days."""
    slo = promise("ood_rate_7d", target, "7d", **more)
    return Court(make_policy(slo, SLICES, false_pages_per_year=5.0 * (SLICES + 1)), tenants(SLICES))


def compared() -> Court:
    return court(compare={"variant": "canary", "to": "baseline"})


def arms(seed: int, base: float | Floats, excess: float | Floats, volume: float | Floats = 20.0) -> Ints:
    """A canary that fails by `excess` more than a baseline with nine times its traffic; all broadcast to (T, S)."""
    rng, tables = np.random.default_rng(seed), []
    for arm, (share, more) in enumerate(((1.0, excess), (9.0, 0.0))):
        n = rng.poisson(np.broadcast_to(np.asarray(volume) * share, (PANES, SLICES)))
        tables.append(rates(n, rng.binomial(n, np.broadcast_to(base + np.asarray(more), n.shape))))
        tables[-1][2] = arm
    return np.concatenate(tables, axis=1)


def shift(shape: str) -> tuple[float | Floats, float | Floats]:
    """Levels that both variants share, and volumes."""
    hour = np.arange(PANES)
    if shape == "steady":
        return 0.05, 20.0
    if shape == "diurnal":
        return (0.2 + 0.15 * np.sin(hour / 24 * 2 * np.pi))[:, None], (20 + 15 * np.cos(hour / 24 * 2 * np.pi))[:, None]
    return during(PANES, 150, 300, 0.6, 0.03), 20.0


@pytest.mark.parametrize("shape", ["steady", "diurnal", "both break at once"])
def test_a_difference_at_the_limit_pages_within_the_bound_whatever_both_share(shape: str) -> None:
    """E[pages] <= starts / C = 4.3, so at most 13 but once in ten thousand runs."""
    of, (base, volume) = compared(), shift(shape)
    judged = of.judge(PANES, arms(3, base, LIMIT, volume))

    assert len(judged.pages) <= of.most_pages(SLICES * PANES)


def test_a_shift_of_both_variants_alone_pages_nowhere() -> None:
    judged = compared().judge(PANES, arms(4, shift("both break at once")[0], 0.0))

    assert judged.pages == []


def test_a_canary_that_fails_pages_in_every_slice_and_is_released_after_its_end() -> None:
    start, end = 150, 250
    judged = compared().judge(PANES, arms(5, 0.1, during(PANES, start, end, 0.25, -0.05)))
    first = judged.first([f"{scope},canary" for scope in compared().scopes])

    assert (first >= start).all()
    assert np.median(first) - start <= 24
    assert len(judged.released()) >= SLICES
    assert min(judged.released()) > start


@pytest.mark.parametrize("size", [5, 40])
def test_clusters_of_unknown_size_page_by_panes_within_the_bound(size: int) -> None:
    """Events that are flagged or not in whole clusters of geometric size: no dispersion is given."""
    rng = np.random.default_rng(size)
    clusters = 1 + rng.poisson(40 / size, (PANES, SLICES))
    flagged = rng.binomial(clusters, 0.05)
    hits = flagged * size
    of = court("<= 0.05", evidence="per_pane")
    judged = of.judge(PANES, rates(clusters * size, hits))
    plain = court("<= 0.05").judge(PANES, rates(clusters * size, hits))

    assert len(judged.pages) <= of.most_pages(SLICES * PANES)
    assert len(plain.pages) > of.most_pages(SLICES * PANES)


def test_a_failure_is_found_by_panes_and_released_after_its_end() -> None:
    rng = np.random.default_rng(9)
    n = rng.poisson(40, (PANES, SLICES))
    hits = rng.binomial(n, np.broadcast_to(during(PANES, 150, 250, 0.3, 0.01), n.shape))
    of = court("<= 0.05", evidence="per_pane")
    judged = of.judge(PANES, rates(n, hits))
    first = judged.first(of.scopes)

    assert (first >= 150).all()
    assert np.median(first) - 150 <= 24
    assert min(judged.released()) > 150
