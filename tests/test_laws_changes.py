"""Law 3 across changes of policy: whenever they are heard of, and however events are cut, the outputs are the same."""

from collections.abc import Sequence
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.changes import grid, refusals
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.protocol import ControlRecord, read_control
from tests.events import HOUR, START, History, history
from tests.test_laws import POLICY, Changes, Cut, Run, run, same

TIGHTER = POLICY.replace('"<= 0.10"', '"<= 0.04"')
"""Another target for the OOD rate; the others ask what they asked."""

WITHOUT = (
    "\n".join(line for line in POLICY.splitlines() if "ood_rate_6h" not in line and "never" not in line)
    .replace("name: large_denial", "name: other")
    .replace("- {name: other", "never_events:\n- {name: other")
    + '\n- {name: ood_rate_12h, objective: o, target: "<= 0.10", window: 12h, action_on_breach: notify, per: tenant}\n'
)
"""No OOD rate over six hours and no never-events: what they engaged has lost its SLO."""

AT = START + 12 * HOUR
"""In the midst of the hours in which one tenant's events are odd: its control is engaged."""


@cache
def past() -> History:
    return history(seed=7, hours=28, per_hour=120)


@cache
def expected(changes: tuple[tuple[str, int], ...]) -> Run:
    return run(past(), Cut(), changes=changes)


def controls(found: Run, slo: str) -> list[ControlRecord]:
    return [one for one in map(read_control, found.controls.splitlines()) if one.slo == slo]


def digests(found: Run, slo: str) -> list[tuple[int, str]]:
    lines = [msgspec.json.decode(line) for line in found.verdicts.splitlines()]
    return [(line["ts"], line["policy_digest"]) for line in lines if line["slo"] == slo]


def policy(text: str) -> Policy:
    return load_policy(text.encode(), "p.yaml")


CHANGES: Sequence[Changes] = (((TIGHTER, AT),), ((WITHOUT, AT), (TIGHTER, AT + 10 * HOUR)))


@pytest.mark.parametrize("changes", CHANGES)
@given(
    size=st.integers(50, 700),
    shards=st.sampled_from([1, 3]),
    order=st.lists(st.booleans(), max_size=30),
    resume=st.lists(st.integers(1, 8), max_size=2, unique=True),
)
@settings(max_examples=2)
def test_whenever_a_change_is_heard_of_and_however_events_are_cut_the_same_is_said(
    changes: Changes, size: int, shards: int, order: list[bool], resume: list[int]
) -> None:
    """Resumed before its time has come: `resume` counts chunks of at most 700 of 3360 events, the change comes at 1440."""
    early = [step for step in resume if step * size < 1000]
    cut = Cut([size], shards, order[: 1000 // size] if early else order, early)

    same(run(past(), cut, changes=changes), expected(tuple(changes)))


def test_an_slo_that_asks_the_same_goes_on_and_one_that_changed_starts_anew() -> None:
    plain, changed = expected(()), expected(((TIGHTER, AT),))
    new = policy(TIGHTER).digest

    assert [digest == new for ts, digest in digests(changed, "ood_recall_12h")] == [
        ts > AT for ts, _ in digests(changed, "ood_recall_12h")
    ]
    assert _said(changed, "ood_recall_12h") == _said(plain, "ood_recall_12h")
    assert _said(changed, "decision_ece_p95_6h") == _said(plain, "decision_ece_p95_6h")
    assert _said(changed, "ood_rate_6h") != _said(plain, "ood_rate_6h")


def _said(found: Run, slo: str) -> list[object]:
    lines = [msgspec.json.decode(line) for line in found.verdicts.splitlines()]
    return [(x["ts"], x["state"], x["value"], x["n"], x["lower"]) for x in lines if x["slo"] == slo]


def test_what_is_engaged_stays_engaged_under_another_target_until_its_own_evidence_ends_it() -> None:
    plain, changed = (controls(expected(x), "ood_rate_6h") for x in ((), ((TIGHTER, AT),)))

    assert [(one.state, one.epoch) for one in changed] == [("engaged", 1), ("released", 1)]
    assert changed[0] == plain[0]
    assert changed[0].ts < AT < plain[1].ts < changed[1].ts


def test_what_a_gone_slo_engaged_stands_until_it_comes_back_and_proves_its_end() -> None:
    found = controls(expected(tuple(CHANGES[1])), "ood_rate_6h")

    assert [(one.state, one.epoch) for one in found] == [("engaged", 1), ("released", 1)]
    assert found[1].ts > AT + 10 * HOUR


def test_tickets_of_a_gone_slo_end_with_it_and_no_other_control_does() -> None:
    found = expected(tuple(CHANGES[1])).controls.splitlines()
    ended = [x for x in map(msgspec.json.decode, found) if "policy_changed" in x["evidence"]]

    assert ended
    assert {x["action"] for x in ended} == {"notify"}
    assert {x["state"] for x in ended} == {"released"}
    assert {x["ts"] for x in ended} <= {AT, AT + 10 * HOUR}


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("lateness: 5m", "lateness: 1m", "lateness: found 1m, the group has 5m"),
        ("join_ttl: 2d", "join_ttl: 3d", "labels.join_ttl: found"),
        ("model: claims", "model: other", "model: found other, the group has claims"),
        ("window: 6h, action_on_breach: notify", "window: 1m, action_on_breach: notify", "need counts every 1s"),
    ],
)
def test_what_makes_counts_of_events_cannot_change_in_mid_stream(was: str, becomes: str, told: str) -> None:
    lines = refusals(policy(POLICY), policy(POLICY.replace(was, becomes)))

    assert len(lines) == 1
    assert told in lines[0]
    assert "a new --group can" in lines[0]


def test_labels_that_nobody_remembered_cannot_be_asked_for_in_mid_stream() -> None:
    first = "model: claims\nood: {threshold: 0.9}\nslos:\n- {name: ood_rate_6h, target: '<= 0.1', window: 6h, action_on_breach: notify, objective: o}"
    more = first + "\n- {name: decision_ece_6h, target: '<= 0.1', window: 6h, action_on_breach: notify, objective: o}"

    assert refusals(policy(first), policy(first)) == []
    assert refusals(policy(first), policy(more)) == [
        "slos: they ask for labels, which the group has not kept; a new --group can"
    ]


def test_a_change_waits_for_whole_panes_of_what_it_ends_alone() -> None:
    minutes = 60_000

    assert grid(policy(POLICY), policy(TIGHTER)) == 5 * minutes
    assert grid(policy(POLICY), policy(WITHOUT)) == 10 * minutes
    assert grid(policy(POLICY), policy(POLICY)) == 5 * minutes
