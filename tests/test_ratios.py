"""The ratios that predictions alone decide: each breaks on a stream of its own, holds on another, and is never green blindly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.policies.load import load_policy
from interlock.policies.pages import page_of
from interlock.records import Control
from interlock.streams import reference
from tests.replaying import Event, Ran, command, lines, prediction, replay_lines

Change = Callable[[int], dict[str, Any]]


def policy(name: str, target: str, head: str = "", **more: object) -> str:
    """A policy of one SLO with a window of 6 h."""
    slo = {
        "name": f"{name}_6h",
        "objective": "o",
        "target": target,
        "window": "6h",
        "action_on_breach": "notify",
        **more,
    }
    return f"model: m\nslices: [{{by: [tenant], max: 3}}]\n{head}slos:\n- {json.dumps(slo)}\n"


def replayed(folder: Path, text: str, change: Change, events: int = 900) -> Ran:
    """Replay predictions, one a minute, each changed as told; a reference is looked for in `folder`."""
    return replay_lines(folder, [prediction(i, **change(i)) for i in range(events)], None, text)


def final(ran: Ran) -> Event:
    """The last verdict."""
    return ran.lines("verdicts")[-1]


def features(i: int, **more: object) -> dict[str, Any]:
    return {"features": {"age": float(i % 60), "amount": i % 7, "code": "abc"[i % 3], **more}}


def fitted(folder: Path) -> str:
    """Fit a reference with ages from 0 to 59, amounts from 0 to 6 and three codes; return the policy's line."""
    path = lines(folder / "fit.jsonl", [prediction(i, **features(i)) for i in range(700)])
    code, _, err = command("fit", "--predictions", path, "-o", folder / "m.ref")
    assert code == 0, err
    return "reference: {file: m.ref}\n"


def late(share: int, change: Event, otherwise: Event | None = None) -> Change:
    """Change one event in `share` from the 400th on."""
    return lambda i: change if i > 400 and i % share == 0 else otherwise or {}


NOTHING: Event = {"score": ..., "decision": ...}
RATIOS: list[tuple[str, str, dict[str, Any], Change, Change]] = [
    ("abstention_rate", "<= 0.10", {}, late(3, {"decision": "abstain"}), late(60, {"prediction": "abstain"})),
    ("abstention_rate", "<= 0.10", {}, late(3, NOTHING), late(1, {"decision": ...})),
    ("ratio", ">= 0.90", {"good": "decision == 'pay'"}, late(3, {"decision": "deny"}), late(60, {"decision": "deny"})),
    ("ratio", "<= 0.10", {"good": "score > 0.9"}, late(3, {"score": 0.95}), late(60, {"score": 0.95})),
    (
        "ratio",
        ">= 0.90",
        {"good": "score < 0.9", "where": "decision == 'deny'"},
        late(1, {"decision": "deny", "score": 0.95}, {"decision": "deny"}),
        late(2, {"decision": "pay", "score": 0.95}, {"decision": "deny"}),
    ),
]


@pytest.mark.parametrize(("name", "target", "more", "breaks", "holds"), RATIOS)
def test_a_ratio_breaks_and_holds_on_what_it_says_it_counts(
    tmp_path: Path, name: str, target: str, more: dict[str, Any], breaks: Change, holds: Change
) -> None:
    text = policy(name, target, **more)
    (tmp_path / "holds").mkdir()
    bad, good = replayed(tmp_path, text, breaks), replayed(tmp_path / "holds", text, holds)

    assert (bad.code, final(bad)["state"]) == (1, "breached")
    assert (good.code, final(good)["state"], good.lines("control")) == (0, "met", [])


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("missing_rate", {"code": None}, "code missing"),
        ("missing_rate", {"age": "old"}, "age missing"),
        ("range_violations", {"age": 60.0}, "age outside its range"),
        ("range_violations", {"amount": -1}, "amount outside its range"),
    ],
)
def test_a_feature_that_fails_breaks_its_rate_and_is_named(
    tmp_path: Path, name: str, change: Event, cause: str
) -> None:
    text = policy(name, "<= 0.10", fitted(tmp_path))
    (tmp_path / "holds").mkdir()
    (tmp_path / "holds" / "m.ref").write_bytes((tmp_path / "m.ref").read_bytes())
    bad = replayed(tmp_path, text, lambda i: features(i, **(change if i > 400 and i % 3 == 0 else {})))
    good = replayed(tmp_path / "holds", text, lambda i: features(i, **(change if i % 60 == 0 else {})))
    [engaged] = bad.lines("control")

    assert engaged["evidence"]["causes"] == [{"reason": cause, "n": engaged["evidence"]["stretch"]["hits"]}]
    assert final(bad)["state"] == "breached"
    assert (final(good)["state"], final(good)["evidence"]["hits"]) == ("met", 6)


def test_a_feature_that_is_not_there_is_missing_and_an_unseen_or_odd_one_is_not(tmp_path: Path) -> None:
    head = fitted(tmp_path)

    def said(name: str, change: Change) -> tuple[object, object]:
        told = final(replayed(tmp_path, policy(name, "<= 0.10", head), change))
        return told["state"], told["value"]

    assert said("missing_rate", lambda _: {"features": {"age": 3.0, "code": "a"}}) == ("breached", 1.0)
    assert said("missing_rate", lambda i: features(i, age=1e9, code="zzz")) == ("met", 0.0)
    assert said("range_violations", lambda i: features(i, age=None, code=None)) == ("met", 0.0)


@pytest.mark.parametrize("name", ["missing_rate", "range_violations"])
def test_without_a_reference_there_is_no_data_and_the_reason(tmp_path: Path, name: str) -> None:
    ran = replayed(tmp_path, policy(name, "<= 0.10"), features)
    code, out, err = command("check", tmp_path / "policy.yaml")

    assert (ran.code, final(ran)["state"]) == (4, "no_data")
    assert final(ran)["evidence"]["reason"].startswith("no reference: ")
    assert f"no reference; {name} will be no_data" in out + err
    assert code == 0


def test_a_reference_of_before_there_were_ranges_has_no_ranges_and_says_so(tmp_path: Path) -> None:
    fitted(tmp_path)
    known = reference.load(tmp_path / "m.ref")
    older = reference.Reference(
        **{name: getattr(known, name) for name in known.__dataclass_fields__ if name not in {"ranges", "id"}}
    )
    reference.save(older, tmp_path / "m.ref")
    ran = replayed(tmp_path, policy("range_violations", "<= 0.10", "reference: {file: m.ref}\n"), features)

    assert known.ranges == ((0.0, 59.0), (0.0, 6.0))
    assert (ran.code, final(ran)["state"]) == (4, "no_data")
    assert "knows no ranges" in final(ran)["evidence"]["reason"]


@pytest.mark.parametrize("target", [">= 0.90", "<= 0.10"])
@pytest.mark.parametrize(
    ("more", "unclear"),
    [
        ({"good": "features.amount > 1.0"}, {"features": {}}),
        ({"good": "features.amount > 1.0"}, {"features": {"amount": "many"}}),
        ({"good": "features.amount > 1.0", "where": "decision == 'pay'"}, {"decision": ...}),
    ],
)
@pytest.mark.parametrize("share", [1, 10])
def test_what_cannot_be_decided_is_counted_and_unidentified_however_good_the_rest_is(
    tmp_path: Path, target: str, more: dict[str, Any], unclear: Event, share: int
) -> None:
    fine: Event = {"features": {"amount": 5.0 if target[0] == ">" else 0.5}}
    ran = replayed(tmp_path, policy("ratio", target, **more), lambda i: fine | (unclear if i % share == 0 else {}))
    told = final(ran)["evidence"]

    assert (ran.code, final(ran)["state"]) == (4, "unidentified")
    assert told["undecided"] * share == told["n"] + told["undecided"] == 360
    assert told["hits"] == (told["n"] if target[0] == ">" else 0)
    assert "could not be decided" in told["reason"]


def test_per_slice_only_the_slice_that_fails_breaks(tmp_path: Path) -> None:
    text = policy("ratio", ">= 0.90", good="decision == 'pay'", per="slice")
    ran = replayed(
        tmp_path,
        text,
        lambda i: {"segment": {"tenant": "ab"[i % 2]}, "decision": "deny" if i % 6 == 0 else "pay"},
        1800,
    )
    states = {verdict["scope"]["slice"]: verdict["state"] for verdict in ran.lines("verdicts")}

    assert states == {"tenant=a": "breached", "tenant=b": "met"}


def test_ratios_that_differ_in_their_condition_alone_are_counted_apart(tmp_path: Path) -> None:
    text = policy("ratio", ">= 0.10", good="decision == 'pay'")
    second = text.splitlines()[-1].replace("ratio_6h", "other_6h").replace("'pay'", "'deny'")
    ran = replayed(
        tmp_path,
        f'{text}{second[:-1]}, "indicator": "ratio"}}\n',
        lambda i: {"decision": "deny" if i % 4 == 0 else "pay"},
    )

    assert {v["slo"]: v["value"] for v in ran.lines("verdicts")[-2:]} == {"ratio_6h": 0.75, "other_6h": 0.25}


def test_a_ratios_page_tells_hits_and_events_of_the_stretch(tmp_path: Path) -> None:
    text = policy("ratio", ">= 0.90", good="decision == 'pay'")
    ran = replayed(tmp_path, text, lambda i: {"decision": "deny" if i >= 300 else "pay"})
    told = page_of(Control.model_validate(ran.lines("control")[0]), load_policy(text.encode(), "p.yaml"))

    assert told
    assert "Promised: ratio >= 0.9 over 6h. In the stretch from 2026-09-21 05:00:00 UTC it was 0 (0 of " in str(
        told.details["what_broke"]
    )


def test_power_is_said_of_failures_for_a_least_and_of_the_rate_for_a_most(tmp_path: Path) -> None:
    for target, noun in ((">= 0.90", "a share of failures of"), ("<= 0.10", "a rate of")):
        (tmp_path / "p.yaml").write_text(policy("ratio", target, good="true"))
        _, out, err = command("check", tmp_path / "p.yaml", "--traffic", "5000/d")

        assert noun in out + err
