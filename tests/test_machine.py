"""Laws of the state machine of one SLO, from hand-made counts (VERDICTS.md sections 3 and 4).

An OOD rate of at most .05 over 24 h: 10-minute panes, a hold of 12 panes, a verdict at least every 6.
"""

from collections.abc import Sequence
from itertools import product
from typing import get_args

import numpy as np
import pytest

from benchmarks.court import Ints, make_policy, promise
from interlock.policies.alarm import Change, Phase
from interlock.policies.context import Context, Learned
from interlock.policies.machine import Machine
from interlock.policies.machines import build
from interlock.policies.measures_ece import BINS_FROM
from interlock.policies.plan import DECISIONS
from interlock.policies.said import Moment, Said
from interlock.policies.states import Facts, decide
from interlock.records import State
from interlock.streams.axes import CohortAxis
from interlock.streams.feed import Feed, Legend, Rows
from interlock.streams.tally import NO_COHORT

HOLD, BLOCK, DAY = 12, 6, 144
GOOD, BAD = (20, 0), (20, 10)


class Bench:
    """A machine that is given a pane at a time, and what came of it."""

    def __init__(self, slo: dict[str, object], slices: int = 0, **more: object) -> None:
        policy = make_policy(slo, slices, **more)
        machine = build(Context(policy, policy.slos[0], "m", Learned({}, scores_ood=True)))
        assert isinstance(machine, Machine)
        self.machine, self.pane = machine, 6000
        self.said: list[Said] = []
        self.changes: list[Change] = []

    def give(self, panes: int, counts: tuple[int, int] | None, name: str = "[]") -> None:
        """Judge panes of (events, flagged); None: empty panes."""
        row = {} if counts is None else {name: np.array([*counts, 0], np.int64)}
        for _ in range(panes):
            self.machine.judge(self.pane, row)
            self.changes += [c.change for c in self.machine.changes]
            self.said.append(self.machine.conclude(Moment(self.pane, self.pane)))
            self.pane += 1

    def until(self, change: Change, counts: tuple[int, int], most: int = 400) -> int:
        """Judge equal panes until a transition; return how many it took."""
        for taken in range(1, most + 1):
            seen = len(self.changes)
            self.give(1, counts)
            if change in self.changes[seen:]:
                return taken
        raise AssertionError(f"no {change} in {most} panes")

    @property
    def phase(self) -> Phase | None:
        """The phase of slot 0's alarm; None when released."""
        engaged = self.machine.alarms.engaged.get(0)
        return engaged.phase if engaged else None

    def controls(self) -> list[tuple[str, int]]:
        """State and epoch of all controls so far."""
        return [(c.state, c.epoch) for s in self.said for c in s.controls]

    def states(self, panes: int) -> list[State]:
        """States of the verdicts of the last panes."""
        return [v.state for s in self.said[-panes:] for v in s.verdicts]


def bench(**more: object) -> Bench:
    """A stream that has kept its target for half a day."""
    made = Bench(promise("ood_rate_24h", "<= 0.05", "24h", **more))
    made.give(72, GOOD)
    return made


def test_a_breach_engages_recovers_and_releases_in_one_epoch() -> None:
    """Law: released -> engaged -> recovering (V) -> released (hold); one control each way, of epoch 1."""
    court = bench()
    court.until(Change.ENGAGED, BAD)
    recovering = court.until(Change.RECOVERING, GOOD)
    released = court.until(Change.RELEASED, GOOD)

    assert recovering > 5
    assert released >= HOLD
    assert court.changes == [Change.ENGAGED, Change.RECOVERING, Change.RELEASED]
    assert court.controls() == [("engaged", 1), ("released", 1)]


def test_the_control_says_why_and_names_its_verdict() -> None:
    """Law: a control carries the id of the verdict of the same pane, the sentence and the stretch that broke the target."""
    court = bench()
    court.until(Change.ENGAGED, BAD)
    said = court.said[-1]

    assert [v.state for v in said.verdicts] == ["breached"]
    assert said.controls[0].verdict_id == said.verdicts[0].verdict_id
    assert said.controls[0].cause == "ood_rate_24h misses <= 0.05 in the whole model: 0.5"
    assert said.controls[0].ts == said.verdicts[0].ts == court.pane * 600_000


def test_a_relapse_in_recovery_resumes_the_same_epoch_without_a_page() -> None:
    """Law: recovering -> engaged if M^h >= C_warn, V := 0, no control."""
    court = bench()
    court.until(Change.ENGAGED, BAD)
    court.until(Change.RECOVERING, GOOD)
    court.until(Change.RESUMED, BAD, 5)
    log_v = court.machine.alarms.engaged[0].recovery.log_v

    assert court.phase is Phase.ENGAGED
    assert log_v == -np.inf
    assert court.controls() == [("engaged", 1)]
    assert court.until(Change.RECOVERING, GOOD) >= HOLD  # the relapse must leave the hold too


def test_engaging_again_within_a_day_doubles_the_hold_up_to_a_day() -> None:
    """Law: within 24 h of a release the incident is updated (ENGAGED_AGAIN), in a new epoch, with twice the hold."""
    court, holds = bench(), []
    for again in range(6):
        court.until(Change.ENGAGED_AGAIN if again else Change.ENGAGED, BAD)
        holds.append(court.machine.alarms.engaged[0].hold)
        court.until(Change.RECOVERING, GOOD)
        assert court.until(Change.RELEASED, GOOD) >= holds[-1]

    assert holds == [12, 24, 48, 96, 144, 144]
    assert court.controls()[-1] == ("released", 6)


def test_engaging_a_day_after_a_release_pages_anew_with_the_plain_hold() -> None:
    """Law: exactly 24 h after the release is still the same incident, a pane later it is another."""
    for quiet, change in ((DAY, Change.ENGAGED), (DAY - 1, Change.ENGAGED_AGAIN)):
        court = bench()
        court.until(Change.ENGAGED, BAD)
        court.until(Change.RELEASED, GOOD)
        court.give(quiet, GOOD)
        court.give(1, (200, 200))

        assert court.changes[-1] is change
        assert court.machine.alarms.engaged[0].hold == (HOLD if change is Change.ENGAGED else 2 * HOLD)


def test_a_gap_longer_than_stale_after_pauses_the_hold() -> None:
    """Law: silence proves nothing. With stale_after 1 h, 6 panes of a gap count towards the hold and no more."""
    court = bench(stale_after="1h")
    court.until(Change.ENGAGED, BAD)
    court.until(Change.RECOVERING, GOOD)
    court.give(2, GOOD)
    court.give(100, None)
    paused = court.phase
    rest = court.until(Change.RELEASED, GOOD)

    assert paused is Phase.RECOVERING
    assert rest == HOLD - 2 - 6


def test_nothing_but_release_ends_a_breach() -> None:
    """Law: not a good value over the window, not silence, not a week of it: `breached` is a latch."""
    court = bench(min_events=1)
    court.until(Change.ENGAGED, BAD)
    court.give(3 * DAY, None)
    silent = court.states(3 * DAY)
    court.give(5, GOOD)

    assert set(silent) == {"breached"}
    assert set(court.states(5)) <= {"breached"}
    assert court.controls() == [("engaged", 1)]


def test_an_engaged_slot_does_not_page_again() -> None:
    """Law: a failure that goes on is one page however long its evidence grows."""
    court = bench()
    court.give(500, BAD)

    assert court.changes == [Change.ENGAGED]


def test_a_failure_that_outlives_max_hold_asks_a_person_once_and_stands() -> None:
    """Law: after max_hold the control says so again, in its epoch; it is neither released nor paged anew."""
    court = Bench(promise("ood_rate_24h", "<= 0.05", "24h"), release={"max_hold": "6h"})
    court.give(200, BAD)

    assert court.changes == [Change.ENGAGED, Change.HELD]
    assert court.controls() == [("engaged", 1), ("engaged", 1)]
    assert court.phase is Phase.ENGAGED


def test_a_verdict_is_written_on_change_and_once_per_twentyfourth_of_the_window() -> None:
    """Law: 6 panes of 144; the verdict that changes the state comes at once."""
    court = Bench(promise("ood_rate_24h", "<= 0.05", "24h"))
    court.give(60, GOOD)
    written = [place for place, s in enumerate(court.said) if s.verdicts]
    changed = [place for place in written if (6000 + place + 1) % BLOCK]

    assert [place for place in written if place not in changed] == list(range(5, 60, BLOCK))
    assert [court.said[place].verdicts[0].state for place in changed] == ["insufficient", "met"]


def test_silence_is_no_data_after_stale_after_and_never_met() -> None:
    """Law: 24 h without a prediction, then `no_data` at the next verdict; no verdict of an emptying window is `at_risk`."""
    court = bench(stale_after="2h")
    court.give(300, None)
    states = court.states(300)

    assert states[0] == "met"
    assert set(states[2:]) == {"no_data"}


def test_the_first_fact_that_holds_decides() -> None:
    """Law: VERDICTS.md section 3, all 64 combinations against a chain of ifs."""
    cases = list(product((False, True), repeat=6))
    names = ("breached", "no_data", "unidentified", "insufficient", "at_risk", "met")
    found = decide(Facts(*(np.array(column) for column in zip(*cases, strict=True))))
    slow = [next((name for name, held in zip(names, case, strict=True) if held), "insufficient") for case in cases]

    assert found == slow
    assert set(found) == set(get_args(State))


def reliability(n: int, y: int) -> Ints:
    """Counts of an ECE slot: n decisions at probability 33.5/64, all labelled, y positive."""
    row = np.zeros(BINS_FROM + 3 * 64, np.int64)
    row[0], row[BINS_FROM + 99 : BINS_FROM + 102] = n, (n, n * 67 << 25, y)
    return row


def ece_machine() -> Machine:
    """A machine for the ECE of a model as a whole."""
    policy = make_policy(promise("decision_ece_24h", "<= 0.05", "24h"))
    machine = build(Context(policy, policy.slos[0], "m", Learned({})))
    assert isinstance(machine, Machine)
    return machine


def calibration(versions: Sequence[str], panes: int) -> Machine:
    """A machine given `panes` of 50 decisions, .52 predicted and .76 true, by each version in turn."""
    machine = ece_machine()
    for turn, version in enumerate(versions):
        for pane in range(turn * panes, (turn + 1) * panes):
            machine.lead(version, pane - 1)
            machine.judge(pane, {"[]": reliability(50, 38)})
    return machine


def test_the_first_pane_that_a_version_leads_restarts_the_evidence() -> None:
    """Law: a new model version is judged by its own labels: evidence and signs begin anew, once per version."""
    one, two, back = calibration(["a"], 4), calibration(["a", "b"], 4), calibration(["a", "b", "a"], 2)

    assert two.alarms.log_m()[0] == pytest.approx(one.alarms.log_m()[0])
    assert two.alarms.floor == {0: 4}
    assert back.alarms.floor == {0: 2}
    assert back.alarms.log_m()[0] == pytest.approx(one.alarms.log_m()[0])


def versions_by_pane(machine: Machine, *panes: dict[str, int]) -> None:
    """Give a machine cohorts of decisions by model version through the axis; all are labelled, 30 % too few positives."""
    axis = CohortAxis(machine, Feed((1,), 1), Feed((1,), 1))
    for pane, made in enumerate(panes):
        count, cell = np.array(list(made.values())), np.array([[3 * 48, 3 * 48 + 1, 3 * 48 + 2]])
        sums = np.stack([count, count * (3 << 30), count * 45 // 100], axis=1)
        keys = np.arange(len(made))
        predictions = np.stack(np.broadcast_arrays(pane, NO_COHORT, 1, keys, 0, DECISIONS, count)).astype(np.int64)
        labels = np.stack([x.ravel() for x in np.broadcast_arrays(pane, pane, 1, keys[:, None], 0, cell, sums)])
        legend = Legend(tuple(made), ("[]",))
        axis.put(Rows(predictions, legend), Rows(labels.astype(np.int64), legend))
        axis.advance(0, pane, pane)


def test_only_the_version_with_most_predictions_leads() -> None:
    """Law: names of junk versions cannot keep evidence from growing; a version that takes over starts anew."""
    junk, taken = ece_machine(), ece_machine()
    versions_by_pane(junk, *({"a": 20, f"junk{i}": 10} for i in range(4)))
    versions_by_pane(taken, {"a": 20}, {"a": 20, "b": 10}, {"a": 10, "b": 20}, {"b": 20})

    assert junk.alarms.floor == {}
    assert taken.alarms.floor == {0: 2}
    assert int(junk.window.sums[0, 0]) == 120


def test_a_new_version_does_not_end_a_breach() -> None:
    """Law: the floor moves; the latch does not."""
    machine = calibration(["a"], 60)
    engaged = dict(machine.alarms.engaged)
    machine.lead("b", 60)

    assert list(engaged) == [0]
    assert machine.alarms.engaged == engaged


def test_ece_needs_its_decisions_column() -> None:
    """Of the helpers: the row has due labels first, then three cells per micro-bin."""
    machine = calibration(["a"], 1)

    assert machine.measure.column(DECISIONS) == 0
    assert machine.measure.column(3 * 33 + 2) == BINS_FROM + 101
    assert float(machine.measure.estimate(reliability(1000, 760)[None]).value[0]) == pytest.approx(0.2366, abs=0.01)
