"""VERDICTS.md §4 on the judge: triggers that come again, releases by people, scopes that guards can tell."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.court import labelled, make_context, promise
from interlock.policies.alarm import Change
from interlock.policies.controls import ReleaseCommand
from interlock.policies.machine import Machine
from interlock.policies.machines import build
from interlock.policies.said import Moment
from interlock.records import Control
from interlock.streams.judge import Judge
from interlock.streams.shard import Trigger
from tests.tallying import NEVER, OOD, Book, book, controls, everyone, ms, new_judge, resumed, told


def violation(tick: int, shard: int = 0) -> Trigger:
    return Trigger("large_denial", "m", "1", ms(tick) + 7, f"e{tick}", shard)


def release(judge: Judge, control: Control, **other: object) -> list[Control]:
    """Release a control as a person does, who may name another one."""
    named = {"scope": control.scope, "control_id": control.control_id, "epoch": control.epoch} | other
    return judge.release(control.model, control.slo, **named, ts=ms(900), by="ann", reason="checked")  # type: ignore[arg-type]


def broken(shards: int = 1) -> tuple[Judge, Control]:
    """A judge that has engaged the kill switch for a violation in tick 3, and its control."""
    judge = new_judge(shards)
    made = book(0, 1, 2, 3)
    made.violation(3)
    early = judge.trigger(violation(3))
    said = judge.apply(
        [(made if shard == 0 else Book()).record(shard, "predictions", None, 19) for shard in range(shards)]
    )
    [engaged] = [c for c in controls(said) if c.slo == "never_event_violations"]

    assert [(c.control_id, c.epoch) for c in early] == [(engaged.control_id, engaged.epoch)]
    return judge, engaged


def test_a_shard_that_restarts_from_an_old_checkpoint_engages_nothing_that_a_person_released() -> None:
    """Law: the trigger comes again, its pane was told of; a new violation is another matter."""
    judge, engaged = broken()
    [released] = release(judge, engaged)
    again = judge.trigger(violation(3))
    repeats = judge.apply([book(0, 1, 2, 3).record(0, "predictions", None, 19)])
    new = judge.trigger(violation(20))
    restored = resumed(judge).trigger(violation(3))

    assert (released.state, released.mode) == ("released", "killed")
    assert (again, repeats, restored) == ([], [], [])
    assert [(c.state, c.epoch) for c in new] == [("engaged", 2)]


def test_only_the_shard_that_closed_a_pane_cannot_tell_more_of_it() -> None:
    """Law: another shard's violation in the same pane, still open there, is new."""
    judge, engaged = broken(2)
    release(judge, engaged)
    judge.apply([Book().record(0, "predictions", 19, 30)])

    assert judge.trigger(violation(25, shard=0)) == []
    assert [c.epoch for c in judge.trigger(violation(25, shard=1))] == [2]


@pytest.mark.parametrize("other", [{"epoch": 2}, {"control_id": "x"}, {"scope": {}}, {"scope": {"version": "2"}}])
def test_a_release_that_names_anything_else_ends_nothing(other: dict[str, object]) -> None:
    judge, engaged = broken()
    before = judge.snapshot()["models"]["m"][1][NEVER]["axes"][0]["voice"]["machine"]["controls"]

    assert release(judge, engaged, **other) == []
    assert judge.release("another", engaged.slo, engaged.scope, engaged.control_id, 1, 0, "ann", "") == []
    assert judge.release("m", "ood_rate_1h", engaged.scope, engaged.control_id, 1, 0, "ann", "") == []
    assert judge.snapshot()["models"]["m"][1][NEVER]["axes"][0]["voice"]["machine"]["controls"] == before


def test_a_release_says_who_and_why_and_happens_once() -> None:
    judge, engaged = broken()
    [released] = release(judge, engaged)
    more = release(judge, engaged)

    assert released.cause == "released by ann: checked"
    assert (released.control_id, released.epoch, released.ts) == (engaged.control_id, engaged.epoch, ms(900))
    assert released.evidence == {"by": "ann", "reason": "checked"}
    assert more == []


def test_after_a_release_a_never_event_counts_anew() -> None:
    judge, engaged = broken()
    release(judge, engaged)
    quiet = judge.apply([book(21).record(0, "predictions", 19, 39)])
    made = book(40)
    made.violation(41)
    said = judge.apply([made.record(0, "predictions", 39, 59)])
    old = release(judge, engaged)

    assert [v.value for s in quiet for v in s.verdicts if v.slo == "never_event_violations"] == [0.0]
    assert [(c.slo, c.state, c.epoch) for c in controls(said)] == [("never_event_violations", "engaged", 2)]
    assert old == []  # it names the epoch that has ended


def failing(ticks: Sequence[int], chain: Sequence[int] = ()) -> tuple[Book, Book]:
    """Predictions that are out of distribution, and labels that are wrong, in these ticks."""
    made, joined = Book(), Book()
    for tick in ticks:
        made.ood(tick, 20, 15)
    for tick in chain:
        made.ood(tick, 20, 0, 1)
        joined.labels(tick + 1, tick, 20, 2)
    return made, joined


def test_after_a_release_the_evidence_of_a_rate_starts_anew() -> None:
    """Law: floors move: what had paged pages no more by itself; a failure that goes on engages the next epoch."""
    judge = new_judge(1)
    made, _ = failing(range(60))
    said = judge.apply([made.record(0, "predictions", None, 19)])
    [engaged] = controls(said)
    [released] = release(judge, engaged)
    axis = judge.models["m"].axes[OOD]
    evidence = axis.machine.alarms.log_m()[1]  # type: ignore[union-attr]
    later = judge.apply([Book().record(0, "predictions", 19, 40)])
    again = judge.apply([made.record(0, "predictions", 40, 59)])

    assert engaged.scope == released.scope == {"slice": "tenant=a"}
    assert evidence == -np.inf
    assert next(v.state for s in later for v in s.verdicts if v.scope == engaged.scope) != "breached"
    assert [c for c in controls(later) if c.slo == "ood_rate_1h"] == []
    assert [(c.state, c.epoch) for c in controls(again)] == [("engaged", 2)]


def test_a_release_ahead_of_what_recovery_would_say_leaves_nothing_to_say() -> None:
    """Law: wherever a person lets go, the SLO's own release neither fails nor comes twice; resumed or not."""
    made, joined = failing((), range(30))
    for tick in range(30, 300):
        made.ood(tick, 20, 0, 1)
        joined.labels(tick + 1, tick, 20, 15)
    for at in range(40, 300, 20):
        judge = new_judge(1)
        said = judge.apply([made.record(0, "predictions", None, 299), joined.record(0, "joined", None, at)])
        own = [c for c in controls(said) if c.slo == "decision_ece_1h"]
        done = release(judge, own[0])
        judge = resumed(judge)
        rest = controls(judge.apply([joined.record(0, "joined", at, 299)]))

        assert len(done) == (len(own) == 1)
        assert [c.state for c in (*own, *done, *rest) if c.slo == "decision_ece_1h"] == ["engaged", "released"]


def test_a_person_who_releases_in_silence_is_answered_with_a_verdict() -> None:
    """Law: long after all has fallen silent, when empty time is jumped over, the state that follows is still said."""
    judge = new_judge(1)
    made, _ = failing(range(20))
    [engaged] = controls(judge.apply([made.record(0, "predictions", None, 19)]))
    for step in everyone(1):
        told(judge, step)
    judge.clock(ms(2000))
    release(judge, engaged)
    said = judge.clock(ms(2100))

    assert {v.state for s in said for v in s.verdicts if v.slo == "ood_rate_1h" and v.scope == engaged.scope} == {
        "no_data"
    }


def rate_machine(**more: object) -> Machine:
    """An OOD rate over a day that has just engaged, of a model as a whole."""
    machine = build(make_context(promise("ood_rate_24h", "<= 0.05", "24h", **more)))
    assert isinstance(machine, Machine)
    for pane in range(5):
        machine.judge(pane, {"[]": np.array([100, 50, 0], np.int64)})
    return machine


GOOD = {"[]": np.array([100, 0, 0], np.int64)}


def test_a_release_by_a_person_takes_the_place_of_one_that_is_not_told_yet() -> None:
    """Law: an SLO of labels is asked for controls only now and then; what its alarm did meanwhile is not told twice."""
    machine = rate_machine()
    [engaged] = machine.conclude(Moment(4, 4)).controls
    pane = 5
    while Change.RELEASED not in [one.change for one in machine.changes]:
        machine.judge(pane, GOOD)
        pane += 1
    command = ReleaseCommand("m", engaged.slo, engaged.scope, engaged.control_id, 1, 0, "ann", "")
    released = machine.let_go(command, pane - 1)
    said = machine.conclude(Moment(pane, pane))

    assert [(c.state, c.cause) for c in released] == [("released", "released by ann")]
    assert said.controls == []
    assert said.verdicts[0].state != "breached"


def test_no_proof_ends_a_kill_switch() -> None:
    """Law: whatever indicator it comes of; weeks of good panes."""
    machine = rate_machine(action_on_breach="kill_switch")
    said = machine.conclude(Moment(4, 4))
    for pane in range(5, 5 + 14 * 144):
        machine.judge(pane, GOOD)
        said.controls += machine.conclude(Moment(pane, pane)).controls

    assert {(c.mode, c.state, c.epoch) for c in said.controls} == {("killed", "engaged", 1)}
    assert [c.evidence["update"] for c in said.controls[1:]] == [True]  # after max_hold a person is asked


def test_controls_say_which_fields_make_their_slices_and_pools_which_slices_are_not_theirs() -> None:
    """Law: three tenants, two slots; the pool names those that stand apart at that moment, sorted."""
    judge, made = new_judge(1), Book()
    for tick in range(20):
        for piece, n in enumerate((20, 30, 10)):
            made.ood(tick, n, n * 3 // 4, piece)
    found = {c.scope["slice"]: c.parameters for c in controls(judge.apply([made.record(0, "predictions", None, 19)]))}

    assert found == {
        "tenant=a": {"by": ["segment.tenant"]},
        "tenant=b": {"by": ["segment.tenant"]},
        "(other)": {"by": ["segment.tenant"], "apart": ["tenant=a", "tenant=b"]},
    }


def test_a_version_needs_no_parameters() -> None:
    assert broken()[1].parameters == {}


def test_endpoints_without_enough_labels_belong_to_the_rest() -> None:
    machine = build(make_context(promise("decision_ece_p95_24h", "<= 0.05", "24h"), endpoint="segment.endpoint"))
    machine.judge(0, {'["many"]': labelled(1500, 1500, 0.0), '["few"]': labelled(10, 10, 0.0)})

    assert machine.describe({"slice": "(rest)"}) == {"by": ["segment.endpoint"], "apart": ["endpoint=many"]}
    assert machine.describe({"slice": "endpoint=few"}) == {"by": ["segment.endpoint"]}
    assert machine.describe({}) == {}
