"""`on_unknown` of the policy: what engages when a verdict stays unknown, when exactly, and what ends it (VERDICTS.md §3)."""

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.court import make_context, promise
from interlock.policies.context import Context
from interlock.policies.controls import by_itself
from interlock.policies.said import Said
from interlock.policies.unknown import Unknowns
from interlock.records import Control, State, Verdict
from interlock.streams import checkpoint
from tests.tallying import POLICY, TICK, book, controls, everyone, ms, new_judge, told

MINUTE = 60_000
ASKED = {
    "no_data": {"for": "15m", "action": "route_to_human_review"},
    "unidentified": {"for": "7m", "action": "throttle"},
    "insufficient": {"for": "1m", "action": "notify"},
}
PATIENCE = {"no_data": 15 * MINUTE, "unidentified": 7 * MINUTE, "insufficient": MINUTE}
STATES: tuple[State, ...] = ("met", "at_risk", "breached", "insufficient", "unidentified", "no_data")


def context(asked: dict[str, object]) -> Context:
    """An OOD rate over an hour: panes of 30 seconds."""
    return make_context(promise("ood_rate_1h", "<= 0.05", "1h"), 3, on_unknown=asked)


def verdict(state: State, ts: int, scope: str = "a") -> Verdict:
    """A verdict of one scope with all that matters here."""
    return Verdict(
        verdict_id=f"{scope}{ts}", model="m", slo="ood_rate_1h", scope={"slice": scope}, ts=ts, window_start=0,
        window_end=ts, state=state, value=None, lower=None, upper=None, n=0, label_coverage=None, target="<= 0.05",
        evidence={"reason": f"it is {state}"} if state != "met" else {}, policy_digest="d",
    )  # fmt: skip


def passed(
    states: Sequence[dict[str, State | None]], *, stop: Callable[[int], bool] = lambda _: False
) -> list[Control]:
    """Return the controls of panes whose verdicts are these by scope; None: the slot is freed. State may be resumed."""
    asked = context(dict(ASKED))
    unknowns, found = Unknowns(asked, by_itself), list[Control]()
    for pane, row in enumerate(states):
        ts = (pane + 1) * TICK
        said = Said([verdict(state, ts, scope) for scope, state in row.items() if state], ts=ts)
        said.freed = [{"slice": scope} for scope, state in row.items() if state is None]
        found += unknowns.hear(said)
        if stop(pane):
            again = Unknowns(asked, by_itself)
            again.restore(checkpoint.decode(checkpoint.encode(unknowns.snapshot())))
            unknowns = again
    return found


def slow(states: Sequence[dict[str, State | None]]) -> list[tuple[int, str, str, str]]:
    """Return (ts, scope, SLO, transition) by looking, at every pane, at the state of every pane before."""
    found = []
    for scope in sorted({scope for row in states for scope in row}):
        held: list[State | None] = []
        for row in states:
            held.append(row.get(scope, held[-1] if held else None))
        engaged = None
        for pane, state in enumerate(held):
            ts = (pane + 1) * TICK
            begun = next(p for p in range(pane, -1, -1) if p == 0 or held[p - 1] != state)
            if engaged and state != engaged:
                found.append((ts, scope, f"ood_rate_1h.{engaged}", "released"))
                engaged = None
            if engaged is None and state in PATIENCE and ts - (begun + 1) * TICK >= PATIENCE[state]:
                found.append((ts, scope, f"ood_rate_1h.{state}", "engaged"))
                engaged = state
    return sorted(found)


rows = st.lists(
    st.tuples(st.integers(1, 40), st.dictionaries(st.sampled_from("abc"), st.sampled_from([*STATES, None]))),
    max_size=25,
)


@given(rows, st.integers(1, 60))
def test_each_engages_at_its_pane_and_ends_with_its_state_as_if_seen_pane_by_pane(
    changes: list[tuple[int, dict[str, State | None]]], every: int
) -> None:
    """Law: verdicts come on change and now and then; what engages is what a look at all of the past says; resumed too."""
    states = [row if place == 0 else {} for panes, row in changes for place in range(panes)]
    found = passed(states, stop=lambda pane: pane % every == 0)

    assert sorted((c.ts, c.scope["slice"], c.slo, c.state) for c in found) == slow(states)


def test_the_control_says_which_state_since_when_and_why() -> None:
    found = passed([{"a": "met"}, {"a": "no_data"}, *[{}] * 40, {"a": "met"}])
    engaged, released = found

    assert engaged.ts == 2 * TICK + 15 * MINUTE
    assert (engaged.slo, engaged.action, engaged.mode) == (
        "ood_rate_1h.no_data",
        "route_to_human_review",
        "human_review",
    )
    assert engaged.cause == "ood_rate_1h is no_data for 15m in a: it is no_data"
    assert engaged.evidence == {"since": 2 * TICK, "for": 15 * MINUTE, "reason": "it is no_data"}
    assert engaged.verdict_id == f"a{2 * TICK}"
    assert (released.state, released.control_id, released.epoch) == ("released", engaged.control_id, 1)
    assert released.cause == "ood_rate_1h is no longer no_data in a: it is met"
    assert released.verdict_id == f"a{43 * TICK}"


def test_every_state_has_epochs_of_its_own() -> None:
    """Law: SLO.state is part of the identity, so that neither moves the other's ids, nor the SLO's own."""
    states: list[dict[str, State | None]] = []
    for state in ("no_data", "unidentified", "no_data"):
        states += [{"a": state}, *[{}] * 40]
    found = [c for c in passed(states) if c.state == "engaged"]

    assert [(c.slo.split(".")[1], c.epoch) for c in found] == [("no_data", 1), ("unidentified", 1), ("no_data", 2)]
    assert len({c.control_id for c in found}) == 3


def test_a_policy_that_asks_for_nothing_gets_nothing() -> None:
    policy = POLICY.replace(POLICY[POLICY.index("on_unknown") : POLICY.index("never_events")], "")
    judge = new_judge(1, policy)
    said = judge.apply([book(0).record(0, "predictions", None, 19)])
    for step in (*everyone(1), ("clock", ms(2000))):
        said += told(judge, step)

    assert any(v.state == "no_data" for s in said for v in s.verdicts)
    assert controls(said) == []
