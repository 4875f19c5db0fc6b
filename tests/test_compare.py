"""Two variants in the same time: counted apart, compared pane by pane, and acted on where the judged one serves."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.court import Court, Ints, Judged, delayed, make_policy, promise, rates, rows
from interlock.policies.load import load_policy
from interlock.policies.plan import DUE, FOUND, HIT, N
from interlock.policies.planning import make_plan
from interlock.records import Verdict
from tests.events import HOUR, START, History
from tests.test_laws import Cut, run

ARMS = {"variant": "canary", "to": "baseline"}


def court(name: str = "ood_rate_24h", target: str = "<= 0.01", **more: object) -> Court:
    return Court(make_policy(promise(name, target, "24h", compare=ARMS, **more)))


def arms(canary: tuple[Ints, Ints], baseline: tuple[Ints, Ints]) -> Ints:
    """Predictions of both variants: (n, hits) int64[T, 1] each."""
    tables = [rates(*canary), rates(*baseline)]
    tables[1][2] = 1
    return np.concatenate(tables, axis=1)


def judged(canary: tuple[int, float], baseline: tuple[int, float], panes: int = 150) -> Judged:
    """The same share of n events in every pane, for each variant."""
    made = [(np.full((panes, 1), n), np.full((panes, 1), round(n * share))) for n, share in (canary, baseline)]
    return court().judge(panes, arms(*made))


def last(told: Judged) -> Verdict:
    return max(told.verdicts, key=lambda verdict: verdict.ts)


def test_the_value_is_the_difference_of_both_shares_within_its_interval() -> None:
    told = last(judged((20, 0.1), (180, 0.1)))
    variants = told.evidence["variants"]

    assert told.value == 0
    assert told.lower is not None
    assert told.upper is not None
    assert told.lower < 0 < told.upper
    assert told.n == 200 * 144
    assert isinstance(variants, dict)
    assert [variants[name]["hits"] for name in ("canary", "baseline")] == [2 * 144, 18 * 144]


def test_a_breach_is_of_the_variant_and_of_nothing_else() -> None:
    told = judged((20, 0.3), (180, 0.1))

    assert [control.scope for control in told.controls if control.state == "engaged"] == [{"variant": "canary"}]
    assert last(told).state == "breached"
    assert "canary" in told.controls[0].cause


def test_what_is_bad_in_both_is_no_difference() -> None:
    assert judged((20, 0.9), (180, 0.9)).engaged() == []


def test_a_baseline_that_is_worse_is_met() -> None:
    assert last(judged((20, 0.05), (180, 0.3))).state == "met"


def test_a_silent_arm_is_no_data_and_a_thin_one_insufficient() -> None:
    silent, thin = last(judged((20, 0.1), (0, 0.0))), last(judged((10, 0.1), (180, 0.1), panes=6))

    assert silent.state == "no_data"
    assert "no predictions of baseline" in str(silent.evidence["reason"])
    assert thin.state == "insufficient"
    assert "60 effective events of 100" in str(thin.evidence["reason"])


def test_a_least_target_is_of_the_difference_too() -> None:
    panes = 150
    policy = make_policy(promise("ratio_24h", ">= -0.02", "24h", compare=ARMS, good="true"))
    n, other = np.full((panes, 1), 20), np.full((panes, 1), 180)
    bad = Court(policy).judge(panes, arms((n, n - 5), (other, other)))
    fine = Court(policy).judge(panes, arms((n, n), (other, other - 18)))

    assert last(bad).state == "breached"
    assert last(bad).value == -0.25
    assert last(fine).state == "met"


def test_labels_of_either_variant_that_are_missing_are_missed() -> None:
    policy = make_policy(
        promise("accuracy_24h", ">= -0.02", "24h", compare=ARMS), labels={"maturity": "1h", "join_ttl": "7d"}
    )
    panes, pane = 100, np.arange(100)[:, None]
    made, joined = [], []
    for arm, (n, found) in enumerate(((20, 20), (180, 100))):
        made.append(rows(pane, 0, DUE, np.full((panes, 1), n)))
        joined += [delayed(cell, [np.full((panes, 1), found)]) for cell in (N, FOUND, HIT)]
        made[-1][2] = arm
        for table in joined[-3:]:
            table[2] = arm
    told = last(Court(policy).judge(panes, np.concatenate(made, axis=1), np.concatenate(joined, axis=1)))

    assert told.state == "insufficient"
    assert str(told.evidence["reason"]).startswith("labels missing")


@pytest.mark.parametrize("name", ["ood_rate", "false_negative_rate"])
def test_variants_are_series_of_the_same_kind(name: str) -> None:
    policy = make_policy(promise(f"{name}_24h", "<= 0.01", "24h", compare=ARMS))
    plan = make_plan(policy)
    keys = [plan.series[place].key for place in plan.of_slo[0]]

    assert [key.split(" variant ")[1] for key in keys] == ['"canary"', '"baseline"']
    assert "variant" in plan.paths


POLICY = """
model: claims
labels: {maturity: 1h, join_ttl: 1d}
slos:
- {name: canary_fnr_6h, objective: o, indicator: false_negative_rate, compare: {variant: canary, to: baseline}, target: "<= 0.05",
   window: 6h, action_on_breach: degrade_to_safe_mode}
"""


def events(worse: float, hours: int = 12, per_hour: int = 400) -> History:
    """Positives whose prediction is wrong in a tenth of events, and in so many more of the canary's."""
    rng = np.random.default_rng(8)
    at = np.sort(rng.integers(0, hours * HOUR, hours * per_hour)) + START
    variants = rng.choice(["canary", "baseline", "other"], len(at), p=[0.2, 0.6, 0.2])
    wrong = rng.random(len(at)) < 0.1 + worse * (variants == "canary") + 0.5 * (variants == "other")
    made = [
        {"event_id": f"e{i}", "ts": int(t), "model": "claims", "model_version": "1", "prediction": bool(not w)}
        | ({} if i % 50 == 0 else {"variant": str(v)})
        for i, (t, v, w) in enumerate(zip(at, variants, wrong, strict=True))
    ]
    said = [{"event_id": one["event_id"], "ts": int(str(one["ts"])) + 60_000, "label": True} for one in made]
    encode = msgspec.json.encode
    return History([encode(one) for one in made], [encode(one) for one in said], START + (hours + 3) * HOUR)


def test_events_of_another_variant_or_of_none_count_in_neither_arm() -> None:
    told = [msgspec.json.decode(line) for line in run(events(0.0), Cut(), POLICY).verdicts.splitlines()]
    final = [one for one in told if one["slo"] == "canary_fnr_6h"][-1]
    shares = [part["value"] for part in final["evidence"]["variants"].values()]

    assert final["scope"] == {"variant": "canary"}
    assert max(shares) < 0.15
    assert final["state"] != "breached"


def test_a_worse_canary_is_degraded_and_the_others_serve_on() -> None:
    told = run(events(0.3), Cut(), POLICY)
    controls = [msgspec.json.decode(line) for line in told.controls.splitlines()]
    engaged = [one for one in controls if one["state"] == "engaged"]

    assert [one["scope"] for one in engaged] == [{"variant": "canary"}]
    assert [one["mode"] for one in engaged] == ["safe_mode"]


def test_the_full_policy_of_the_design_judges_its_comparison() -> None:
    policy = load_policy((Path(__file__).parent / "policies/good/full.yaml").read_bytes(), "full.yaml")

    assert "canary_fnr_24h" in [slo.name for slo in policy.slos_in_force]
