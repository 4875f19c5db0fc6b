"""Rates of reports keep the budget of false pages at the boundary, with what is held back, and find a real failure.

The policy accepts 5 false pages a year of each of 16 slots (15 tenants and `(other)`): C = 1,753, as in the other
tests of guarantees.
"""

import numpy as np
import pytest

from benchmarks.court import FIRST_DAY, Court, Floats, Ints, Judged, during, make_policy, promise, rows, tenants
from interlock.detectors.event_rate import EventRateEvidence, garwood, proves_at_most
from interlock.detectors.fixed import SCALE
from interlock.policies.plan import HIT, N
from interlock.policies.planning import make_plan
from interlock.streams.clock import BEGINNING
from interlock.streams.judge import Judge
from interlock.streams.tally import NO_COHORT, PANE, TallyRecord

pytestmark = pytest.mark.statistical

SLICES, PANES, EACH = 15, 600, 400
DAY = 86_400_000


def court() -> Court:
    """Five reports per thousand predictions and tenant, over 7 days."""
    slo = promise("abuse_rate_7d", "<= 5", "7d")
    return Court(make_policy(slo, SLICES, false_pages_per_year=5.0 * (SLICES + 1)), tenants(SLICES))


def judged(of: Court, n: Ints, reports: Ints) -> Judged:
    """Judge predictions and reports, int64[T, S] each."""
    plan = make_plan(of.policy)
    judge, start = Judge(plan, of.learned, 1), FIRST_DAY * DAY // of.thresholds.pane_ms
    pane, piece = np.arange(PANES)[:, None], np.arange(SLICES)[None]
    said = []
    for chain, cell, counts in (("predictions", N, n), ("abuse", HIT, reports)):
        table = rows(pane, piece, cell, counts, cohort=NO_COHORT)
        table[PANE] += start
        table[2] = plan.of_slo[0][0]
        record = TallyRecord(0, chain, BEGINNING, start + PANES - 1, table, (("m", ""),), of.names)
        said += judge.apply([record])
    return Judged([v for s in said for v in s.verdicts], [c for s in said for c in s.controls], plan.tick)


def counts(seed: int, per_thousand: float | Floats) -> tuple[Ints, Ints]:
    """Predictions of a pane, and those that are reported."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(EACH, (PANES, SLICES))
    return n, rng.binomial(n, np.broadcast_to(np.asarray(per_thousand) / 1000, n.shape))


def test_at_the_boundary_pages_stay_within_the_bound() -> None:
    """E[pages] <= starts / C = 5.1. Measured over seeds 0, 1 and 2: 1, 4 and 3."""
    of = court()
    pages = [len(judged(of, *counts(seed, 5.0)).pages) for seed in (0, 1, 2)]

    assert max(pages) <= of.most_pages(SLICES * PANES)
    assert sum(pages) > 0


def test_a_real_failure_pages_everywhere_and_is_released_after_its_end() -> None:
    of, start, end = court(), 200, 300
    found = judged(of, *counts(5, during(PANES, start, end, 12.0, 2.5)))
    first = found.first(of.scopes)

    assert np.isfinite(first).all()
    assert (first >= start).all()
    assert np.median(first) - start <= 24
    assert len(found.released()) >= SLICES
    assert min(found.released()) > start


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("n", [1, 40, 1000])
def test_evidence_is_an_e_value_by_exact_sum(rate: float, n: int) -> None:
    """Each of n predictions is reported or not; at the target no factor has an expectation above 1."""
    k = np.arange(n + 1)
    evidence = EventRateEvidence.build(rate)
    log_p = np.cumsum([0.0, *np.log((n - k[:-1]) / (k[:-1] + 1))]) + k * np.log(rate) + (n - k) * np.log1p(-rate)
    exposure = np.full(n + 1, n)

    for told in (evidence.log_bad(k, exposure), evidence.log_good(k, exposure)):
        assert (np.exp(told / SCALE + log_p[:, None]).sum(axis=0) <= 1 + 1e-9).all()


def test_intervals_of_garwood_are_those_of_the_tables_and_agree_with_the_proof() -> None:
    """Exact limits of a Poisson mean at 95 %: of 0: (0, 3.689), of 5: (1.623, 11.668), of 10: (4.795, 18.39)."""
    low, high = garwood(np.array([0, 5, 10]), np.ones(3, np.int64), 0.05)

    assert low == pytest.approx([0, 1.623, 4.795], abs=1e-3)
    assert high == pytest.approx([3.689, 11.668, 18.390], abs=1e-3)
    n, k = np.full(3, 1000), np.array([0, 5, 10])
    upper = garwood(k, n, 0.05)[1]
    assert proves_at_most(k, n, float(upper[1]) + 1e-9, 0.05).tolist() == [True, True, False]
    assert garwood(np.zeros(1, np.int64), np.zeros(1, np.int64), 0.05)[1][0] == np.inf
