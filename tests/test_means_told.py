"""What pages, `interlock why` and `interlock check` say of means."""

import json
from pathlib import Path

import numpy as np
import pytest

from interlock.policies.context import Context, Learned
from interlock.policies.load import load_policy
from interlock.policies.machine import Machine
from interlock.policies.machine_ece import EceMachine
from interlock.policies.machines import build
from interlock.policies.pages import page_of
from interlock.policies.why_good import without_a_fault
from interlock.records import Control
from tests.labelling import replayed
from tests.meaning import TARGETS, guessed, policy
from tests.replaying import command


def test_a_page_and_why_tell_of_losses_in_words(tmp_path: Path) -> None:
    text = policy("mae", action_on_breach="route_to_human_review")
    ran = replayed(tmp_path, text, guessed(16.0))
    told = page_of(Control.model_validate(ran.lines("control")[0]), load_policy(text.encode(), "p.yaml"))
    code, out, err = command("why", ran.lines("control")[0]["control_id"], "--replay", ran.folder)

    assert told
    assert told.summary.startswith("m: mae_6h misses <= 5 in the whole model: ")
    assert "Promised: mae <= 5 over 6h. In the stretch from " in told.details["what_broke"]
    assert (code, err) == (0, "")
    assert "mae_6h in the whole model: breached" in out
    assert "against <= 5 (25 due, 25 found, 25 events)" in out
    assert "range" not in out


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in sorted(TARGETS)), ("mean", {"target": ">= 60"})])
def test_what_would_clear_is_known_to_prove_the_target(name: str, more: dict[str, str]) -> None:
    """`interlock why` runs the mirrored evidence ahead on traffic without a fault."""
    made = load_policy(policy(name, **more).encode(), "p.yaml")
    machine = build(Context(made, made.slos[0], "m", Learned({})))
    assert isinstance(machine, Machine)
    measure, row = machine.measure, np.zeros(machine.measure.width, np.int64)
    row[[4 + 20, 4 + 40]], row[4 + 21] = 3000, 1500
    good = without_a_fault(measure, row, made.slos[0].target.op)

    assert good is not None
    assert measure.estimate(good[None]).n.tolist() == [6000]
    assert measure.estimate(good[None]).proven.tolist() == [True]
    assert measure.log_good(good).max() > 0


def test_check_says_what_means_can_prove_in_their_own_units(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(policy(*TARGETS))
    code, out, err = command("check", tmp_path / "p.yaml", "--traffic", "5000/d")
    power = [line for line in (out + err).splitlines() if "power" in line]

    assert code == 0
    assert len(power) == len(TARGETS)
    assert any("can prove whatever its spread, mae of 7" in line for line in power), power
    assert any("625 pairs in 6h and can prove" in line for line in power), power


def test_calibration_of_a_class_by_name_leaves_no_score_automatic() -> None:
    """Guards compare scores; what is proven of the probability of one class says nothing of them."""
    slo = {"name": "decision_ece_24h", "objective": "o", "target": "<= 0.1", "window": "24h"}
    made = [
        load_policy(
            json.dumps({"slos": [slo | {"action_on_breach": "route_to_human_review"} | more]}).encode(), "p.yaml"
        )
        for more in ({}, {"class": "cat"})
    ]
    machines = [build(Context(one, one.slos[0], "m", Learned({}))) for one in made]

    assert [isinstance(machine, EceMachine) for machine in machines] == [True, False]
