"""Issue 5, "Bad input": what is odd about a stream ends in a state, and what does not matter changes nothing.

Beside test_means (labels that flip, a class never seen), test_replay_bad_input (infinities, a reference of another model)
and test_laws (merging in any order).
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.court import Court, make_policy, promise, rates, tenants
from benchmarks.tables import fitted, frame
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.records import Verdict, control_line, verdict_line
from interlock.streams.decode import prediction_decoder
from interlock.streams.pipeline import Pipeline
from interlock.streams.reference import Reference

ROWS = 3000
POLICY = {"model": "m", "false_pages_per_year": 50}
SLOS = [promise("ood_rate_24h", "<= 0.05", "24h"), promise("unseen_rate_24h", "<= 0.05", "24h")]
MISSING = promise("missing_rate_24h", "<= 0.05", "24h")


def features(seed: int, rows: int = ROWS) -> dict[str, Any]:
    """Return two numbers and a category of familiar people."""
    rng = np.random.default_rng(seed)
    return {
        "amount": rng.normal(size=rows).round(3),
        "age": rng.integers(18, 90, rows).astype(np.float64),
        "kind": rng.choice(["a", "b", "c"], rows),
    }


def said(reference: Reference, made: dict[str, Any], *more: dict[str, object]) -> tuple[list[Verdict], bytes]:
    """Return the verdicts of a stream of these features, 20 s apart, and all outputs as lines."""
    plan = make_plan(load_policy(json.dumps(POLICY | {"slos": [*SLOS, *more]}).encode(), "bad.yaml"))
    pipeline = Pipeline(plan, reference, b"")
    batch, dead = prediction_decoder(reference.wanted(plan.paths), b"")(frame(made, spacing=20_000))
    heard = [pipeline.read(batch), pipeline.end("predictions"), pipeline.end("outcomes"), pipeline.finish()]
    verdicts = [verdict for one in heard for verdict in one.verdicts]
    controls = [control for one in heard for control in one.controls]

    assert not dead
    assert verdicts
    return verdicts, b"".join([*map(verdict_line, verdicts), *map(control_line, controls)])


def test_one_slice_with_three_events_is_insufficient_and_hides_nothing_of_the_others() -> None:
    of = Court(make_policy(promise("ood_rate_7d", "<= 0.05", "7d"), 3), tenants(3))
    rng = np.random.default_rng(60)
    n = rng.poisson(50, (200, 3))
    n[:, 2] = 0
    n[100:103, 2] = 1
    hits = rng.binomial(n, [0.01, 0.3, 1.0])
    judged = of.judge(200, rates(n, hits))
    states = {
        scope: {v.state for v in judged.verdicts if v.scope == {"slice": scope} and judged.pane(v) >= 110}
        for scope in of.scopes
    }

    assert states == {"tenant=t0": {"met"}, "tenant=t1": {"breached"}, "tenant=t2": {"insufficient"}}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_features_changes_nothing_that_is_said(seed: int) -> None:
    made = features(100 + seed)
    order = np.random.default_rng(seed).permutation(list(made)).tolist()

    learned = fitted(features(1)), fitted({name: features(1)[name] for name in order})

    assert said(learned[0], made)[1] == said(learned[1], {name: made[name] for name in order})[1]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaling_a_column_that_the_reference_does_not_have_changes_nothing(factor: float) -> None:
    reference, noise = fitted(features(1)), np.random.default_rng(3).normal(size=ROWS)

    plain, scaled = (said(reference, features(2) | {"irrelevant": values})[1] for values in (noise, factor * noise))

    assert plain == scaled


def test_features_that_are_constant_or_missing_in_the_reference_end_in_states_without_nan() -> None:
    past = features(1) | {"constant": np.full(ROWS, 7.0), "empty": pa.nulls(ROWS, pa.float64())}
    now = features(2) | {"constant": np.full(ROWS, 7.0), "empty": pa.nulls(ROWS, pa.float64())}

    verdicts, lines = said(fitted(past), now)

    assert {v.state for v in verdicts} <= {"met", "at_risk", "insufficient"}
    assert verdicts[-1].state == "met"
    assert b"nan" not in lines.lower().replace(b"tenant", b"")
    assert b"inf" not in lines.lower()


def test_a_stream_without_the_features_of_its_reference_breaches_the_missing_rate_and_is_nowhere_green() -> None:
    """Law: an event that has none of the features is not familiar, and is not scored: no rate of it is met."""
    verdicts, _ = said(fitted(features(1)), {"other": np.zeros(ROWS)}, MISSING)
    states = {slo: {v.state for v in verdicts if v.slo == slo} for slo in {v.slo for v in verdicts}}

    assert "breached" in states["missing_rate_24h"]
    assert states["ood_rate_24h"] <= {"no_data", "insufficient"}
    assert states["unseen_rate_24h"] <= {"no_data", "insufficient"}


def test_a_category_of_which_every_value_is_new_breaches_and_names_no_more_than_it_may() -> None:
    made = features(2) | {"kind": np.array([f"id-{i}" for i in range(ROWS)])}
    verdicts, lines = said(fitted(features(1)), made)

    assert "breached" in {v.state for v in verdicts if v.slo == "unseen_rate_24h"}
    assert max(len(line) for line in lines.splitlines()) < 20_000
