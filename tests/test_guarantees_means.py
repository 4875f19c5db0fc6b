"""Means and AUROC keep the budget of false pages at the boundary, find a real failure, and their intervals cover.

The policy accepts 5 false pages a year of each of 16 slots (15 tenants and `(other)`): C = 1,753, near the least that
`check` admits for hourly panes and a 7-day window (1,680), so that the bound is several pages and can be told from none.
"""

import numpy as np
import pytest

from benchmarks.court import Court, Floats, Ints, during, make_policy, promise, rows, tenants
from interlock.detectors import auroc, losses
from interlock.detectors.bounded_mean import interval
from interlock.detectors.fixed import SCALE
from interlock.policies.plan import BINS_FROM, DUE, FOUND

pytestmark = pytest.mark.statistical

SLICES, PANES, EACH = 15, 500, 30


def court(name: str, target: str, **more: object) -> Court:
    """One mean per tenant over 7 days."""
    policy = make_policy(
        promise(f"{name}_7d", target, "7d", **more),
        SLICES,
        false_pages_per_year=5.0 * (SLICES + 1),
        labels={"maturity": "2h", "join_ttl": "30d"},
    )
    return Court(policy, tenants(SLICES))


def binned(values: Floats, *, labelled: bool) -> tuple[Ints, Ints]:
    """Rows of predictions and of labels that come an hour later: values float64[T, S, n] in [0, 1]."""
    share, _ = losses.within(values, (0.0, 1.0))
    pane, piece = (np.arange(size).reshape(shape) for size, shape in ((PANES, (-1, 1, 1)), (SLICES, (1, -1, 1))))
    cell = BINS_FROM + 2 * losses.loss_bin(share)
    late, cohort = (pane + 1, pane) if labelled else (pane, -1)
    counted = [rows(late, piece, cell + place, what, cohort=cohort) for place, what in ((0, 1 + 0 * share), (1, share))]
    return _with_labels(counted, values, labelled=labelled)


def _with_labels(counted: list[Ints], values: Floats, *, labelled: bool) -> tuple[Ints, Ints]:
    table = np.concatenate(counted, axis=1)
    if not labelled:
        return table, np.zeros((7, 0), np.int64)
    n = np.full(values.shape[:2], values.shape[2])
    pane, piece = np.arange(PANES)[:, None], np.arange(SLICES)[None]
    found = rows(pane + 1, piece, FOUND, n, cohort=pane)
    return rows(pane, piece, DUE, n), np.concatenate([table, found], axis=1)


def scored(seed: int, gap: Floats) -> tuple[Ints, Ints]:
    """Rows of scores by label: positives are normal around `gap` (T, 1), the negatives around 0, squeezed into [0, 1]."""
    rng = np.random.default_rng(seed)
    y = rng.random((PANES, SLICES, EACH)) < 0.3
    score = 1 / (1 + np.exp(-rng.normal(gap[..., None] * y, 1.0)))
    cell = BINS_FROM + 2 * auroc.score_bin(np.rint(score * SCALE).astype(np.int64))
    pane, piece = np.arange(PANES)[:, None, None], np.arange(SLICES)[None, :, None]
    counted = [rows(pane + 1, piece, cell + place, what, cohort=pane) for place, what in ((0, 1 + 0 * y), (1, 1 * y))]
    return _with_labels(counted, score, labelled=True)


SHAPES = {"two ends": (0.02, 0.18), "narrow": (40.0, 360.0), "skew": (0.5, 4.5)}
"""Beta distributions of mean 0.1: nearly all at 0 or 1, all near 0.1, and in between."""


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_at_the_boundary_a_loss_keeps_the_bound_whatever_its_distribution(shape: str) -> None:
    """E[pages] <= starts / C = 4.3. Measured over seeds 0 and 1: two ends 1 and 1, narrow 1 and 0, skew 3 and 1."""
    of = court("brier", "<= 0.1")
    pages = []
    for seed in (0, 1):
        values = np.random.default_rng(seed).beta(*SHAPES[shape], (PANES, SLICES, EACH))
        pages.append(len(of.judge(PANES, *binned(values, labelled=True)).pages))

    assert max(pages) <= of.most_pages(SLICES * PANES)
    assert sum(pages) > 0


@pytest.mark.parametrize("target", ["<= 0.5", ">= 0.5"])
def test_at_the_boundary_a_mean_of_a_field_keeps_the_bound_in_both_directions(target: str) -> None:
    of = court("mean", target, field="score", range=[0, 1])
    values = np.random.default_rng(2).beta(0.5, 0.5, (PANES, SLICES, EACH))

    assert len(of.judge(PANES, *binned(values, labelled=False)).pages) <= of.most_pages(SLICES * PANES)


def test_at_the_boundary_an_auroc_keeps_the_bound() -> None:
    """P(normal(g) > normal(0)) = 0.8 at g = 1.190; measured: 0 and 0 pages, of 4.3 that the bound allows."""
    of = court("auroc", ">= 0.8")

    for seed in (0, 1):
        judged = of.judge(PANES, *scored(seed, np.full((PANES, 1), 1.190)))
        assert len(judged.pages) <= of.most_pages(SLICES * PANES)


def test_a_real_failure_of_a_loss_pages_everywhere_and_is_released_after_its_end() -> None:
    """A Brier score of .16 where .1 is promised, of 30 labels an hour; measured: after 6 h in the median."""
    of, start, end = court("brier", "<= 0.1"), 200, 300
    mean = during(PANES, start, end, 0.16, 0.07)[..., None]
    values = np.random.default_rng(3).beta(2 * mean, 2 * (1 - mean), (PANES, SLICES, EACH))
    judged = of.judge(PANES, *binned(values, labelled=True))
    first = judged.first(of.scopes)

    assert np.isfinite(first).all()
    assert (first >= start).all()
    assert np.median(first) - start <= 24
    assert len(judged.released()) >= SLICES
    assert min(judged.released()) > start


def test_a_real_failure_of_the_auroc_pages_everywhere_and_is_released_after_its_end() -> None:
    """From .89 to .64 where .8 is promised, of 9 positives an hour; measured: after 12 h in the median."""
    of, start, end = court("auroc", ">= 0.8"), 200, 300
    judged = of.judge(PANES, *scored(4, during(PANES, start, end, 0.5, 1.75)))
    first = judged.first(of.scopes)

    assert np.isfinite(first).all()
    assert (first >= start).all()
    assert np.median(first) - start <= 48
    assert len(judged.released()) >= SLICES


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("n", [50, 2000])
def test_intervals_of_a_mean_cover_at_least_as_stated(shape: str, n: int) -> None:
    """400 samples: fewer than 95 % covered, less four standard errors, is refused."""
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(400):
        share, _ = losses.within(rng.beta(*SHAPES[shape], n), (0.0, 1.0))
        count, total = np.zeros((2, 1, losses.BINS), np.int64)
        np.add.at(count[0], losses.loss_bin(share), 1)
        np.add.at(total[0], losses.loss_bin(share), share)
        low, high = interval(losses.at_edges(count, total)[0], losses.POINTS, 0.05)
        covered += low <= 0.1 <= high

    assert covered >= 400 * 0.95 - 4 * np.sqrt(400 * 0.95 * 0.05)


def test_intervals_of_an_auroc_cover_at_least_as_stated() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        score = [1 / (1 + np.exp(-rng.normal(mean, 1, size))) for mean, size in ((0.0, 300), (1.190, 60))]
        counts = [np.bincount(auroc.score_bin(np.rint(s * SCALE).astype(np.int64)), minlength=64)[None] for s in score]
        low, high = interval(auroc.pairs(*counts)[0], auroc.POINTS, 0.05)
        covered += low <= 0.8 <= high

    assert covered >= 300 * 0.95 - 4 * np.sqrt(300 * 0.95 * 0.05)
