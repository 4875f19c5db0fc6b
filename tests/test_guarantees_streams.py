"""VERDICTS.md section 5, streams whose shape is the difficulty: silence, slices that come and go, junk names, never-events."""

import json

import numpy as np
import pytest

from benchmarks.court import WEEK, Court, Ints, Judged, during, make_policy, promise, rates, rows, tenants
from interlock.policies.plan import DECIDED, HIT, VIOLATION, N

pytestmark = pytest.mark.statistical

CAP, PANES = 20, 600


def court(names: tuple[str, ...], pages: float = 100.0) -> Court:
    """An OOD rate of at most .05 per tenant over 7 days, 20 slots and `(other)`; C = 1,841."""
    slo = promise("ood_rate_7d", "<= 0.05", "7d")
    return Court(make_policy(slo, CAP, false_pages_per_year=pages), names)


def scopes_at_once(judged: Judged) -> int:
    """The most scopes that were judged in one pane."""
    panes = [judged.pane(v) for v in judged.verdicts]
    return int(np.unique(panes, return_counts=True)[1].max())


def test_slices_that_appear_and_vanish_page_within_the_bound() -> None:
    """Law: 60 tenants live for ten days each, 20 events an hour at the target; a freed slot carries nothing over. 2 pages, bound 7.8."""
    names = tenants(60)
    rng, pane = np.random.default_rng(31), np.arange(1400)[:, None]
    born = np.arange(60)[None] * 20
    n = rng.poisson(20, (1400, 60)) * ((pane >= born) & (pane < born + 240))
    of = court(names)
    judged = of.judge(1400, rates(n, rng.binomial(n, 0.05)))
    judged_scopes = {v.scope["slice"] for v in judged.verdicts}

    assert len(judged.pages) <= of.most_pages(int((n > 0).sum()))
    assert len(judged_scopes) > 40
    assert scopes_at_once(judged) <= CAP + 1


def junk(panes: int, names: int, seed: int, rate: float) -> Ints:
    """Junk names after 20 tenants, five events a pane each for a few panes; `rate` of them flagged."""
    rng = np.random.default_rng(seed)
    piece = CAP + rng.integers(0, names, (panes, 200))
    pane = np.broadcast_to(np.arange(panes)[:, None], piece.shape)
    flagged = rng.binomial(5, rate, piece.shape)
    return np.concatenate([rows(pane, piece, N, np.full(piece.shape, 5)), rows(pane, piece, HIT, flagged)], axis=1)


@pytest.mark.parametrize(("rate", "paged"), [(0.05, False), (0.2, True)])
def test_ten_thousand_junk_names_take_no_more_than_the_slots_and_other_is_judged(rate: float, paged: bool) -> None:
    """Law: at most 21 tests run, the budget holds; a failure among the junk is found in `(other)`, within hours."""
    rng, of = np.random.default_rng(32), court(tenants(CAP) + tenants(10_000, "junk"))
    n = rng.poisson(50, (PANES // 2, CAP))
    made = np.concatenate([rates(n, rng.binomial(n, 0.05)), junk(PANES // 2, 10_000, 33, rate)], axis=1)
    judged = of.judge(PANES // 2, made)
    other = [pane for scope, pane in judged.pages if scope == "(other)"]

    assert scopes_at_once(judged) == CAP + 1
    assert "(other)" in {v.scope["slice"] for v in judged.verdicts}
    assert len(other) == paged
    assert len(judged.pages) - len(other) <= of.most_pages(21 * PANES // 2)
    assert not paged or other[0] <= 3


def test_silence_is_no_data_and_never_met() -> None:
    """Law: a feed that dies says nothing; after `stale_after` (the window) every verdict is `no_data`, for good."""
    rng, of = np.random.default_rng(34), court(tenants(2))
    n = rng.poisson(50, (1000, 2)) * (np.arange(1000)[:, None] < 300)
    judged = of.judge(1000, rates(n, rng.binomial(n, 0.01)))

    assert judged.states(100, 300) == {"met"}
    assert "no_data" in judged.states(300 + WEEK, 300 + WEEK + 8)
    assert judged.states(300 + WEEK + 7) <= {"no_data"}
    assert not judged.controls


def test_silence_keeps_a_breach() -> None:
    """Law: a feed that dies while broken stays broken: neither time nor an empty window releases."""
    rng, of = np.random.default_rng(35), court(tenants(1))
    n = rng.poisson(50, (1000, 1)) * (np.arange(1000)[:, None] < 300)
    judged = of.judge(1000, rates(n, rng.binomial(n, during(1000, 250, 300, 0.3, 0.01))))
    states = {v.state for v in judged.verdicts if v.scope == {"slice": "tenant=t0"} and judged.pane(v) >= 260}

    assert len(judged.pages) == 1
    assert not judged.released()
    assert states == {"breached"}


def test_a_failure_in_one_slice_pages_that_slice_only() -> None:
    """Law: of 20 tenants one fails for four days: one page, one release, the other 19 never notice. Budget 1 a year.

    .3 instead of .02 at 20 an hour, C = 184,086. Measured: in the first hour; release 45 h after the end.
    """
    rng, of = np.random.default_rng(36), court(tenants(CAP), 1.0)
    n = rng.poisson(20, (PANES, CAP))
    rate = np.where(np.arange(CAP) == 7, during(PANES, 300, 396, 0.3, 0.02), 0.02)
    judged = of.judge(PANES, rates(n, rng.binomial(n, rate)))

    assert [scope for scope, _ in judged.pages] == ["tenant=t7"]
    assert 300 <= judged.pages[0][1] <= 308
    assert [c.scope["slice"] for c in judged.controls] == ["tenant=t7"] * 2
    assert judged.released()[0] >= 396


def never_events(violations: Ints, decided: Ints) -> tuple[Court, Ints]:
    """One rule, counts int64[T] per 10-minute pane."""
    rules = [{"name": "unchecked", "when": "features.checked == false"}]
    slo = promise("never_event_violations", "== 0", "rolling", min_events=100) | {"action_on_breach": "kill_switch"}
    of = Court(make_policy(slo, never_events=rules), (json.dumps([]),))
    pane = np.arange(len(decided))
    return of, np.concatenate([rows(pane, 0, VIOLATION, violations), rows(pane, 0, DECIDED, decided)], axis=1)


def test_a_million_good_opportunities_never_page_and_one_violation_does_at_once() -> None:
    """Law: deterministic, outside the budget: the pane of the violation brings the kill switch, and nothing ends it."""
    decided, violations = np.full(1000, 1000), (np.arange(1000) == 700).astype(np.int64)
    of, good = never_events(0 * violations, decided)
    quiet = of.judge(1000, good)
    judged = of.judge(1000, never_events(violations, decided)[1])
    bound = quiet.verdicts[-1].evidence["rate_upper_bound"]

    assert not quiet.controls
    assert quiet.states(1) == {"met"}
    assert 0.9 * 3e-6 < bound < 1.1 * 3e-6
    assert judged.engaged() == [700]
    assert not judged.released()
    assert judged.states(700) == {"breached"}


def test_a_dead_feed_of_opportunities_is_no_met_never_event() -> None:
    """Law: zero violations of zero opportunities prove nothing (notes/detectors.md 2.4)."""
    decided = np.where(np.arange(600) < 100, 1000, 0)
    of, made = never_events(0 * decided, decided)
    judged = of.judge(600, made)

    assert judged.states(100 + 144 + 6) == {"no_data"}
