"""What a guard makes of the control topic: which mode, for which request, on whose word, and for how long."""

import subprocess
import sys
from typing import Any

import pytest

from interlock.control_state import ControlState
from interlock.guard import Guard
from interlock.protocol import MODES
from interlock.scopes import Request
from tests.guarding import (
    GRACE,
    MODEL,
    NOTHING_SAID,
    NOW,
    TTL,
    Clock,
    Record,
    control,
    guarding,
    lease,
    mode,
    record,
    trusting,
)

# What a record changes.


def test_the_strongest_of_the_controls_that_are_about_a_request_decides() -> None:
    state = trusting(*(control(action=action) for action in ("throttle", "kill_switch", "notify")))

    assert mode(state) == "killed"
    assert [one.mode for one in state.controls(MODEL, Request())] == ["killed", "throttled", "normal"]


def test_a_mode_that_the_guard_does_not_know_means_safe_mode() -> None:
    clock = Clock()
    state = guarding([record(lease(1, on_lost="levitate"))], clock)
    clock.now += TTL + GRACE

    assert mode(trusting(control(action="x", mode="levitate"))) == "safe_mode"
    assert mode(state) == "safe_mode"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(1, "engaged"), (1, "released")], "normal"),
        ([(1, "engaged"), (1, "released"), (1, "engaged")], "normal"),  # released is final
        ([(2, "engaged"), (1, "released")], "human_review"),  # the highest epoch decides
        ([(2, "released"), (1, "engaged")], "normal"),
        ([(1, "engaged"), (1, "released"), (2, "engaged")], "human_review"),
        ([(1, "engaged"), (2, "released")], "normal"),
        ([(1, "engaged"), (1, "resting")], "human_review"),  # only `released` releases
    ],
)
def test_the_highest_epoch_decides_and_released_ends_it(said: list[tuple[int, str]], expected: str) -> None:
    state = guarding([record(control(epoch=epoch, state=state)) for epoch, state in said], on_lost="normal")

    assert mode(state) == expected


def test_within_an_epoch_a_mode_never_gets_weaker_and_parameters_may_change() -> None:
    first = control(mode="safe_mode", parameters={"n": 1})
    state = trusting(first)
    state.read([record(control(mode="normal", parameters={"n": 2}))])

    assert mode(state) == "safe_mode"
    assert state.counts["weaker"] == 1

    state.read([record(control(mode="safe_mode", parameters={"n": 3}))])

    assert state.controls(MODEL, Request())[0].parameters == {"n": 3}


@pytest.mark.parametrize(("counted_as", "said"), NOTHING_SAID)
def test_tombstones_junk_and_unknown_kinds_change_nothing_but_a_counter(counted_as: str, said: Record) -> None:
    state = trusting(control())
    before = dict(state.counts)

    assert state.read([said]) == []
    assert mode(state) == "human_review"
    assert dict(state.counts) == before | {counted_as: 1}


def test_records_of_models_that_are_not_heeded_change_nothing() -> None:
    state = ControlState(Clock(), models=["other"])
    state.read([record(control(action="kill_switch"))])

    assert mode(state) == "human_review"
    assert state.counts["foreign"] == 1


# On whose word: leases.


def test_a_request_is_in_its_mode_while_a_lease_is_held_and_as_before_until_grace_is_over() -> None:
    clock = Clock()
    state = guarding([record(lease(1))], clock)
    seen = []
    for moment in (0, TTL - 1, TTL, TTL + GRACE - 1, TTL + GRACE):
        clock.now = NOW + moment
        seen.append(mode(state))

    assert seen == ["normal", "normal", "normal", "normal", "safe_mode"]


def test_what_is_engaged_stays_stronger_than_what_a_lost_lease_asks() -> None:
    clock = Clock()
    engaged = control(action="kill_switch")
    state = guarding([record(engaged), record(lease(1, engaged, on_lost="throttled"))], clock)
    clock.now += TTL + GRACE

    assert mode(state) == "killed"


def test_a_renewed_lease_is_counted_from_its_own_end() -> None:
    clock = Clock()
    state = guarding([record(lease(1))], clock)
    clock.now += TTL + GRACE
    state.read([record(lease(2, lease_until=int(clock.now) + 1, grace=0))])

    assert mode(state) == "normal"

    clock.now += 1

    assert mode(state) == "safe_mode"


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(control(state="released"))],
        [record(lease(1, lease_until=int(NOW)))],  # over when it is read: nobody vouches
        [record(lease(1, control()))],  # vouches for what the guard does not know
    ],
)
def test_without_a_lease_that_counts_a_guard_is_in_its_own_mode_for_lost_leases(records: list[Record]) -> None:
    for on_lost in MODES:
        assert mode(guarding(records, on_lost=on_lost)) == on_lost


def test_a_model_that_was_never_heard_of_is_in_the_mode_for_lost_leases() -> None:
    state = trusting(control())

    assert mode(state, model="another") == "human_review"


def test_a_guard_that_misses_a_control_waits_for_no_grace_and_recovers_with_the_next_lease_that_agrees() -> None:
    missed = control(scope={"version": "7"})
    state = guarding([record(lease(1)), record(lease(2, missed))])

    assert mode(state, version="1") == "safe_mode"

    state.read([record(missed)])

    assert mode(state, version="1") == "safe_mode"

    state.read([record(lease(3, missed))])

    assert mode(state, version="1") == "normal"
    assert mode(state, version="7") == "human_review"


def test_a_lease_that_is_older_than_the_last_changes_nothing() -> None:
    engaged = control(scope={"version": "7"})
    state = guarding([record(lease(5)), record(engaged), record(lease(6, engaged)), record(lease(5))])

    assert mode(state, version="1") == "normal"

    state = guarding([record(lease(6, engaged)), record(lease(5))])

    assert mode(state, version="1") == "human_review"


def test_an_engagement_counts_at_once_and_a_release_too_under_one_lease() -> None:
    engaged = control(action="kill_switch")
    state = guarding([record(lease(1)), record(engaged)])

    assert mode(state) == "killed"

    state.read([record(control(action="kill_switch", state="released"))])

    assert mode(state) == "normal"


# The guard itself.


@pytest.mark.parametrize("said", MODES)
def test_a_static_guard_says_one_mode_for_ever(said: str) -> None:
    guard = Guard.static(said)

    assert guard.wait_ready(0)
    assert guard.mode(model="any", segment={"tenant": "acme"}, version="1", variant="canary") == said
    assert guard.controls(model="any") == ()
    assert guard.parameters(model="any") == {}
    guard.close()


@pytest.mark.parametrize("make", [Guard.static, lambda mode: Guard("127.0.0.1:1", on_lost=mode)])
def test_a_mode_that_does_not_exist_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="'lenient' is no mode; expected one of normal, throttled"):
        make("lenient")


LIGHT = """
import sys, tempfile
from interlock.emit import Emitter
from interlock.guard import Guard
assert Guard.static("normal").mode(model="m") == "normal"
with Emitter.to_file(tempfile.mkdtemp()) as emit:
    emit.prediction(event_id="e", model="m")
heavy = {"numpy", "pyarrow", "pydantic", "scipy", "faust", "aiokafka", "yaml", "typer", "celpy"} & sys.modules.keys()
print(sorted(heavy), sorted(name for name in sys.modules if name.startswith("interlock.")))
"""


@pytest.mark.integration
def test_serving_systems_import_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("[] ")
    assert not any(room in done.stdout for room in ("detectors", "policies", "sinks", "streams", "commands"))
