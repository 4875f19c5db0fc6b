"""Error budgets beside every share, and what proves a breach: events, panes, the value itself, or the burn rate."""

import math

import numpy as np

from benchmarks.court import Court, Ints, Judged, make_policy, promise, rates
from interlock.policies.context import Context, Learned
from interlock.policies.lint import power
from interlock.policies.machine import Machine
from interlock.policies.machines import build
from interlock.policies.pages import page_of
from interlock.policies.panes import paging
from interlock.policies.story import evidence
from interlock.records import Verdict
from interlock.streams import checkpoint

HOUR = 6
"""Panes of a 24 h window in an hour."""


def court(**more: object) -> Court:
    return Court(make_policy({**promise("ood_rate_24h", "<= 0.05", "24h"), **more}))


def flags(shares: list[tuple[int, float]], n: int = 40) -> tuple[int, Ints]:
    """Panes of n events, of which so many flagged for so long: exact counts, no chance in them."""
    hits = np.concatenate([np.full(panes, round(n * share)) for panes, share in shares])[:, None]
    return len(hits), rates(np.full_like(hits, n), hits)


def judged(shares: list[tuple[int, float]], **more: object) -> Judged:
    return court(**more).judge(*flags(shares))


def machine(context: Context) -> Machine:
    made = build(context)

    assert isinstance(made, Machine)
    return made


def last(told: Judged) -> Verdict:
    return max(told.verdicts, key=lambda verdict: verdict.ts)


def test_the_error_budget_is_what_the_target_allows_of_the_windows_events() -> None:
    told = last(judged([(138, 0.025), (HOUR, 0.25)]))
    spent = (138 * 1 + HOUR * 10) / (0.05 * 40 * 144)
    budget = told.evidence["error_budget"]

    assert isinstance(budget, dict)
    assert budget["failures"] == 198
    assert math.isclose(budget["spent"], spent)
    assert math.isclose(budget["left"], 1 - spent)
    assert told.evidence["burn_rate"] == {"1h": 5.0, "6h": (30 + HOUR * 10) / (0.05 * 40 * 36), "24h": spent}


def test_a_least_target_burns_by_what_is_not_a_hit() -> None:
    policy = make_policy(promise("ratio_24h", ">= 0.9", "24h", good="true"))
    hits = np.full((24, 1), 30)
    told = last(Court(policy).judge(24, rates(np.full_like(hits, 40), hits)))

    budget, burned = told.evidence["error_budget"], told.evidence["burn_rate"]

    assert isinstance(budget, dict)
    assert isinstance(burned, dict)
    assert budget["failures"] == 240
    assert math.isclose(burned["1h"], 2.5)


def test_a_threshold_breaches_when_the_value_misses_the_target_on_enough_events_and_clears_after_a_hold() -> None:
    told = judged([(20, 0.025), (20, 0.2), (144, 0.025)], evidence="threshold")
    engaged, released = told.engaged(), told.released()
    value = (20 * 1 + 4 * 8) / (24 * 40)

    assert value > 0.05 >= (20 * 1 + 3 * 8) / (23 * 40)
    assert engaged == [23]
    assert len(released) == 1
    assert released[0] > 140
    assert all("log_e" not in verdict.evidence for verdict in told.verdicts)
    assert last(told).evidence["rule"] == "threshold"


def test_a_threshold_says_nothing_below_min_events() -> None:
    told = judged([(40, 1.0)], evidence="threshold", min_events=40 * 41)

    assert told.engaged() == []
    assert told.states() == {"insufficient"}


def test_silence_releases_no_rule() -> None:
    panes, made = flags([(20, 0.2)])
    told = court(evidence="threshold").judge(600, made)

    assert panes < 600
    assert len(told.engaged()) == 1
    assert told.released() == []


BURN = {"fast": {"window": "1h", "factor": 10.0}, "slow": {"window": "6h", "factor": 4.0}}


def burning(shares: list[tuple[int, float]]) -> tuple[Judged, Court]:
    of = court(evidence="burn_rate", burn_rate=BURN)
    return of.judge(*flags(shares)), of


def test_a_slow_burn_opens_a_ticket_and_a_fast_one_pages() -> None:
    slow, of = burning([(36, 0.0), (72, 0.25)])
    fast, _ = burning([(36, 0.0), (12, 0.75)])
    tickets, pages = ([page_of(one, of.policy) for one in told.controls] for told in (slow, fast))

    assert [control.evidence["severity"] for control in slow.controls if control.state == "engaged"] == ["ticket"]
    assert tickets == [None] * len(slow.controls)
    assert [page.action for page in pages if page][:1] == ["trigger"]
    assert fast.engaged()[0] < slow.engaged()[0]


def test_a_ticket_that_turns_into_a_fast_burn_pages_once_and_is_resolved() -> None:
    told, of = burning([(36, 0.0), (60, 0.25), (30, 0.75), (200, 0.0)])
    pages = [page for control in told.controls if (page := page_of(control, of.policy))]

    assert [page.action for page in pages] == ["trigger", "resolve"]
    assert len({page.incident for page in pages}) == 1
    assert "burns its error budget" in pages[0].summary


def test_a_burn_that_has_ended_fires_no_more_although_its_hour_is_bad() -> None:
    """The first hour burns before there are enough events to say so; when there are, two thirds of its hour are left."""
    both, of = BURN["fast"], [(6, 1.0), (2, 0.0)]
    ends = [
        judged(of, min_events=8 * 40, evidence="burn_rate", burn_rate={"fast": fast, "slow": None}).engaged()
        for fast in (both, both | {"short": "1h"})
    ]

    assert ends == [[], [7]]


def test_rules_do_not_share_the_budget_and_check_says_what_they_cost() -> None:
    rule, proof = court(evidence="threshold").policy, court().policy

    assert paging(rule) == paging(proof) == 1
    assert "outside the budget" in power(rule, 5760)[0].message
    assert "false pages a year" in power(rule, 5760)[0].message


def test_panes_that_hang_together_page_by_events_and_not_by_panes() -> None:
    """One pane in twenty fails as a whole, at the boundary: by panes that is one observation, not forty."""
    hits = (np.arange(400) % 20 == 10).astype(np.int64)[:, None] * 40
    made = rates(np.full_like(hits, 40), hits)
    events, panes = (court(evidence=how).judge(400, made) for how in ("per_event", "per_pane"))

    assert events.engaged()
    assert panes.engaged() == []
    assert panes.states() <= {"insufficient", "at_risk", "met"}


def test_a_failure_is_found_by_panes_and_released_after_its_end() -> None:
    told = judged([(150, 0.0), (60, 0.5), (400, 0.0)], evidence="per_pane")

    assert 150 <= told.engaged()[0] < 170
    assert told.released()[0] > 210
    assert last(told).state == "met"
    assert last(told).evidence["panes"] == 144


def test_the_value_by_panes_is_the_mean_of_their_shares_within_its_interval() -> None:
    n = np.array([[10], [1000]] * 40)
    hits = np.array([[5], [0]] * 40)
    told = last(court(evidence="per_pane").judge(80, rates(n, hits)))

    assert told.value is not None
    assert told.lower is not None
    assert told.upper is not None
    assert math.isclose(told.value, 0.25, abs_tol=1e-6)
    assert told.lower < 0.25 < told.upper


def test_every_kind_resumed_at_any_pane_says_the_same() -> None:
    rng = np.random.default_rng(6)
    for how in ("per_pane", "threshold", "burn_rate"):
        policy = court(evidence=how, burn_rate=BURN).policy
        context = Context(policy, policy.slos[0], "m", Learned({}, scores_ood=True))
        straight, resumed = machine(context), machine(context)
        for pane in range(160):
            row = np.array([30, rng.binomial(30, 0.7 if 60 <= pane < 80 else 0.02), 0])
            wide = np.zeros(straight.measure.width, np.int64)
            wide[:3] = row
            again = machine(context)
            again.restore(checkpoint.decode(checkpoint.encode(resumed.snapshot())))
            resumed = again
            for one in (straight, resumed):
                one.judge(pane, {"[]": wide})

            assert resumed.changes == straight.changes
        assert straight.changes


def test_a_restored_machine_tells_the_same_burn_rates() -> None:
    policy = court().policy
    context = Context(policy, policy.slos[0], "m", Learned({}, scores_ood=True))
    straight, resumed = machine(context), machine(context)
    for pane in range(60):
        straight.judge(pane, {"[]": np.array([40, pane % 7, 0])})
    resumed.restore(checkpoint.decode(checkpoint.encode(straight.snapshot())))

    assert _burns(resumed) == _burns(straight)
    assert len(set(_burns(straight).values())) == 3


def _burns(one: Machine) -> dict[str, float]:
    told = evidence(one.story(0, one.window.sums[0]), "met")["burn_rate"]

    assert isinstance(told, dict)
    return told
