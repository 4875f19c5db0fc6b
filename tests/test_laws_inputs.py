"""Estimates without labels: the same however events are cut, as STREAM.md §7 has it; and nothing but themselves follows."""

import json
from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings

from interlock.policies.only_inputs import KEY
from interlock.streams.reference import Reference
from tests.estimating import fitted, policy, told, unfitted
from tests.events import History
from tests.test_laws import CUTS, Cut, Run, run, same

SLOS = (
    "name: accuracy_6h, target: '>= 0.62', per: tenant",
    "name: precision_6h, target: '>= 0.6'",
    "name: recall_6h, target: '>= 0.6'",
    "name: false_positive_rate_6h, target: '<= 0.4', per: tenant",
    "name: false_negative_rate_6h, target: '<= 0.4', where: score > 0.05",
    "name: brier_6h, target: '<= 0.24', per: tenant",
    "name: log_loss_6h, target: '<= 0.7'",
    "name: each_6h, indicator: accuracy, target: '>= 0.6', evidence: per_pane, per: tenant",
    "name: one_6h, indicator: recall, class: true, target: '>= 0.6'",
)
POLICY = policy(SLOS)
ESTIMATED = 7
"""SLOs that have an estimate: all but the last two."""


@cache
def events() -> History:
    """Return a history whose scores mean less from the eighth hour on; one in 60 has none."""
    rng = np.random.default_rng(2)
    scores = rng.beta(2, 2, 1800)
    true = np.where(np.arange(1800) < 960, scores, 0.5 - 0.4 * (scores - 0.5))
    made = told(scores, rng.random(1800) < true, 15)
    bare = [line if i % 60 else line.replace(b'"score"', b'"was"') for i, line in enumerate(made.predictions)]
    return History(bare, made.outcomes, made.end)


@cache
def reference() -> Reference:
    """Return what was learned where scores meant what they said."""
    rng = np.random.default_rng(1)
    scores = rng.beta(2, 2, 4000)
    return fitted(told(scores, rng.random(4000) < scores, 48))


@cache
def straight() -> Run:
    """Return what a straight run says."""
    return run(events(), Cut(), POLICY, reference())


def without(verdicts: bytes) -> list[dict[str, Any]]:
    """Return verdicts without their estimates."""
    found = [json.loads(line) for line in verdicts.splitlines()]
    return [one | {"evidence": {k: v for k, v in one["evidence"].items() if k != KEY}} for one in found]


def test_the_history_breaks_slos_and_has_estimates_where_the_indicator_has_them() -> None:
    """Otherwise equality would say little."""
    said = [json.loads(line) for line in straight().verdicts.splitlines()]
    names = {one["slo"] for one in said if KEY in one["evidence"]}

    assert names == {slo.split(":")[1].split(",")[0].strip() for slo in SLOS[:ESTIMATED]}
    assert len({one["scope"].get("slice") for one in said if KEY in one["evidence"]}) == 1 + 3 + 1
    assert len(straight().controls.splitlines()) >= 5


@given(CUTS)
@settings(max_examples=6, deadline=None)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(cut: Cut) -> None:
    same(run(events(), cut, POLICY, reference()), straight())


def test_disorder_within_lateness_says_the_same() -> None:
    shuffled = events().shuffled(np.random.default_rng(1), within_ms=4 * 60_000)

    same(run(shuffled, Cut((419,), 2), POLICY, reference()), straight())


def test_what_the_inputs_alone_would_do_changes_no_state_no_control_and_no_id() -> None:
    bare = run(events(), Cut(), POLICY, unfitted(reference()))

    assert KEY.encode() not in bare.verdicts
    assert straight().verdicts.count(KEY.encode()) > 100
    assert without(straight().verdicts) == without(bare.verdicts)
    assert straight().controls == bare.controls
    assert KEY.encode() not in straight().controls
