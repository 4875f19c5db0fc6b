"""The audit plan holds what it says: at its rate a fallen recall is noticed in time, at a quarter of it not."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.court import Court, Flags, make_policy, promise
from interlock.policies.audit_plan import POWER, Need, Traffic, plan
from interlock.policies.context import Learned
from interlock.policies.panes import thresholds
from interlock.policies.scalars import DAY
from tests.replaying import command

SLO = promise("ood_recall_7d", ">= 0.9", "7d")
TRAFFIC = Traffic(20_000, 0.02)
WEEK = 7 * DAY


def noticed(rate: float, recall: float, runs: int) -> float:
    """Simulate weeks before the judge; return the share of those in which it paged."""
    policy = make_policy(
        SLO, slices=runs, audits={"rate": rate}, labels={"maturity": "0s"}, false_pages_per_year=runs + 1
    )
    court = Court(
        policy, tuple(f'["t{i}"]' for i in range(runs)), Learned({}, audit_probabilities=(rate,), scores_ood=True)
    )
    assert math.isclose(court.thresholds.page, thresholds(make_policy(SLO), make_policy(SLO).slos[0]).page)
    rng = np.random.default_rng(5)
    odd = rng.poisson(TRAFFIC.per_day * TRAFFIC.unfamiliar / 24, (168, runs))
    hits = rng.binomial(odd, recall)
    missed = rng.binomial(odd - hits, rate)
    unflagged = np.full_like(odd, round(TRAFFIC.per_day * (1 - TRAFFIC.unfamiliar) / 24)) + (odd - hits)
    selected = missed + rng.binomial(unflagged - (odd - hits), rate)
    flags = Flags(hits, unflagged, selected, missed)
    judged = court.judge(169, flags.made(), flags.joined([hits], [selected], [missed]))
    return len({scope for scope, _ in judged.pages}) / runs


@pytest.mark.statistical
def test_at_the_planned_rate_the_judge_notices_in_time_and_at_a_quarter_of_it_seldom() -> None:
    policy = make_policy(SLO)
    need = plan(policy, policy.slos[0], TRAFFIC, 0.8, WEEK)
    assert need.rate is not None

    assert noticed(need.rate, 0.8, 40) >= POWER - 0.15
    assert noticed(need.rate / 4, 0.8, 40) <= 0.5


def needs(recall: float, per_day: float = TRAFFIC.per_day, within: int = WEEK, **more: object) -> Need:
    policy = make_policy(SLO | more)
    return plan(policy, policy.slos[0], Traffic(per_day, TRAFFIC.unfamiliar), recall, within)


def test_a_milder_failure_less_time_and_less_traffic_need_more_audits() -> None:
    basis = needs(0.8).rate
    assert basis is not None

    for harder in (needs(0.85), needs(0.8, within=3 * DAY), needs(0.8, per_day=10_000), needs(0.8, dispersion=2.0)):
        assert harder.rate is None or harder.rate > 1.2 * basis


def test_what_no_audit_can_notice_is_said() -> None:
    assert needs(0.89, per_day=500).rate is None


def test_the_command_prints_the_table(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "model: m\nood: {threshold: 0.9}\nslos:\n- {name: ood_recall_7d, objective: o, target: '>= 0.9', window: 7d, action_on_breach: notify}\n"
    )
    code, said, err = command("audits", "plan", tmp_path / "p.yaml", "--traffic", "20000/d", "--unfamiliar", "0.02")
    assert (code, err) == (0, "")
    assert "within 7d, 90% of the time" in said
    row = next(line.split() for line in said.splitlines() if line.split()[:1] == ["0.8"])
    rate = needs(0.8).rate
    assert rate is not None
    assert float(row[1]) == pytest.approx(rate, rel=0.01)

    for options, line in (
        (("--traffic", "20000"), "--traffic: found 20000; expected a rate"),
        ((), "--traffic: no reference says"),
        (("--traffic", "1/d", "--recall", "0.95"), "expected less than 0.9"),
        (("--traffic", "1/d", "--within", "soon"), "--within: found soon"),
    ):
        code, _, err = command("audits", "plan", tmp_path / "p.yaml", *options)
        assert code == 2
        assert line in err
