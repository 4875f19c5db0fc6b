"""Alarms as state: resumed from bytes at any pane they change the same way at the same panes."""

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.mirror import Mirror
from interlock.detectors.proportion import ProportionEvidence
from interlock.policies.alarm import Alarms, Bank, Change, Transition
from interlock.policies.panes import Thresholds
from interlock.streams import checkpoint

EVIDENCE = ProportionEvidence.build(0.1)
THRESHOLDS = Thresholds(
    panes_per_year=8766.0,
    page=2000.0,
    warn=100.0,
    release=300.0,
    window_panes=48,
    hold_panes=4,
    max_hold_panes=60,
    pane_ms=3_600_000,
)
SLOTS = 3


def alarms(*, latched: bool = False) -> Alarms:
    bank = Bank(THRESHOLDS, EVIDENCE.bad_weights, lambda: Mirror(EVIDENCE.good_weights), 12)
    return Alarms(SLOTS, bank, latched=latched)


def counts(panes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return hits and n, int64[panes, SLOTS]: good, bad, good with short bad spells, silent for a while, bad to the end."""
    rng = np.random.default_rng(11)
    rate = np.full((panes, SLOTS), 0.03)
    rate[30:60] = 0.5
    for start in range(70, 220, 17):
        rate[start : start + 3, 0] = 0.38
    rate[150:, 2] = 0.4
    n = rng.poisson(12, (panes, SLOTS))
    n[110:135, 1] = 0
    return rng.binomial(n, rate).astype(np.int64), n.astype(np.int64)


def passed(state: Alarms, pane: int, hits: NDArray[np.int64], n: NDArray[np.int64]) -> list[Transition]:
    good = EVIDENCE.log_good(hits, n)
    return state.step(pane, EVIDENCE.log_bad(hits, n), n > 0, lambda slot: good[slot])


def test_alarms_resumed_at_any_pane_change_as_if_never_stopped() -> None:
    hits, n = counts(240)
    straight, resumed = alarms(), alarms()
    seen: set[Change] = set()
    for pane in range(len(n)):
        expected = passed(straight, pane, hits[pane], n[pane])
        again = alarms()
        again.restore(checkpoint.decode(checkpoint.encode(resumed.snapshot())))
        resumed = again

        assert passed(resumed, pane, hits[pane], n[pane]) == expected
        for slot, state in straight.engaged.items():
            assert resumed.engaged[slot].recent.log_m(pane) == state.recent.log_m(pane)
        seen |= {one.change for one in expected}
    assert seen == set(Change) - {Change.WORSENED}


def test_a_person_is_asked_once_when_max_hold_has_passed_and_the_control_stands() -> None:
    hits, n = counts(240)
    state, asked = alarms(), []
    for pane in range(len(n)):
        asked += [(one.slot, pane) for one in passed(state, pane, hits[pane], n[pane]) if one.change is Change.HELD]

    since = state.engaged[2].since
    assert [pane for slot, pane in asked if slot == 2] == [since + THRESHOLDS.max_hold_panes]


def test_a_latched_alarm_recovers_by_no_proof_and_starts_anew_when_a_person_lets_go() -> None:
    """Law: what a kill switch is for, only people end; slot 0 has been good for long when one does, and fails again."""
    hits, n = counts(240)
    state, seen = alarms(latched=True), list[Transition]()
    for pane in range(len(n)):
        seen += passed(state, pane, hits[pane], n[pane])
        if pane == 130:
            seen.append(state.release(0, pane))

    assert [one.change for one in seen if one.slot == 1] == [Change.ENGAGED, Change.HELD]
    found = [one.change for one in seen if one.slot == 0]
    assert found[:3] == [Change.ENGAGED, Change.HELD, Change.RELEASED]
    assert set(found[3:]) <= {Change.ENGAGED_AGAIN, Change.ENGAGED, Change.HELD}
    assert state.floor[0] > 131
