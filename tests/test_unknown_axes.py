"""`on_unknown` on the judge: panes of every axis, silence that is jumped over, slots, people, a replay (VERDICTS.md §3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from interlock.policies.said import Said
from interlock.records import State
from interlock.streams import axes
from interlock.streams.judge import Judge
from tests import replaying
from tests.tallying import (
    POLICY,
    START,
    TICK,
    Book,
    book,
    controls,
    everyone,
    filled,
    ms,
    new_judge,
    resumed,
    text,
    told,
)

MINUTE = 60_000


def silence(judge: Judge, *clocks: int) -> list[Said]:
    """Declare everything idle and let time pass to these ticks."""
    said = [one for step in everyone(judge.shards) for one in told(judge, step)]
    return said + [one for tick in clocks for one in told(judge, ("clock", ms(tick)))]


def unknown(said: Sequence[Said], slo: str) -> list[tuple[int, str, str]]:
    """Return (tick, transition, scope) of the controls of one state of an SLO, in order of time."""
    found = [c for c in controls(said) if c.slo == slo]
    return [(c.ts // TICK - START, c.state, ",".join(c.scope.values())) for c in sorted(found, key=lambda c: c.ts)]


def began(said: Sequence[Said], slo: str, state: State, scope: str = "") -> int:
    """Return the tick of the first verdict of a state."""
    found = (v for s in said for v in s.verdicts if (v.slo, v.state, ",".join(v.scope.values())) == (slo, state, scope))
    return min(v.ts for v in found) // TICK - START


def test_silence_engages_when_the_clock_has_passed_since_and_for_and_ends_with_data() -> None:
    """Law: no_data after an hour without a prediction, 15 min = 30 ticks more; the pool stays, its slices are freed."""
    judge, made = new_judge(1), Book()
    for piece in range(3):
        made.ood(3, 200, 0, piece)
    said = judge.apply([made.record(0, "predictions", None, 19)]) + silence(judge, 100, 3000)
    since = began(said, "ood_rate_1h", "no_data", "(other)")
    more = Book()
    more.ood(3001, 200, 0, 2)
    back = judge.apply([more.record(0, "predictions", 19, 3019)])
    [engaged] = unknown(said, "ood_rate_1h.no_data")

    assert engaged == (since + 30, "engaged", "(other)")
    assert [c.parameters["by"] for c in controls(said) if c.slo == "ood_rate_1h.no_data"] == [["segment.tenant"]]
    assert unknown(back, "ood_rate_1h.no_data") == []  # the tenant has a slot now; nothing is in the pool


@pytest.mark.parametrize("clocks", [(9000,), range(400, 9001, 100), range(61, 9001, 613)])
def test_jumping_over_empty_time_says_the_same_as_walking_it(
    monkeypatch: pytest.MonkeyPatch, clocks: Sequence[int]
) -> None:
    """Law: patience longer than any margin, in all axes; wherever the clock records fall, resumed in between."""
    policy = POLICY.replace("no_data: {for: 15m", "no_data: {for: 25h").replace("{for: 40m", "{for: 26h")

    def run(*, walk: bool) -> tuple[list[tuple[int, str, str, str]], int]:
        monkeypatch.setattr(axes, "margin", (lambda _: 1 << 40) if walk else margin)
        judge = new_judge(1, policy)
        made, joined = filled_until(60)
        said = judge.apply([made.record(0, "predictions", None, 79), joined.record(0, "joined", None, 79)])
        said += silence(judge, *clocks[: len(clocks) // 2])
        judge = resumed(judge)
        said += silence(judge, *clocks[len(clocks) // 2 :])
        found = [c for c in controls(said) if "." in c.slo]
        return sorted((c.ts, c.slo, c.state, str(c.scope)) for c in found), sum(len(s.verdicts) for s in said)

    margin = axes.margin
    walked, many = run(walk=True)
    jumped, few = run(walk=False)

    assert jumped == walked
    silent = ("ood_rate_1h", "decision_ece_1h", "never_event_violations")
    assert {slo for _, slo, *_ in jumped} == {f"{slo}.no_data" for slo in silent}
    assert few < many // 10


def filled_until(ticks: int) -> tuple[Book, Book]:
    """Counts of one shard, with a tenant in the pool."""
    return filled(np.random.default_rng(5), ticks)


def test_labels_that_never_come_are_insufficient_for_long_enough() -> None:
    """Law: by cohort too: 20 min of maturity pass, the verdict is insufficient from the first pane on, 40 min = 80 ticks."""
    judge = new_judge(1)
    made = book(*range(200))
    said = judge.apply([made.record(0, "predictions", None, 199), Book().record(0, "joined", None, 199)])
    [engaged] = [c for c in controls(said) if c.slo == "decision_ece_1h.insufficient"]

    assert began(said, "decision_ece_1h", "insufficient") == 1
    assert unknown(said, "decision_ece_1h.insufficient") == [(81, "engaged", "")]
    assert engaged.evidence["reason"].startswith("labels missing: 0 of ")
    assert engaged.parameters == {}


def test_a_never_event_that_cannot_be_decided_acts_by_version_and_a_violation_ends_the_unknown() -> None:
    judge = new_judge(1)
    made = book(*range(100))
    for tick in range(100):
        made.undecidable(tick, 30)
    made.violation(85)
    said = judge.apply([made.record(0, "predictions", None, 99)])

    assert began(said, "never_event_violations", "unidentified", "1") == 20
    assert unknown(said, "never_event_violations.unidentified") == [(40, "engaged", "1"), (100, "released", "1")]
    assert unknown(said, "never_event_violations") != []


SHORT = POLICY.replace("per: tenant}", "per: tenant, stale_after: 20m}")


def test_the_control_of_a_slice_that_is_judged_no_more_ends() -> None:
    """Law: a slice is silent for 20 min, then no_data for 15; its slot is freed after a window, and with it the control."""
    judge = new_judge(1, SHORT)
    said = judge.apply([book(3).record(0, "predictions", None, 19)]) + silence(judge, 400)
    found = unknown(said, "ood_rate_1h.no_data")
    since = began(said, "ood_rate_1h", "no_data", "tenant=a")

    assert [one[1:] for one in found] == [("engaged", "tenant=a"), ("released", "tenant=a")]
    assert found[0][0] == since + 30
    assert 123 < found[1][0] <= 123 + 2 * 5
    assert [c.cause for c in controls(said) if c.state == "released" and "judged no more" in c.cause] != []


def test_a_person_ends_it_and_its_time_is_counted_anew() -> None:
    """Law: exactly what is named ends, in silence too; the state stands, so 15 min later it engages in the next epoch."""
    judge = new_judge(1)
    made = Book()
    for piece in range(3):
        made.ood(3, 200, 0, piece)
    said = judge.apply([made.record(0, "predictions", None, 19)]) + silence(judge, 1000)
    [one] = [c for c in controls(said) if c.slo == "ood_rate_1h.no_data"]
    named = (one.model, one.slo, one.scope, one.control_id)
    wrong = judge.release(*named, 2, ms(1000), "ann", "") + judge.release(
        "m", "ood_rate_1h", *named[2:], 1, 0, "ann", ""
    )
    [released] = judge.release(*named, 1, ms(1000), "ann", "known outage")
    judge = resumed(judge)
    rest = judge.clock(ms(2000))

    assert wrong == []
    assert (released.slo, released.state, released.cause) == (one.slo, "released", "released by ann: known outage")
    assert unknown(rest, one.slo) == [(1000 + 30, "engaged", "(other)")]
    assert [c.epoch for c in controls(rest) if c.slo == one.slo] == [2]


def test_the_percentile_of_endpoints_stays_unknown_as_a_whole() -> None:
    policy = POLICY.replace("decision_ece_1h,", "decision_ece_p95_1h, where: 'true',").replace(
        "lateness: 1m", "lateness: 1m\nendpoint: segment.endpoint"
    )
    judge = new_judge(1, policy)
    said = judge.apply([book(*range(200)).record(0, "predictions", None, 199), Book().record(0, "joined", None, 199)])
    again = new_judge(1, policy)
    halves = again.apply([book(*range(200)).record(0, "predictions", None, 199), Book().record(0, "joined", None, 50)])
    again = resumed(again)
    halves += again.apply([Book().record(0, "joined", 50, 199)])

    assert unknown(said, "decision_ece_p95_1h.insufficient") == [(81, "engaged", "")]
    assert text(halves) == text(said)


# -- in a replay -------------------------------------------------------------------------------------------------------


def test_a_replay_acts_on_an_outage_and_lets_go_when_traffic_returns(tmp_path: Path) -> None:
    """Law: live equals replay: six hours without an event, then no_data, 15 min more; its record names that verdict."""
    policy = replaying.POLICY + "on_unknown: {no_data: {for: 15m, action: degrade_to_safe_mode}}\n"
    events = [replaying.prediction(i) for i in [*range(120), *range(800, 920)]]
    ran = replaying.replay_lines(tmp_path, events, policy=policy)
    verdicts = {v["verdict_id"]: v for v in ran.lines("verdicts")}
    found = [((c["ts"] - replaying.START) // MINUTE, c["slo"], c["state"], c["mode"]) for c in ran.lines("control")]
    named = [verdicts[c["verdict_id"]] for c in ran.lines("control")]

    assert found == [
        (495, "decision_ece_6h.no_data", "engaged", "safe_mode"),
        (810, "decision_ece_6h.no_data", "released", "safe_mode"),
    ]
    assert [((v["ts"] - replaying.START) // MINUTE, v["state"]) for v in named] == [
        (480, "no_data"),
        (810, "insufficient"),
    ]
    assert ran.counted("behind") == 0
