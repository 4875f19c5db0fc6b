"""VERDICTS.md section 5 for the p95 of ECE over endpoints: A11, and failures of endpoints that carry more or less than 5 %."""

import json

import numpy as np
import pytest

from benchmarks.court import Court, Decisions, Floats, Judged, column, decisions, during, make_policy, promise

pytestmark = pytest.mark.statistical

ENDPOINTS, PANES = 20, 720


def court(count: int = ENDPOINTS, pages: float = 1500) -> Court:
    """ECE p95 of at most .05 over 24 h: 51 slots of 10-minute panes, C = 2,682 with the most pages that `check` admits."""
    policy = make_policy(
        promise("decision_ece_p95_24h", "<= 0.05", "24h"),
        endpoint="segment.endpoint",
        labels={"maturity": "1h"},
        false_pages_per_year=min(pages, 1000),
    )
    return Court(policy, tuple(json.dumps([f"e{i:02}"]) for i in range(count)))


def judged(of: Court, seen: Decisions) -> Judged:
    """Judge decisions whose labels come ten minutes later."""
    return of.judge(len(seen.n), seen.made(), seen.joined(1))


def errors(bad: int, inside: float, outside: float, stretch: tuple[int, int], panes: int = PANES) -> Floats:
    """Errors float64[T, 20]: the first `bad` endpoints fail inside a stretch."""
    return np.where(np.arange(ENDPOINTS) < bad, during(panes, *stretch, inside, outside), outside)


@pytest.mark.parametrize("error", [0.0, 0.05])
@pytest.mark.parametrize("volume", [1, 30])
def test_a11_endpoints_at_the_target_page_within_the_bound(error: float, volume: int) -> None:
    """A11: a false breach needs a false rejection, so E[pages] <= starts / C for any number of endpoints and labels.

    20 endpoints, 5 days, 144 or 4,320 labels a day each, C = 2,682. Measured: 0 pages at ECE 0; 1 and 2 at .05, bound 5.4.
    """
    of = court()
    found = judged(of, decisions(np.random.default_rng(21), volume, error, (PANES, ENDPOINTS)))

    assert len(found.pages) <= of.most_pages(ENDPOINTS * PANES)
    assert error > 0 or not found.pages


@pytest.mark.parametrize("error", [0.0, 0.05])
def test_one_endpoint_at_the_target_pages_within_the_bound(error: float) -> None:
    """Law: the bound holds for one endpoint too, where a binomial over endpoints could never reject. Measured: 1 page at .05, bound 1.1."""
    pages, of = 0, court(1)
    for seed in range(4):
        pages += len(judged(of, decisions(np.random.default_rng(seed), 50, error, (PANES, 1))).pages)

    assert pages <= of.most_pages(4 * PANES)


def test_one_endpoint_that_fails_pages_once_and_is_released() -> None:
    """Law: with one endpoint its ECE is the p95. .15 for a day after two good ones, 50 labels in ten minutes, C = 2.7e6.

    Measured: page after 5.8 h; release 10.5 h after the end at the earliest, median 12.8 h.
    """
    delays, over = [], []
    for seed in range(4):
        of = court(1, pages=1)
        seen = decisions(np.random.default_rng(seed), 50, during(PANES, 288, 432, 0.15, 0.0), (PANES, 1))
        found = judged(of, seen)
        assert [scope for scope, _ in found.pages] == ["endpoint=e00"]
        assert len(found.engaged()) == len(found.released()) == 1
        delays.append((found.pages[0][1] - 288 + 1) / 6)
        over.append((found.released()[0] - 432 + 1) / 6)

    assert np.median(delays) <= 6
    assert min(over) > 0
    assert np.median(over) <= 31


def test_two_endpoints_in_twenty_page_by_name_and_are_released() -> None:
    """Law: a tenth of the decisions breaks the p95; controls are for the two endpoints, and the others stay served.

    Measured: .15 for a day at 30 labels in ten minutes: 5 and 8.3 h; release 16 and 24 h after the end.
    """
    of = court(pages=1)
    seen = decisions(np.random.default_rng(22), 30, errors(2, 0.15, 0.01, (288, 432)), (PANES, ENDPOINTS))
    found = judged(of, seen)
    delays = [(pane - 288 + 1) / 6 for _, pane in found.pages]
    over = [(pane - 432 + 1) / 6 for pane in found.released()]

    assert sorted(scope for scope, _ in found.pages) == ["endpoint=e00", "endpoint=e01"]
    assert max(delays) <= 12
    assert len(over) == 2
    assert min(over) > 0


def test_an_endpoint_within_the_five_percent_does_not_page_however_bad() -> None:
    """Law: an endpoint with 2 % of the decisions and ECE .3 is rejected and breaks nothing: the 95 of p95 allows it."""
    volume = np.where(np.arange(ENDPOINTS) == 0, 12.0, 30.0)[None]
    of = court(pages=1)
    found = judged(
        of, decisions(np.random.default_rng(23), volume, errors(1, 0.3, 0.01, (288, PANES)), (PANES, ENDPOINTS))
    )
    worst = {e["scope"]["slice"]: e["value"] for e in found.verdicts[-1].evidence["endpoints"]}

    assert not found.controls
    assert worst["endpoint=e00"] > 0.25


def test_a_plug_in_p95_of_hours_would_breach_every_day() -> None:
    """Trap of notes/detectors.md 0.5: the largest of noisy hourly ECE. Here a calibrated model is `met` from 2,000 labels."""
    of = court(1)
    found = judged(of, decisions(np.random.default_rng(24), column(np.full(PANES, 30.0)), 0.0, (PANES, 1)))

    assert not found.controls
    assert found.states(150) == {"met"}
