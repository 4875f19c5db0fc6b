"""Laws of slots, endpoints and versions: who is judged alone, from when, and what its control rests on."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.court import Ints, labelled, make_context, promise
from interlock.policies.alarm import Change
from interlock.policies.controls import Cause
from interlock.policies.machine import Machine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machines import build
from interlock.policies.plan import DECIDED, UNDECIDABLE, VIOLATION
from interlock.policies.said import Moment, Said
from interlock.policies.slots import POOL, Slots

DAY = 144
BLOCK = 6


def sliced(slices: int = 2) -> Machine:
    """An OOD rate per tenant over 24 hours."""
    machine = build(make_context(promise("ood_rate_24h", "<= 0.05", "24h"), slices))
    assert isinstance(machine, Machine)
    return machine


def counts(**pairs: tuple[int, int]) -> dict[str, Ints]:
    """Counts of a pane by tenant: (events, flagged)."""
    return {json.dumps([name]): np.array([*pair, 0], np.int64) for name, pair in pairs.items()}


def step(machine: Machine, pane: int, slices: Mapping[str, Ints]) -> Said:
    """Judge a pane as the arrival axis does."""
    machine.judge(pane, slices)
    return machine.conclude(Moment(pane, pane))


def holders(machine: Machine) -> dict[str, int]:
    """Tenants by slot."""
    return {json.loads(name)[0]: slot for name, slot in machine.slots.numbers.items()}


def test_slots_go_to_the_largest_slices_and_equals_by_name() -> None:
    """Law: admitted by (count descending, name), from one pane's merged counts; the rest counts in (other)."""
    machine = sliced()
    said = step(machine, 5, counts(d=(5, 0), b=(5, 0), c=(9, 0), a=(4, 0)))
    scopes = [v.scope["slice"] for v in said.verdicts]

    assert holders(machine) == {"c": 1, "b": 2}
    assert scopes == ["(other)", "tenant=c", "tenant=b"]
    assert machine.window.sums[POOL].tolist() == [9, 0, 0]


def test_what_has_no_slot_is_judged_in_other_and_pages_there() -> None:
    """Law: a flood of names cannot hide a failure: it is the failure of (other)."""
    machine, controls = sliced(), []
    for pane in range(30):
        junk = {f"junk{pane}x{i}": (2, 1) for i in range(20)}
        controls += step(machine, pane, counts(a=(50, 0), b=(50, 0), **junk)).controls

    assert holders(machine) == {"a": 1, "b": 2}
    assert [c.scope for c in controls] == [{"slice": "(other)"}]


def test_a_slot_is_freed_after_a_window_without_events_and_its_next_slice_starts_anew() -> None:
    """Law: freed after W; counts, evidence and state of the one do not become the other's."""
    machine = sliced()
    for pane in range(3):
        step(machine, pane, counts(a=(30, 4), b=(30, 0)))
    for pane in range(3, 3 + DAY + BLOCK):
        step(machine, pane, counts(b=(30, 0)))
    freed = holders(machine)
    step(machine, 3 + DAY + BLOCK, counts(b=(30, 0), z=(1, 0)))
    fresh = sliced()
    step(fresh, 0, counts(z=(1, 0)))

    assert freed == {"b": 2}
    assert holders(machine) == {"b": 2, "z": 1}
    assert machine.window.sums[1].tolist() == [1, 0, 0]
    assert machine.alarms.log_m()[1] == pytest.approx(fresh.alarms.log_m()[1])


def test_a_slot_with_a_control_is_kept_in_silence() -> None:
    """Law: only release ends a control, so its slot cannot be given away."""
    machine = sliced()
    for pane in range(3):
        step(machine, pane, counts(a=(100, 60), b=(30, 0)))
    for pane in range(3, 3 + 3 * DAY):
        step(machine, pane, counts(b=(30, 0)))

    assert holders(machine) == {"a": 1, "b": 2}
    assert list(machine.alarms.engaged) == [1]


def test_slots_are_numbered_from_one_again_in_order() -> None:
    """Law: the freed slot of the smallest number is taken first, so that replays give the same slots."""
    slots = Slots(3)
    slots.admit({"a": 1, "b": 1, "c": 1})
    slots.free(3)
    slots.free(1)
    slots.admit({"x": 2, "y": 1})

    assert slots.numbers == {"b": 2, "x": 1, "y": 3}


def test_other_has_predictions_although_none_of_them_has_a_slot() -> None:
    """Law: by cohort too, `(other)` is not `no_data` while predictions arrive and their labels are awaited."""
    machine = build(make_context(promise("decision_ece_24h", "<= 0.05", "24h"), 1))
    assert isinstance(machine, Machine)
    machine.seen(5, {'["a"]': labelled(9, 0, 0.0), '["b"]': labelled(5, 0, 0.0)})
    said = machine.conclude(Moment(5, 0))

    assert [(v.scope["slice"], v.state) for v in said.verdicts] == [
        ("(other)", "insufficient"),
        ("tenant=a", "insufficient"),
    ]


def test_a_slot_waits_for_the_labels_of_its_last_predictions() -> None:
    """Law: freed after W on the SLO's own axis: with labels a week late, a day's silence frees nothing yet."""
    machine = build(make_context(promise("decision_ece_24h", "<= 0.05", "24h"), 1))
    assert isinstance(machine, Machine)
    machine.seen(5, {'["a"]': labelled(9, 0, 0.0)})
    machine.conclude(Moment(5 + 2 * DAY, 5))
    awaited = holders(machine)
    machine.conclude(Moment(5 + 4 * DAY, 6 + DAY))

    assert awaited == {"a": 1}
    assert holders(machine) == {}


def test_the_next_slice_of_a_slot_is_not_judged_by_the_signs_of_the_last() -> None:
    """Law: evidence in a slot starts at its admission, and so does what its bets are learned from."""
    used, fresh = (build(make_context(promise("decision_ece_24h", "<= 0.05", "24h"), 1)) for _ in range(2))
    assert isinstance(used, Machine)
    assert isinstance(fresh, Machine)
    for pane in range(3):
        step(used, pane, {'["a"]': labelled(50, 50, 0.3)})
    for pane in range(3, 3 + DAY + BLOCK):
        step(used, pane, {})
    for machine in (used, fresh):
        step(machine, 300, {'["z"]': labelled(50, 50, 0.3)})

    assert holders(used) == {"z": 1}
    assert used.alarms.log_m()[1] == pytest.approx(fresh.alarms.log_m()[1])


def test_the_next_slice_of_a_slot_has_incidents_of_its_own() -> None:
    """Law: a slice whose slot was freed after a release is no reason to take the next one's breach for a relapse."""
    machine = build(make_context(promise("ood_rate_1h", "<= 0.05", "1h"), 1, release={"hold": "1m"}))
    assert isinstance(machine, Machine)
    said = [step(machine, pane, counts(a=(100, 50))) for pane in range(3)]
    said += [step(machine, pane, counts(a=(100, 0))) for pane in range(3, 30)]
    said += [step(machine, pane, {}) for pane in range(30, 30 + 2 * 120)]
    machine.judge(300, counts(z=(100, 50)))
    found = [(c.scope["slice"], c.state) for s in said for c in s.controls]

    assert found == [("tenant=a", "engaged"), ("tenant=a", "released")]
    assert holders(machine) == {"z": 1}
    assert [c.change for c in machine.changes] == [Change.ENGAGED]


def never() -> NeverMachine:
    """One rule: approvals without a check."""
    rules = [{"name": "unchecked", "when": "features.checked == false"}]
    slo = promise("never_event_violations", "== 0", "rolling") | {"action_on_breach": "kill_switch"}
    machine = build(make_context(slo, never_events=rules))
    assert isinstance(machine, NeverMachine)
    return machine


def events(violations: int, decided: int, undecidable: int = 0) -> Ints:
    """Counts of the rule."""
    row = np.zeros((1, 3), np.int64)
    row[0, [VIOLATION, DECIDED, UNDECIDABLE]] = violations, decided, undecidable
    return row


def test_one_violation_kills_its_version_only_and_nothing_lets_go_by_itself() -> None:
    """Law: the scope is the version; a year of good opportunities, or of silence, releases nothing."""
    machine, said = never(), []
    for pane in range(400):
        machine.judge(pane, {"1": events(int(pane == 3), 50), "2": events(0, 50)} if pane < 200 else {})
        said.append(machine.conclude(Moment(pane, pane)))
    found = [(place, c.scope, c.mode, c.state) for place, s in enumerate(said) for c in s.controls]
    last = {v.scope["version"]: v.state for v in said[-5].verdicts}

    assert found == [(3, {"version": "1"}, "killed", "engaged")]
    assert {v.state for s in said[3:] for v in s.verdicts if v.scope == {"version": "1"}} == {"breached"}
    assert last == {"1": "breached", "2": "no_data"}


def test_a_person_releases_the_kill_switch_and_counts_begin_anew() -> None:
    """Law: after the release the next violation is a new epoch."""
    machine = never()
    epochs = []
    for pane, violations in enumerate((1, 0, 1)):
        machine.judge(pane, {"1": events(violations, 200)})
        epochs += [(c.state, c.epoch) for c in machine.conclude(Moment(pane, pane)).controls]
        if pane == 0:
            epochs.append((machine.release("1", Cause(0, "v", "checked", {})).state, 1))

    assert epochs == [("engaged", 1), ("released", 1), ("engaged", 2)]


def test_zero_violations_are_met_only_on_enough_decided_opportunities() -> None:
    """Law: 100 decided opportunities; one undecidable makes it unidentified; the bound is 1 - alpha^(1/n)."""
    states = {}
    for name, row in {"few": events(0, 99), "enough": events(0, 100), "blind": events(0, 100, 1)}.items():
        machine = never()
        machine.judge(5, {"1": row})
        verdict = machine.conclude(Moment(5, 5)).verdicts[0]
        states[name] = verdict.state

    assert states == {"few": "insufficient", "enough": "met", "blind": "unidentified"}


def test_junk_version_names_share_a_scope_beyond_sixty_four() -> None:
    """Law: at most 64 versions are kept apart; a violation among the others is theirs together."""
    machine = never()
    machine.judge(0, {f"v{i:03}": events(int(i >= 70), 10) for i in range(80)})
    said = machine.conclude(Moment(0, 0))

    assert len(said.verdicts) == 65
    assert [c.scope for c in said.controls] == [{"version": "(other)"}]
