"""River's detectors: what they detect is counted and opens a ticket; whatever comes ends in a state."""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import anomaly, drift

from interlock.detectors.river_detectors import ANOMALY, DRIFT, LEARNING, Detector, Setting
from interlock.policies.context import Context, Learned
from interlock.policies.controls import ReleaseCommand
from interlock.policies.load import load_policy
from interlock.policies.machine_river import RiverMachine
from interlock.policies.machines import build
from interlock.policies.pages import page_of
from interlock.policies.said import Moment
from interlock.records import Control
from interlock.streams import checkpoint, river
from tests.events import History
from tests.labelling import replayed
from tests.meaning import draws
from tests.replaying import START, Event, Ran, command
from tests.test_laws import Cut, Run, run

EVENTS = 1200
CHANGE = 600
PARAMS: dict[str, dict[str, Any]] = {
    "ADWIN": {},
    "PageHinkley": {"threshold": 150},
    "KSWIN": {"alpha": 1e-9},
    "HalfSpaceTrees": {"threshold": 0.985, "limits": {"features.amount": [0, 40]}},
    "LODA": {"threshold": 25, "n_random_cuts": 10},
}


def policy(*names: str, **more: Any) -> str:
    """A policy of detectors over the amount, with windows of 6 h."""
    basis = {"objective": "o", "target": "== 0", "window": "6h", "severity": "ticket", "action_on_breach": "notify"}
    watched = {"field": "features.amount"}
    slos = [
        {"name": name.lower(), "indicator": f"river.{name}", "params": PARAMS[name]} | watched | basis | more
        for name in names
    ]
    return json.dumps({"model": "m", "slices": [{"by": ["tenant"], "max": 3}], "slos": slos})


def amounts(after: float, seed: int = 1) -> list[float]:
    """Normal amounts, one sd wide; from CHANGE on they are `after` higher."""
    values = draws(seed).normal(10, 1, EVENTS)
    values[CHANGE:] += after
    return [float(value) for value in values]


def ran(folder: Path, text: str, values: list[Any], **more: Any) -> Ran:
    return replayed(folder, text, lambda i: ({"features": {"amount": values[i]}} | more, None), len(values))


def verdicts(found: Ran, name: str) -> list[Event]:
    return [verdict for verdict in found.lines("verdicts") if verdict["slo"] == name.lower()]


@pytest.mark.parametrize("name", PARAMS)
def test_a_change_opens_a_ticket_that_ends_when_the_window_has_no_detection_any_more(name: str, tmp_path: Path) -> None:
    usual = amounts(0) if name in DRIFT else [min(12.0, max(8.0, float(round(value)))) for value in amounts(0)]
    calm = ran(tmp_path / "calm", policy(name), usual)
    values = amounts(20) if name in DRIFT else [*usual[:CHANGE], *[500.0] * 3, *usual[CHANGE:]]
    found = ran(tmp_path / "found", policy(name), values)
    controls = found.lines("control")
    last = verdicts(found, name)[-1]

    assert {verdict["state"] for verdict in verdicts(calm, name)} <= {"met", "insufficient"}
    assert calm.lines("control") == []
    assert [control["state"] for control in controls] == ["engaged", "released"]
    assert 0 <= controls[0]["ts"] - START - CHANGE * 60_000 <= 120 * 60_000
    assert controls[1]["ts"] - controls[0]["ts"] >= 6 * 3_600_000 - 300_000
    assert (last["state"], last["value"]) == ("met", 0.0)
    assert page_of(Control.model_validate(controls[0]), load_policy(policy(name).encode(), "p.yaml")) is None


@pytest.mark.parametrize("name", DRIFT)
def test_detections_are_those_of_river_itself(name: str, tmp_path: Path) -> None:
    values = amounts(3) + amounts(-3, seed=2)
    own = getattr(drift, name)(**PARAMS[name], **({"seed": 1} if name == "KSWIN" else {}))
    expected = 0
    for value in values:
        own.update(value)
        expected += own.drift_detected
    found = ran(tmp_path, policy(name, window="7d"), values)

    assert expected >= 2
    assert verdicts(found, name)[-1]["evidence"]["detections"] == expected


@pytest.mark.parametrize("name", ANOMALY)
def test_anomalies_are_those_of_river_itself_once_it_has_learnt(name: str) -> None:
    fields, values = ("features.amount", "score"), np.random.default_rng(3).random((2, 700))
    values[:, 650:] += 3
    own = getattr(anomaly, name)(seed=1)
    scores = []
    for row in values.T.tolist():
        scores.append(own.score_one(dict(zip(fields, row, strict=True))))
        own.learn_one(dict(zip(fields, row, strict=True)))
    threshold = float(np.quantile(scores[LEARNING:], 0.95))
    expected = (np.arange(700) >= LEARNING) & (np.array(scores) >= threshold)
    found = Detector(Setting.of(name, {"threshold": threshold}), fields).detect(values)

    assert expected.sum() > 10
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("odd", ["12", None, True, ...])
def test_what_is_no_number_is_skipped_and_counted(odd: object, tmp_path: Path) -> None:
    values: list[Any] = amounts(20)
    some: list[Any] = [odd if i % 50 == 0 else value for i, value in enumerate(values)]
    kept = [value for i, value in enumerate(values) if i % 50]
    event = lambda i: ({"features": {} if some[i] is ... else {"amount": some[i]}}, None)  # noqa: E731
    found = replayed(tmp_path / "a", policy("ADWIN", window="7d"), event, EVENTS)
    without = ran(tmp_path / "b", policy("ADWIN", window="7d"), kept)
    last = verdicts(found, "ADWIN")[-1]
    rows = (last["window_end"] - START) // 60_000

    assert last["evidence"]["undecided"] == -(-rows // 50)
    assert last["evidence"]["n"] == last["n"] == rows + -rows // 50
    assert last["evidence"]["detections"] == verdicts(without, "ADWIN")[-1]["evidence"]["detections"] > 0


def test_numbers_that_are_missing_throughout_are_unidentified_and_constant_ones_are_met(tmp_path: Path) -> None:
    names = tuple(PARAMS)
    missing = ran(tmp_path / "a", policy(*names), ["text"] * EVENTS)
    constant = ran(tmp_path / "b", policy(*names), [7.0] * EVENTS)

    assert {verdicts(missing, name)[-1]["state"] for name in names} == {"unidentified"}
    assert {verdicts(constant, name)[-1]["state"] for name in names} == {"met"}


def test_huge_numbers_end_in_a_state(tmp_path: Path) -> None:
    values = amounts(0)
    values[700:710] = [1e308, -1e308] * 5
    found = ran(tmp_path, policy(*PARAMS), values)

    assert {verdicts(found, name)[-1]["state"] for name in PARAMS} <= {"met", "breached", "at_risk"}


def test_a_window_with_few_events_says_nothing_unless_something_is_detected(tmp_path: Path) -> None:
    found = ran(tmp_path, policy("ADWIN"), amounts(0)[:45])

    assert verdicts(found, "ADWIN")[-1]["state"] == "insufficient"
    assert verdicts(found, "ADWIN")[-1]["evidence"]["reason"] == "45 effective events of 100"


def test_each_slice_has_a_detector_of_its_own(tmp_path: Path) -> None:
    values = [value if i % 3 else 5.0 for i, value in enumerate(amounts(20))]
    event = lambda i: ({"segment": {"tenant": "abc"[i % 3]}, "features": {"amount": values[i]}}, None)  # noqa: E731
    found = replayed(tmp_path, policy("ADWIN", per="slice"), event, EVENTS)
    made: Any = drift.ADWIN
    own = [made() for _ in range(3)]
    expected = set()
    for i, value in enumerate(values):
        own[i % 3].update(value)
        expected |= {(f"tenant={'abc'[i % 3]}", i)} if own[i % 3].drift_detected else set()
    engaged = [control for control in found.lines("control") if control["state"] == "engaged"]
    named = {(one["scope"]["slice"], int(event[1:])) for one in engaged for event in one["evidence"]["events"]}

    assert {slice_ for slice_, _ in named} == {"tenant=b", "tenant=c"}
    assert named <= expected


def test_slices_beyond_what_a_shard_holds_are_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river, "MOST", 2)
    event = lambda i: ({"segment": {"tenant": "abc"[i % 3]}, "features": {"amount": 5.0}}, None)  # noqa: E731
    found = replayed(tmp_path, policy("ADWIN", per="slice"), event, EVENTS)
    states = {verdict["scope"].get("slice"): verdict["state"] for verdict in found.lines("verdicts")}

    assert states["tenant=a"] == states["tenant=b"] == "met"
    assert states["(other)"] in ("unidentified", "no_data")


# -- laws that hold, and the one that does not ---------------------------------------------------------------------------


LAW = ("ADWIN", "PageHinkley", "HalfSpaceTrees")


def history() -> History:
    made = [
        {
            "event_id": f"e{i}", "ts": START + i * 60_000, "model": "m", "model_version": "1",
            "segment": {"tenant": "ab"[i % 2]}, "features": {"amount": value},
        }
        for i, value in enumerate(amounts(5))
    ]  # fmt: skip
    return History([json.dumps(event).encode() for event in made], [], START + EVENTS * 60_000)


@cache
def law_run(cut: Cut) -> Run:
    return run(history(), cut, policy(*LAW, per="slice"))


@pytest.mark.parametrize("sizes", [(1,), (7, 300)])
def test_however_one_partition_is_cut_the_same_is_detected(sizes: tuple[int, ...]) -> None:
    found, expected = law_run(Cut(sizes)), law_run(Cut())

    assert found == expected
    assert b'"breached"' in expected.verdicts


def test_after_a_restart_detectors_begin_afresh_and_that_is_counted() -> None:
    found = law_run(Cut((300,), resume=(3,)))

    assert found.counters["river_restarted"] == len(LAW) * 2
    assert found.verdicts != law_run(Cut((300,))).verdicts


def test_a_person_lets_detections_go_and_only_new_ones_engage_again() -> None:
    made = load_policy(policy("ADWIN").encode(), "p.yaml")
    machine = build(Context(made, made.slos[0], "m", Learned({})))
    assert isinstance(machine, RiverMachine)
    engaged: list[Control] = []
    for pane, hits in enumerate([0, 3, 0]):
        machine.judge(pane, {"[]": np.array([200, hits, 0])})
        engaged += machine.conclude(Moment(pane, pane)).controls
    one = engaged[0]
    machine.let_go(ReleaseCommand("m", "adwin", {}, one.control_id, one.epoch, 0, "me", "known"), 2)
    again = RiverMachine(machine.context)
    again.restore(checkpoint.decode(checkpoint.encode(machine.snapshot())))
    for pane, hits, expected in ((3, 0, []), (4, 1, ["engaged"])):
        again.judge(pane, {"[]": np.array([200, hits, 0])})

        assert [control.state for control in again.conclude(Moment(pane, pane)).controls] == expected


# -- what is said ---------------------------------------------------------------------------------------------------------


def test_check_says_that_it_is_a_ticket_and_depends_on_partitions_and_restarts(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(policy("ADWIN"))
    code, out, _ = command("check", tmp_path / "p.yaml", "--traffic", "5000/d")

    assert code == 0
    assert "river.ADWIN opens tickets only, outside the budget of false pages" in out
    assert "one detection is enough" in out


def test_why_says_what_was_detected_and_that_nothing_is_proven(tmp_path: Path) -> None:
    found = ran(tmp_path, policy("ADWIN"), amounts(20))
    control = found.lines("control")[0]
    code, out, err = command(
        "why", control["control_id"], "--replay", found.folder, "--policy", tmp_path / "policy.yaml"
    )

    assert (code, err) == (0, "")
    assert control["cause"].startswith("adwin: 1 detections by river.ADWIN in the whole model")
    assert "1 detection by river.ADWIN on features.amount in " in out
    assert "ADWIN on features.amount (1)" in out
    assert "nothing is proven by that" in out


def test_without_river_the_policy_is_refused_in_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    (tmp_path / "p.yaml").write_text(policy("ADWIN"))
    code, out, err = command("check", tmp_path / "p.yaml")

    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "pip install 'interlock[river]'" in err
