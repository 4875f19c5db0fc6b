"""Laws of slots, endpoints and versions: who is judged alone, from when, and what its control rests on."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from interlock.detectors.fixed import SCALE
from interlock.policies.context import Context, Learned
from interlock.policies.controls import Cause
from interlock.policies.machine import Machine, Moment, Said
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.machines import build
from interlock.policies.plan import DECIDED, UNDECIDABLE, VIOLATION
from interlock.policies.slots import POOL, Slots
from tests.judging import Ints, make_policy, promise

DAY = 144
BLOCK = 6


def context(slo: dict[str, object], slices: int = 0, **more: object) -> Context:
    """A context of one SLO."""
    policy = make_policy(slo, slices, **more)
    return Context(policy, policy.slos[0], "m", Learned({}, scores_ood=True))


def sliced(slices: int = 2) -> Machine:
    """An OOD rate per tenant over 24 hours."""
    machine = build(context(promise("ood_rate_24h", "<= 0.05", "24h"), slices))
    assert isinstance(machine, Machine)
    return machine


def counts(**pairs: tuple[int, int]) -> dict[str, Ints]:
    """Counts of a pane by tenant: (events, flagged)."""
    return {json.dumps([name]): np.array([*pair, 0], np.int64) for name, pair in pairs.items()}


def step(machine: Machine | P95Machine, pane: int, slices: Mapping[str, Ints]) -> Said:
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


def labelled(seen: int, labels: int, error: float) -> Ints:
    """Counts of an ECE slot at probability .75: predictions, and labels that are too few positives by `error`."""
    row = np.zeros(2 + 3 * 64, np.int64)
    row[0] = seen
    row[2 + 144 : 2 + 147] = labels, labels * SCALE * 3 // 4, round(labels * (0.75 - error))
    return row


def endpoints(**more: object) -> P95Machine:
    """The p95 of ECE over endpoints, 24 hours, target .05."""
    machine = build(context(promise("decision_ece_p95_24h", "<= 0.05", "24h"), endpoint="segment.endpoint", **more))
    assert isinstance(machine, P95Machine)
    return machine


def serve(machine: P95Machine, panes: range, **each: tuple[int, float]) -> list[Said]:
    """Judge panes of endpoints with (labels, error) each."""
    rows = {json.dumps([name]): labelled(n, n, error) for name, (n, error) in each.items()}
    return [step(machine, pane, rows) for pane in panes]


def controls(said: list[Said]) -> list[tuple[str, str]]:
    """Endpoint and state of every control."""
    return [(c.scope["slice"], c.state) for s in said for c in s.controls]


@pytest.mark.parametrize(("share", "breached"), [(51, True), (50, False)])
def test_p95_breaks_iff_rejected_endpoints_carry_more_than_a_twentieth(share: int, breached: bool) -> None:
    """Law: an endpoint with ECE .4 and 5.1 % of the labels breaks it, one with 5.0 % does not. Page: that endpoint."""
    machine = endpoints()
    said = serve(machine, range(20), good=(1000 - share, 0.0), bad=(share, 0.0))
    said += serve(machine, range(20, 300), good=(1000 - share, 0.0), bad=(share, 0.4))
    slot = machine.inner.slots.numbers['["bad"]']

    assert controls(said) == ([("endpoint=bad", "engaged")] if breached else [])
    assert machine.rejected() == [slot]
    assert ("breached" in {v.state for s in said for v in s.verdicts}) == breached


def test_p95_controls_every_endpoint_by_itself() -> None:
    """Law: two endpoints fail and one recovers: its own evidence releases it, the SLO stays breached for the other."""
    machine = endpoints()
    serve(machine, range(12), a=(100, 0.0), b=(100, 0.0), c=(100, 0.0))
    failing = serve(machine, range(12, 60), a=(100, 0.3), b=(100, 0.3), c=(100, 0.0))
    mending = serve(machine, range(60, 400), a=(100, 0.3), b=(100, 0.0), c=(100, 0.0))
    states = {v.state for s in mending for v in s.verdicts}

    assert controls(failing) == [("endpoint=a", "engaged"), ("endpoint=b", "engaged")]
    assert controls(mending) == [("endpoint=b", "released")]
    assert states == {"breached"}


def test_an_endpoint_with_a_control_is_not_pooled_however_few_its_labels() -> None:
    """Law: traffic of a controlled endpoint dries up; its evidence stays its own, and others do not carry it."""
    machine = endpoints()
    serve(machine, range(12), a=(100, 0.0), c=(100, 0.0))
    serve(machine, range(12, 60), a=(100, 0.3), c=(100, 0.0))
    serve(machine, range(60, 60 + 2 * DAY), a=(1, 0.3), c=(100, 0.0))
    slot = machine.inner.slots.numbers['["a"]']

    assert machine.measure.n(machine.inner.window.sums)[slot] < 500
    assert slot not in machine.inner.pooled
    assert slot in machine.inner.alarms.engaged


def test_endpoints_stand_alone_from_1000_labels_and_pool_again_below_500() -> None:
    """Law: membership by labels in the window; what is pooled counts in (rest) and nowhere else."""
    machine = endpoints()
    serve(machine, range(9), a=(100, 0.0), c=(300, 0.0))
    before = machine.inner.pooled.tolist()
    serve(machine, range(9, 10), a=(100, 0.0), c=(300, 0.0))
    joined = machine.inner.pooled.tolist()
    serve(machine, range(10, 10 + DAY), a=(4, 0.0), c=(300, 0.0))
    slot = machine.inner.slots.numbers['["a"]']

    assert slot in before
    assert slot not in joined
    assert slot not in machine.inner.pooled  # 1000 labels have left, 576 are there
    serve(machine, range(10 + DAY, 10 + 2 * DAY), a=(3, 0.0), c=(300, 0.0))
    assert slot in machine.inner.pooled


def test_an_endpoint_is_pooled_from_its_first_pane() -> None:
    """Law: before 1000 labels an endpoint is not tested alone, in its first pane neither."""
    machine = endpoints(false_pages_per_year=1000)
    serve(machine, range(50), c=(300, 0.0))
    said = serve(machine, range(50, 51), c=(300, 0.0), new=(999, 0.0))
    slot = machine.inner.slots.numbers['["new"]']

    assert not controls(said)
    assert machine.inner.alarms.log_m()[slot] == -np.inf


def test_an_endpoint_seen_without_labels_yet_is_not_no_data() -> None:
    """Law: `no_data` means no predictions; endpoints whose labels are yet to come are news enough."""
    machine = endpoints()
    for pane in range(12):
        machine.seen(pane, {'["a"]': labelled(100, 0, 0.0)})
        said = machine.conclude(Moment(pane, -1))

    assert [v.state for v in said.verdicts] == ["insufficient"]


def test_no_endpoint_leaves_the_rest_while_that_has_a_control() -> None:
    """Law: only its own evidence ends a control, so the endpoints that broke `(rest)` stay in it until its release."""
    machine = endpoints()
    said = serve(machine, range(60), a=(100, 0.3), b=(100, 0.3))
    failing = set(machine.inner.pooled.tolist())
    said += serve(machine, range(60, 200), a=(100, 0.0), b=(100, 0.0))

    assert controls(said) == [("(rest)", "engaged"), ("(rest)", "released")]
    assert {1, 2} <= failing
    assert not {1, 2} & set(machine.inner.pooled.tolist())


def test_other_has_predictions_although_none_of_them_has_a_slot() -> None:
    """Law: by cohort too, `(other)` is not `no_data` while predictions arrive and their labels are awaited."""
    machine = build(context(promise("decision_ece_24h", "<= 0.05", "24h"), 1))
    assert isinstance(machine, Machine)
    machine.seen(5, {'["a"]': labelled(9, 0, 0.0), '["b"]': labelled(5, 0, 0.0)})
    said = machine.conclude(Moment(5, 0))

    assert [(v.scope["slice"], v.state) for v in said.verdicts] == [("(other)", "insufficient"), ("tenant=a", "insufficient")]


def test_a_slot_waits_for_the_labels_of_its_last_predictions() -> None:
    """Law: freed after W on the SLO's own axis: with labels a week late, a day's silence frees nothing yet."""
    machine = build(context(promise("decision_ece_24h", "<= 0.05", "24h"), 1))
    assert isinstance(machine, Machine)
    machine.seen(5, {'["a"]': labelled(9, 0, 0.0)})
    machine.conclude(Moment(5 + 2 * DAY, 5))
    awaited = holders(machine)
    machine.conclude(Moment(5 + 4 * DAY, 6 + DAY))

    assert awaited == {"a": 1}
    assert holders(machine) == {}


def test_one_endpoint_for_the_whole_model_is_judged_without_slots() -> None:
    """Law: without `endpoint` the p95 is the ECE of the model, and its control's scope is everything."""
    machine = build(context(promise("decision_ece_p95_24h", "<= 0.05", "24h")))
    assert isinstance(machine, P95Machine)
    said = [step(machine, pane, {"[]": labelled(100, 100, 0.3)}) for pane in range(60)]

    assert [c.scope for s in said for c in s.controls] == [{}]


def never() -> NeverMachine:
    """One rule: approvals without a check."""
    rules = [{"name": "unchecked", "when": "features.checked == false"}]
    slo = promise("never_event_violations", "== 0", "rolling") | {"action_on_breach": "kill_switch"}
    machine = build(context(slo, never_events=rules))
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
