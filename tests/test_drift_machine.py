"""Drift from events to tickets: what is found, named, accepted, ended, and what is never said."""

from dataclasses import replace

import pytest

from interlock.errors import UserError
from interlock.policies.lint import power, warnings
from interlock.policies.load import PolicyErrors, load_document, load_policy
from interlock.policies.why_drift import streams
from interlock.streams.reference import from_bytes, to_bytes
from tests.drifting import POLICY, Traffic, controls, drifted, fitted, history, predictions, reference, verdicts
from tests.events import HOUR, START
from tests.test_laws import Cut, Run, run

SHIFTED = Traffic(1, shift=0.8, new=0.1)


def judged(traffic: Traffic, keys: str = "", more: str = "") -> Run:
    return run(history(predictions(traffic)), Cut(), POLICY % (keys, more), reference())


def test_a_shift_and_new_codes_open_one_ticket_that_says_what_and_when_and_closes_after() -> None:
    found = judged(SHIFTED)
    said, moved = verdicts(found.verdicts), controls(found.controls)
    worst = max(said, key=lambda one: (one.value or 0, one.ts))

    assert [one.state for one in moved][-1] == "released"
    assert {one.control_id for one in moved} == {moved[0].control_id}
    assert START + 10 * HOUR < moved[0].ts < START + 13 * HOUR
    assert moved[-1].ts > START + 20 * HOUR
    assert set(drifted(worst)) == {"features.amount", "features.code"}
    assert "sd" in drifted(worst)["features.amount"]["says"]
    assert "% unseen codes: ZX-9" in drifted(worst)["features.code"]["says"]
    assert all(START + 9 * HOUR < one["since"] < START + 13 * HOUR for one in drifted(worst).values())
    assert drifted(worst)["features.amount"]["w1"] == pytest.approx(0.8, abs=0.3)
    assert all(one.action == "notify" and one.mode == "normal" for one in moved)


def test_quiet_traffic_is_met_and_opens_nothing() -> None:
    found = judged(Traffic(2))
    said = verdicts(found.verdicts)

    assert found.controls == b""
    assert [one.state for one in said][-1] == "met"
    assert {one.value for one in said if one.state == "met"} == {0.0}
    assert all("drifted" in one for one in said[-1].evidence["streams"])
    assert said[-1].evidence["watched"] == 5


def test_a_feature_that_goes_missing_is_found_by_name() -> None:
    found = judged(Traffic(3, gone=True))

    assert "features.amount: 100 % missing" in controls(found.controls)[0].cause


def test_an_accepted_change_is_silent_the_others_are_not_and_it_expires() -> None:
    day = "{feature: amount, until: 2026-09-21, reason: new tariff}"  # START is the first hour of that day
    known = judged(SHIFTED, f"accept_drift: [{day}]")
    past = judged(SHIFTED, f"accept_drift: [{day.replace('-21', '-20')}]")
    elsewhere = judged(
        SHIFTED, f"accept_drift: [{day.replace('reason', 'slice: tenant=zen, reason')}]", ", per: tenant"
    )
    during = [one for one in verdicts(known.verdicts) if one.ts < START + 23 * HOUR]
    names = {name for one in during for name in drifted(one)}
    by_slice = {(one.scope["slice"], name) for one in verdicts(elsewhere.verdicts) for name in drifted(one)}

    assert names == {"features.code"}
    assert during[-1].evidence["accepted"][0]["reason"] == "new tariff"
    assert any("features.amount" in drifted(one) for one in verdicts(past.verdicts))
    assert ("tenant=acme", "features.amount") in by_slice
    assert ("tenant=zen", "features.amount") not in by_slice
    assert ("tenant=zen", "features.code") in by_slice


def test_an_acceptance_ends_with_its_day() -> None:
    late = replace(SHIFTED, drift=(10, 40), hours=40, rows=4000)
    found = judged(late, "accept_drift: [{feature: amount, until: 2026-09-21, reason: r}]")
    amount = [one.ts for one in verdicts(found.verdicts) if "features.amount" in drifted(one)]

    assert START + 24 * HOUR < min(amount) < START + 27 * HOUR


def test_order_of_features_and_scale_of_others_change_nothing() -> None:
    events, old = predictions(SHIFTED), predictions(Traffic(99, rows=6000, hours=60, start=START - 100 * HOUR))
    for one in (*events, *old):
        one["features"] = dict(reversed(one["features"].items())) | {"flat": one["features"]["flat"] * 1000}
    again = run(history(events), Cut(), POLICY % ("", ""), fitted(old))
    straight = judged(SHIFTED)

    assert [(one.ts, one.state, one.value) for one in verdicts(again.verdicts)] == [
        (one.ts, one.state, one.value) for one in verdicts(straight.verdicts)
    ]
    assert [one.cause for one in controls(again.controls)] == [one.cause for one in controls(straight.controls)]


def test_without_bins_or_of_another_model_it_is_no_data_and_says_why() -> None:
    events = history(predictions(Traffic(4, rows=300)))
    old = run(events, Cut(), POLICY % ("", ""), replace(reference(), drift=()))
    none = run(events, Cut(), POLICY % ("", ""))
    other = run(events, Cut(), POLICY % ("", ""), replace(reference(), model="another"))

    for found, reason in ((old, "fit it again"), (none, "no reference"), (other, "no predictions of the reference's")):
        assert found.controls == b""
        assert {one.state for one in verdicts(found.verdicts)} == {"no_data"}
        assert all(one.value is None and reason in one.evidence["reason"] for one in verdicts(found.verdicts))


def test_streams_that_no_alternative_could_be_proven_of_are_named_and_alone_are_never_met() -> None:
    """Law: a reference that varies so much that nothing can be found is unknown, and not green."""
    events = history(predictions(Traffic(4)))

    def varying(count: int) -> Run:
        found = reference()
        drift = tuple(
            replace(one, bins=replace(one.bins, phi=1e4)) if place < count else one
            for place, one in enumerate(found.drift)
        )
        return run(events, Cut(), POLICY % ("", ""), replace(found, drift=drift))

    every, one = verdicts(varying(len(reference().drift)).verdicts), verdicts(varying(1).verdicts)

    assert {found.state for found in every} == {"unidentified"}
    assert all("too small" in found.evidence["reason"] for found in every)
    assert one[-1].state == "met"
    assert one[-1].evidence["blind"] == ["features.amount"]
    assert any("Blind" in line for line in streams(one[-1].evidence))


def test_a_slice_of_three_events_is_insufficient() -> None:
    events = predictions(Traffic(5, rows=300))
    for place, one in enumerate(events):
        one["segment"]["tenant"] = "tiny" if place in (50, 51, 52) else "acme"
    found = run(history(events), Cut(), POLICY % ("", ", per: tenant"), reference())
    tiny = [one for one in verdicts(found.verdicts) if one.scope == {"slice": "tenant=tiny"}]

    assert {one.state for one in tiny} <= {"insufficient", "no_data"}
    assert any("3 events of 1000" in str(one.evidence.get("reason")) for one in tiny)


def test_the_reference_keeps_its_bins_and_refuses_those_that_do_not_fit() -> None:
    again = from_bytes(to_bytes(reference()), "x")
    broken = replace(reference().drift[0], edges=(0.0,))

    assert again.drift == reference().drift
    assert [one.name for one in again.drift] == [
        "features.amount",
        "features.flat",
        "features.code",
        "score",
        "prediction",
    ]
    with pytest.raises(UserError, match="do not fit together"):
        from_bytes(to_bytes(replace(reference(), drift=(broken,))), "x")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (POLICY.replace(", severity: ticket", "") % ("", ""), "expected severity: ticket"),
        (POLICY.replace("notify", "route_to_human_review") % ("", ""), "expected notify"),
        (POLICY.replace("== 0", "<= 2") % ("", ""), 'expected "== 0"'),
        (POLICY % ("accept_drift: [{until: 2026-09-21, reason: r}]", ""), "neither of feature and stream"),
        (POLICY % ("accept_drift: [{feature: a, until: 2026-02-31, reason: r}]", ""), "a day such as"),
    ],
)
def test_what_drift_cannot_be_is_one_clear_finding(given: str, wanted: str) -> None:
    with pytest.raises(PolicyErrors, match=wanted):
        load_policy(given.encode(), "p.yaml")


def test_check_warns_without_a_reference_and_tells_how_soon_shifts_are_seen() -> None:
    policy = load_document((POLICY % ("", ", per: tenant")).encode(), "p.yaml").policy
    told = [one.message for one in warnings(policy)]

    assert any("no reference; drift will be no_data" in one for one in told)
    assert any("reference of all traffic" in one for one in told)
    assert "for 0.5 sd" in power(policy, 1000)[0].message


def test_stopping_resuming_chunking_and_partitions_say_the_same() -> None:
    events = history(predictions(replace(SHIFTED, rows=1500)))
    policy = POLICY % ("accept_drift: [{stream: score, until: 2026-09-21, reason: r}]", ", per: tenant")
    straight = run(events, Cut(), policy, reference())

    assert b'"engaged"' in straight.controls
    for cut in (Cut((97, 311)), Cut((211,), 3), Cut((83,), 2, (), (2, 5, 9, 14)), Cut((1500,), 16)):
        again = run(events, cut, policy, reference())
        assert again.verdicts == straight.verdicts
        assert again.controls == straight.controls
