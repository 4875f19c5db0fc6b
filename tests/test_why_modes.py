"""`interlock why` of budgets, rules and comparisons: both variants by name, what is left, and that a rule is no proof."""

import numpy as np

from benchmarks.court import Court, Judged, make_policy, promise, rates
from interlock.policies.why import Explanation, explain
from interlock.policies.why_case import Case
from tests.test_compare import arms


def explained(of: Court, told: Judged) -> Explanation:
    verdict = next(one for one in told.verdicts if one.state == "breached")
    return explain(Case(verdict, verdict, [verdict], told.controls, policy=of.policy))


def test_a_comparison_names_both_variants_and_their_counts() -> None:
    compare = {"variant": "canary", "to": "baseline"}
    of = Court(make_policy(promise("ood_rate_24h", "<= 0.01", "24h", compare=compare)))
    n, other = np.full((60, 1), 20), np.full((60, 1), 180)
    found = explained(of, of.judge(60, arms((n, n // 2), (other, other // 10))))
    lines = "\n".join(found.evidence.lines)

    assert "canary: 0.5 (" in lines
    assert "baseline: 0.1 (" in lines
    assert "()" not in lines
    assert found.notes == ["no contributions: a difference has two sides; each variant's counts are in the evidence"]


def test_a_rule_is_called_a_rule_and_its_budget_is_told_shortest_time_first() -> None:
    of = Court(make_policy(promise("ood_rate_24h", "<= 0.05", "24h", evidence="burn_rate")))
    n = np.full((60, 1), 40)
    found = explained(of, of.judge(60, rates(n, n)))
    lines = "\n".join(found.evidence.lines)

    assert "By a plain rule (burn_rate), not by evidence" in lines
    assert "Error budget: overspent 20 times" in lines
    assert "Burn rate: 20 over 10m, 20 over 30m, 20 over 1h, 20 over 6h, 20 over 24h." in lines
    assert found.clears[0].startswith("It ends when the rule has found nothing for")
