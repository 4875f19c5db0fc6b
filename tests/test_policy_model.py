"""What a policy means: scalars, indicators, digest, what is not in force."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.load import PolicyErrors, load_policy
from interlock.policies.model import INDICATORS, Policy, Slo
from interlock.policies.scalars import (
    Target,
    parse_duration,
    parse_positive_duration,
    parse_rate,
    parse_target,
    show_duration,
)

GOOD = Path(__file__).parent / "policies" / "good"
SLO = """slos:
- {name: ood_rate_24h, objective: o, target: "<= 0.05", window: 24h, action_on_breach: notify}
"""


def load(text: str) -> Policy:
    return load_policy(text.encode(), "f")


def good(name: str) -> Policy:
    return load_policy((GOOD / f"{name}.yaml").read_bytes(), name)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("500ms", 500),
        ("30s", 30_000),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("1d12h", 129_600_000),
        ("1m1ms", 60_001),
        ("7d", 604_800_000),
    ],
)
def test_a_duration_is_milliseconds(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "7", "7 d", "-1s", "1.5h", "1h1h", "30s2m", "7D", "s", "1w", "٣s", "36501d", 8, None]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(show_duration(milliseconds)) == milliseconds


def test_zero_is_no_positive_duration() -> None:
    with pytest.raises(ValueError, match="above zero"):
        parse_positive_duration("0d")


@pytest.mark.parametrize(("text", "per_day"), [("7000/d", 7000), ("200/h", 4800), ("0.5/s", 43_200), ("1/m", 1440)])
def test_a_rate_counts_per_day(text: str, per_day: float) -> None:
    assert parse_rate(text).per_day == per_day


@pytest.mark.parametrize("text", ["0/d", "7000", "7000/w", "-1/d", "1e3/d", 7])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("<= 0.05", Target("<=", 0.05)),
        (">=.9", Target(">=", 0.9)),
        ("== 0", Target("==", 0)),
        ("<=  5e-2", Target("<=", 0.05)),
    ],
)
def test_a_target_is_direction_and_value(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("name", "indicator"),
    [
        ("ood_recall_7d", "ood_recall"),
        ("ood_rate_24h", "ood_rate"),
        ("unseen_rate_30m", "unseen_rate"),
        ("decision_ece_p95_24h", "decision_ece_p95"),
        ("decision_ece_1d12h", "decision_ece"),
        ("never_event_violations", "never_event_violations"),
    ],
)
def test_a_name_implies_its_indicator(name: str, indicator: str) -> None:
    policy = load(SLO)
    slo = policy.slos[0].model_copy(update={"name": name})

    assert slo.resolved_indicator == indicator
    assert slo.spec is INDICATORS[indicator]


def test_defaults_are_those_of_the_documents() -> None:
    policy = load(SLO)
    slo = policy.slos[0]

    assert (policy.lateness, policy.dedup_ttl, policy.max_skew) == (30_000, 600_000, 300_000)
    assert (policy.labels.join_ttl, policy.labels.orphan_ttl, policy.labels.maturity) == (604_800_000, 3_600_000, None)
    assert (policy.release.hold, policy.release.max_hold, policy.release.wrong_per_year) == (7_200_000, 604_800_000, 1)
    assert (policy.labels.coverage, policy.ood.flag_rate, policy.false_pages_per_year) == (0.95, 0.01, 1)
    assert (slo.least_events, slo.severity, slo.stale_after_ms, slo.window_ms) == (100, "page", 86_400_000, 86_400_000)
    assert [type(value) for value in policy.labels.positive_values] == [bool, float, str, str]


def test_ece_needs_a_thousand_events_and_rolling_goes_stale_in_a_day() -> None:
    slos = {slo.resolved_indicator: slo for slo in good("full").slos_in_force}

    assert slos["decision_ece_p95"].least_events == 1000
    assert slos["never_event_violations"].stale_after_ms == 86_400_000


def test_what_an_slo_says_itself_goes_before_the_defaults() -> None:
    slos = {slo.resolved_indicator: slo for slo in good("in_force").slos}

    assert slos["decision_ece"].least_events == 2000
    assert slos["decision_ece_p95"].stale_after_ms == 21_600_000


def test_values_are_taken_as_they_are_typed() -> None:
    policy = good("yaml_1_2")

    assert policy.high_impact == ("yes", "012", "1:30", "0x1F", "1_000", "~x", 1000.0, True)
    assert type(policy.high_impact[-1]) is bool
    assert policy.owners.on_call == "on"
    assert policy.slos[1].objective == "Two lines,\nwith a\ttab.\n"


def test_a_policy_cannot_be_changed() -> None:
    policy = load(SLO)

    with pytest.raises(ValueError, match="frozen"):
        policy.model = "other"


def test_per_names_its_slices_in_any_order() -> None:
    policy = good("in_force")

    assert [s.by if (s := policy.slice_set(slo)) else None for slo in policy.slos] == [
        None,
        ("tenant", "region"),
        ("role",),
        None,
        None,
        None,
    ]


def test_per_slice_means_the_only_declared_one() -> None:
    policy = load("slices: [{by: [tenant]}]\n" + SLO.replace("notify", "notify, per: slice"))

    assert policy.slice_set(policy.slos[0]) == policy.slices[0]


def test_what_is_not_in_force_is_said_for_each_key() -> None:
    paths = [path for path, _ in good("full").not_in_force()]

    assert paths == [
        "rollout",
        "safe_mode",
        "blast_radius",
        "operators",
        "release.probe",
        "review.capacity",
        "never_events[0].enforce",
    ]
    assert good("in_force").not_in_force() == ()


@pytest.mark.parametrize("text", ["on_unlabelled: ipw", "judge_on: arrival", "sample: 0.5"])
def test_all_label_options_are_in_force(text: str) -> None:
    assert load(f"labels: {{{text}}}\n" + SLO).not_in_force() == ()


def test_every_kind_of_evidence_is_in_force() -> None:
    for evidence in ("per_pane", "threshold", "burn_rate"):
        assert load(SLO.replace("notify", f"notify, evidence: {evidence}")).not_in_force() == ()


def test_a_comparison_of_shares_is_judged_and_one_of_means_is_not_yet() -> None:
    shares, means = good("full"), good("compared_mean")

    assert shares.slos_in_force == shares.slos
    assert [path for path, _ in means.not_in_force()] == ["slos[0].compare"]
    assert means.slos_in_force == ()


def test_comments_order_spelling_and_stated_defaults_keep_the_digest() -> None:
    reordered = """# a comment
slos:
- action_on_breach: notify
  x-note: [1, 2]
  window: 1d
  target: '<=0.050'
  objective: "o"
  severity: page
  name: ood_rate_24h
lateness: 30000ms
labels: {coverage: 0.95}
"""

    assert load(reordered).digest == load(SLO).digest


def test_every_value_is_in_the_digest() -> None:
    heads = ["", "model: a\n", "lateness: 31s\n", "labels: {coverage: 0.9}\n", "high_impact: [1]\n", "human_goal: a\n"]
    heads += ["high_impact: ['1']\n", "high_impact: [true]\n", "safe_mode: {serve: a}\n", "ood: {threshold: 0}\n"]

    assert len({load(head + SLO).digest for head in heads}) == len(heads)


def test_a_model_validates_from_python_too() -> None:
    slo = {"name": "ood_rate_24h", "objective": "o", "target": "<= 0.05", "window": "24h", "action_on_breach": "notify"}

    assert Policy.model_validate({"slos": [slo]}) == load(SLO)
    assert Slo.model_validate(slo) == load(SLO).slos[0]


def test_a_field_error_does_not_hide_errors_of_meaning_in_the_same_slo() -> None:
    text = SLO.replace("objective: o", "objective: 5").replace("0.05", "5") + "lateness: x\n"

    with pytest.raises(PolicyErrors) as caught:
        load(text)

    assert [found.path for found in caught.value.found] == ["slos[0].objective", "slos[0].target", "lateness"]
