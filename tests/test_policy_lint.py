"""What a valid policy leaves open is said; what its windows can prove agrees with VERDICTS.md."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.lint import growth, idle, needed_nats, power, smallest_failure, warnings
from interlock.policies.load import load_policy
from interlock.policies.model import Policy

GOOD = Path(__file__).parent / "policies" / "good"
THREE = """slices: [{by: [tenant], max: 200}]
slos:
- {name: ood_rate_a, indicator: ood_rate, objective: o, target: "<= 0.05", window: WINDOW, action_on_breach: notify, per: slice}
- {name: ood_rate_b, indicator: ood_rate, objective: o, target: "<= 0.05", window: WINDOW, action_on_breach: notify, per: slice}
- {name: ood_rate_c, indicator: ood_rate, objective: o, target: "<= 0.05", window: WINDOW, action_on_breach: notify, per: slice}
"""


def load(text: str) -> Policy:
    return load_policy(text.encode(), "f")


def one(name: str, target: str = "<= 0.05", window: str = "24h", head: str = "") -> Policy:
    slo = f'- {{name: {name}, objective: o, target: "{target}", window: {window}, action_on_breach: notify}}\n'
    return load(head + "slos:\n" + slo)


def paths(policy: Policy) -> list[str]:
    return [finding.path for finding in warnings(policy)]


def test_the_seed_is_told_everything_that_it_leaves_open(shared: Path) -> None:
    policy = load_policy((shared / "data" / "safety-slos.yaml").read_bytes(), "f")

    assert paths(policy) == [
        "model",
        "owners.on_call",
        "runbook_url",
        "never_events",
        "audits",
        "reference",
        "high_impact",
        "endpoint",
        "labels.maturity",
    ]


def test_a_policy_that_says_everything_has_no_warnings() -> None:
    policy = load_policy((GOOD / "in_force.yaml").read_bytes(), "f")

    assert warnings(policy) == []
    assert idle(policy, 1_000_000) == []


def test_what_is_not_in_force_is_a_warning_each() -> None:
    policy = load_policy((GOOD / "full.yaml").read_bytes(), "f")

    assert paths(policy) == ["labels.predicted", *(path for path, _ in policy.not_in_force())]


def test_review_thresholds_that_nothing_sets_are_said() -> None:
    head = "review: {thresholds: from_calibration}\n"

    assert "review.thresholds" in paths(one("ood_rate_24h", head=head))
    assert "review.thresholds" in paths(one("decision_ece_24h", head=head)), "it only notifies"


def test_never_events_without_an_slo_are_said() -> None:
    policy = one("ood_rate_24h", head="never_events: [{name: a, when: route == 'human'}]\n")

    assert "never_events" in paths(policy)


def test_no_slo_in_force_is_said() -> None:
    assert "slos" in paths(load_policy((GOOD / "later_indicator_compared.yaml").read_bytes(), "f"))


def test_own_scores_need_no_reference() -> None:
    assert "reference" in paths(one("ood_rate_24h"))
    assert "reference" not in paths(one("ood_rate_24h", head="ood: {threshold: 3}\n"))
    assert "reference" in paths(one("unseen_rate_24h", head="ood: {threshold: 3}\n"))


def test_a_maturity_beyond_the_join_is_said() -> None:
    assert "labels.maturity" in paths(one("decision_ece_24h", head="labels: {join_ttl: 1d, maturity: 2d}\n"))


@pytest.mark.parametrize(("window", "all_flagged", "at_30_percent"), [("24h", 8, 61), ("10m", 9, 76)])
def test_evidence_needed_is_that_of_verdicts_section_3(window: str, all_flagged: int, at_30_percent: int) -> None:
    policy = load(THREE.replace("WINDOW", window))
    slo = policy.slos[0]
    needed = needed_nats(policy, slo)  # VERDICTS.md has 74 for 10m, by panes of 10 s; they are 5 s

    assert math.isclose(growth(slo, 1.0), math.log(0.715 / 0.05))
    assert math.ceil(needed / growth(slo, 1.0)) == all_flagged
    assert math.ceil(needed / growth(slo, 0.3)) == at_30_percent


@given(st.floats(1, 1e6), st.floats(1, 10))
def test_more_traffic_proves_smaller_failures(events: float, factor: float) -> None:
    policy = one("ood_rate_24h")
    fewer, more = (smallest_failure(policy, policy.slos[0], n) for n in (events, events * factor))

    assert fewer is None or (more is not None and 0.05 < more <= fewer <= 1)


@given(st.floats(20, 1e6))
def test_the_smallest_failure_brings_just_enough_evidence(events: float) -> None:
    policy = one("ood_rate_24h")
    slo = policy.slos[0]
    failure = smallest_failure(policy, slo, events)

    assert failure is not None
    assert math.isclose(events * growth(slo, failure), needed_nats(policy, slo), rel_tol=1e-6)


def test_an_slo_that_can_never_leave_insufficient_is_a_warning() -> None:
    assert [finding.path for finding in idle(one("ood_rate_24h"), 99)] == ["slos[0].window"]
    assert idle(one("ood_rate_24h"), 100) == []
    assert [finding.path for finding in idle(one("decision_ece_24h"), 999)] == ["slos[0].window"]
    assert idle(one("decision_ece_24h"), 1000) == []


def test_a_target_near_zero_needs_more_than_min_events() -> None:
    [finding] = idle(one("ood_rate_24h", "<= 0.001"), 3687)

    assert "needs 3688" in finding.message
    assert idle(one("ood_rate_24h", "<= 0.001"), 3688) == []


def test_recall_counts_only_flagged_and_audited_events() -> None:
    policy = one("ood_recall_7d", ">= 0.9", "7d", "audits: {rate: 0.01}\n")

    assert idle(policy, 1000) == []
    assert idle(policy, 700)


def test_power_has_a_line_for_each_slo_in_force() -> None:
    policy = load_policy((GOOD / "full.yaml").read_bytes(), "f")
    lines = power(policy, 7000)

    assert [line.path for line in lines] == ["slos[0]", "slos[1]", "slos[2]", "slos[3]", "slos[4]"]
    assert "8 at 1, 62 at 0.3" in lines[1].message
    assert "one violation is enough" in lines[4].message


@pytest.mark.parametrize("per_day", [0.001, 1.0, 7000.0, 1e12])
@pytest.mark.parametrize("name", ["full", "in_force", "minimal", "later_indicator_compared"])
def test_power_speaks_at_any_traffic(name: str, per_day: float) -> None:
    policy = load_policy((GOOD / f"{name}.yaml").read_bytes(), "f")

    assert len(power(policy, per_day)) == len(policy.slos_in_force)
    assert all("nan" not in line.message for line in power(policy, per_day))


def test_what_will_stay_unknown_for_good_is_said_where_the_policy_acts_on_it() -> None:
    asked = "on_unknown: {no_data: {for: 15m, action: notify}, unidentified: {for: 1h, action: notify}}\n"
    found = {f.path: f.message for f in warnings(one("ood_recall_7d", ">= 0.9", "7d", asked)) if "unknown" in f.path}
    never = warnings(one("never_event_violations", "== 0", "rolling", asked))

    assert found["on_unknown.no_data"] == "ood_recall will be no_data whatever comes: this action will engage and stand"
    assert found["on_unknown.unidentified"].startswith("ood_recall will stay unidentified without audits")
    assert [f.path for f in never if "unknown" in f.path] == ["on_unknown.no_data"]
    assert [f for f in warnings(one("ood_rate_24h", head=asked + "ood: {threshold: 3}\n")) if "unknown" in f.path] == []


@pytest.mark.parametrize(("patience", "said"), [("1d", True), ("25h", False)])
def test_patience_shorter_than_the_age_of_labels_is_said(patience: str, said: bool) -> None:
    head = f"on_unknown: {{insufficient: {{for: {patience}, action: notify}}}}\n"

    assert ("on_unknown.insufficient.for" in paths(one("decision_ece_24h", head=head))) == said
    assert "on_unknown.insufficient.for" not in paths(one("ood_rate_24h", head=head))
