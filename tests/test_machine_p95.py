"""Laws of the p95 of ECE over endpoints: who is judged alone, what breaks it, and what its controls rest on."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.court import Ints, labelled, make_context, promise
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.machines import build
from interlock.policies.said import Moment, Said

DAY = 144


def step(machine: P95Machine, pane: int, slices: Mapping[str, Ints]) -> Said:
    """Judge a pane as the arrival axis does."""
    machine.judge(pane, slices)
    return machine.conclude(Moment(pane, pane))


def endpoints(pages: float = 1.0) -> P95Machine:
    """The p95 of ECE over endpoints, 24 hours, target .05."""
    slo = promise("decision_ece_p95_24h", "<= 0.05", "24h")
    machine = build(make_context(slo, endpoint="segment.endpoint", false_pages_per_year=pages))
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
    machine = endpoints(1000)
    serve(machine, range(50), c=(300, 0.0))
    said = serve(machine, range(50, 51), c=(300, 0.0), new=(999, 0.0))
    slot = machine.inner.slots.numbers['["new"]']

    first = endpoints(1000)
    serve(first, range(1), new=(999, 0.0))

    assert not controls(said)
    assert machine.inner.alarms.log_m()[slot] == -np.inf
    assert first.inner.alarms.log_m()[1] == -np.inf


def test_an_endpoint_seen_without_labels_yet_is_not_no_data() -> None:
    """Law: `no_data` means no predictions; endpoints whose labels are yet to come are news enough."""
    machine = endpoints()
    machine.seen(5, {'["a"]': labelled(100, 0, 0.0)})
    said = machine.conclude(Moment(5, -1))

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


def test_one_endpoint_for_the_whole_model_is_judged_without_slots() -> None:
    """Law: without `endpoint` the p95 is the ECE of the model, and its control's scope is everything."""
    machine = build(make_context(promise("decision_ece_p95_24h", "<= 0.05", "24h")))
    assert isinstance(machine, P95Machine)
    said = [step(machine, pane, {"[]": labelled(100, 100, 0.3)}) for pane in range(60)]

    assert [c.scope for s in said for c in s.controls] == [{}]
