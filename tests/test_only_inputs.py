"""What performance would be if only the inputs had changed: right as long as that is so, and blind to all else."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from interlock.detectors.ece import BINS
from interlock.detectors.fixed import SCALE
from interlock.detectors.reliability import LEAST, Reliability, rates
from interlock.errors import UserError
from interlock.policies.only_inputs import COLUMNS, KEY, UNPLACED, OnlyInputs
from interlock.policies.plan import KINDS
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.streams.reference import Reference, from_bytes, save, to_bytes
from tests.estimating import Floats, Say, binary, fitted, policy, told, unfitted, words
from tests.events import HOUR, START, History
from tests.replaying import Event, command
from tests.test_laws import Cut, run

Ints = NDArray[np.int64]

STATED_ERROR = 0.02
"""What an estimate from 20,000 rows of a reference may be off by, of a window whose scores lie where the reference's did."""

HOURS, PER_HOUR, ROWS = 12, 500, 20_000


def modest(p: Floats) -> Floats:
    """How often an overconfident model is right: its log-odds are three times too large."""
    odds = np.log(p / (1 - p)) / 3
    return np.asarray(1 / (1 + np.exp(-odds)))


@cache
def reference(say: Say = binary) -> Reference:
    """Return what an overconfident model did in the reference: mostly easy cases."""
    rng = np.random.default_rng(1)
    scores = np.clip(rng.beta(0.5, 0.5, ROWS), 0.001, 0.999)
    return fitted(told(scores, rng.random(ROWS) < modest(scores), 240, say))


def judged(slos: tuple[str, ...], true: Callable[[Floats], Floats], known: Reference, **more: object) -> list[Event]:
    """Return the verdicts that have a value, of harder cases whose labels come true as told."""
    rng = np.random.default_rng(5)
    scores = np.clip(rng.beta(1.5, 3, HOURS * PER_HOUR), 0.001, 0.999)
    say, labels = more.get("say", binary), str(more.get("labels", ""))
    assert callable(say)
    made = told(scores, rng.random(len(scores)) < true(scores), HOURS, say)
    said = map(json.loads, run(made, Cut(), policy(slos, labels), known).verdicts.splitlines())
    return [one for one in said if one["value"] is not None]


def last(
    slos: tuple[str, ...], true: Callable[[Floats], Floats], known: Reference, **more: object
) -> Mapping[str, Event]:
    """Return the last of them, of each SLO."""
    return {one["slo"]: one for one in judged(slos, true, known, **more)}


def estimate(verdict: Event) -> float:
    found = verdict["evidence"][KEY]
    assert found["n"] > 500
    return float(found["value"])


SLOS = tuple(
    f"name: {name}_6h, target: '{target}'"
    for name, target in (
        ("accuracy", ">= 0.6"),
        ("precision", ">= 0.5"),
        ("recall", ">= 0.3"),
        ("false_positive_rate", "<= 0.4"),
        ("false_negative_rate", "<= 0.9"),
        ("brier", "<= 0.25"),
        ("log_loss", "<= 0.9"),
    )
)


def test_where_only_the_inputs_have_changed_every_estimate_is_the_value_that_labels_will_show() -> None:
    """Calibration is poor but unchanged: what was stated would mislead, what came true in the reference does not."""
    found = last(SLOS, modest, reference())

    assert len(found) == len(SLOS)
    for name, verdict in found.items():
        sampling = 4 * np.sqrt(0.25 / verdict["n"])
        assert estimate(verdict) == pytest.approx(verdict["value"], abs=STATED_ERROR + sampling), name
    assert abs(estimate(found["accuracy_6h"]) - 0.72) > 2 * STATED_ERROR, "what the reference's own mix would get"


def test_the_estimate_is_within_its_stated_error_of_what_is_expected_of_the_window() -> None:
    rng = np.random.default_rng(5)
    scores = np.clip(rng.beta(1.5, 3, HOURS * PER_HOUR), 0.001, 0.999)
    expected = float(np.maximum(modest(scores), 1 - modest(scores)).mean())

    assert estimate(last(SLOS[:1], modest, reference())["accuracy_6h"]) == pytest.approx(expected, abs=STATED_ERROR)
    assert float(np.maximum(scores, 1 - scores).mean()) > expected + 2 * STATED_ERROR, "what was stated would mislead"


def test_where_labels_mean_something_else_the_estimate_stays_and_the_value_falls() -> None:
    """Its blind spot, and the reason why it may decide nothing."""
    before, after = (
        {verdict["ts"]: verdict for verdict in judged(SLOS[:1], true, reference())}
        for true in (modest, lambda p: 1 - modest(p))
    )
    both = sorted(before.keys() & after.keys())[3:]

    assert len(both) > 20
    assert [estimate(after[ts]) for ts in both] == [estimate(before[ts]) for ts in both]
    assert all(after[ts]["value"] < before[ts]["value"] - 0.1 for ts in both)
    assert {before[ts]["state"] for ts in both} <= {"met", "at_risk", "insufficient"}
    assert after[both[-1]]["state"] == "breached"


def test_of_many_classes_it_is_how_often_the_likeliest_was_right() -> None:
    found = last(SLOS[:1], modest, reference(words), say=words)["accuracy_6h"]
    named = last(SLOS[1:2], modest, reference(words), say=words, labels=", positive: [cat]")

    assert estimate(found) == pytest.approx(found["value"], abs=STATED_ERROR + 0.04)
    assert all(KEY not in verdict["evidence"] for verdict in named.values())


def test_labels_that_the_reference_does_not_read_leave_what_was_right_by_name() -> None:
    def paid(p: float, y: bool) -> tuple[Event, object]:
        return {"score": p, "prediction": "pay" if p >= 0.5 else "hold"}, "pay" if y else "hold"

    found = last(SLOS[:2], modest, reference(paid), say=paid, labels=", positive: [pay]")

    assert estimate(found["accuracy_6h"]) == pytest.approx(found["accuracy_6h"]["value"], abs=STATED_ERROR + 0.04)
    assert KEY not in found["precision_6h"]["evidence"]


def test_the_class_that_the_policy_says_counts_and_not_the_likelier_one() -> None:
    found = last(SLOS[:3], modest, reference(), labels=', predicted: "score >= 0.25"')

    for verdict in found.values():
        assert estimate(verdict) == pytest.approx(verdict["value"], abs=STATED_ERROR + 0.04)
    assert estimate(found["recall_6h"]) > estimate(last(SLOS[2:3], modest, reference())["recall_6h"]) + 0.1


@pytest.mark.parametrize(
    "known", [unfitted, lambda one: replace(one, model="another")], ids=["unknown calibration", "another model's"]
)
def test_without_the_models_own_calibration_there_is_no_estimate(known: Callable[[Reference], Reference]) -> None:
    found = last(SLOS[:1], modest, known(reference()))

    assert KEY not in found["accuracy_6h"]["evidence"]


@pytest.mark.parametrize("share", [2, 40])
def test_if_more_than_a_twentieth_states_nothing_there_is_no_estimate(share: int) -> None:
    turn = iter(range(10**6))

    def silent(p: float, y: bool) -> tuple[Event, object]:
        made, label = binary(p, y)
        return ({"prediction": made["prediction"]} if next(turn) % share == 0 else made), label

    found = last(SLOS[:1], modest, reference(), say=silent)["accuracy_6h"]["evidence"]

    assert (KEY in found) == (share == 40)


def test_in_silence_the_estimate_ends_with_the_window() -> None:
    rng = np.random.default_rng(7)
    scores = rng.random(600)
    made = told(scores, rng.random(600) < scores, 2)
    late = {"event_id": "late", "ts": START + 11 * HOUR, "model": "claims", "score": 0.7, "prediction": True}
    label = {"event_id": "late", "ts": START + 11 * HOUR + 1, "label": True}
    events = History(
        [*made.predictions, msgspec.json.encode(late)], [*made.outcomes, msgspec.json.encode(label)], made.end
    )
    said = [json.loads(line) for line in run(events, Cut(), policy(SLOS[:1]), reference()).verdicts.splitlines()]
    silent = [one for one in said if START + 8 * HOUR < one["ts"] < START + 11 * HOUR]

    assert len(silent) > 5
    assert all(KEY not in one["evidence"] for one in silent)
    assert any(KEY in one["evidence"] for one in said if one["ts"] < START + 8 * HOUR)


COUNTS = st.lists(st.integers(0, 60), min_size=BINS, max_size=BINS).map(lambda n: np.array(n, np.int64))


@given(COUNTS, st.integers(0, 2**16))
def test_rates_are_of_pools_that_hold_enough_rows_of_one_half_and_keep_all_hits(n: Ints, seed: int) -> None:
    n[: BINS // 2] //= 1 + seed % 60
    hits = np.random.default_rng(seed).binomial(n, 0.4).astype(np.int64)
    found = rates(n, hits)

    for half in (slice(0, BINS // 2), slice(BINS // 2, BINS)):
        known = ~np.isnan(found[half])
        assert known.all() == (n[half].sum() >= LEAST) == known.any()
        if known.any():
            assert (found[half] * n[half]).sum() == pytest.approx(hits[half].sum())
            for value in np.unique(found[half]):
                assert n[half][found[half] == value].sum() >= LEAST


@given(st.integers(0, 2**16))
def test_ratios_are_those_of_the_events_that_the_counts_stand_for(seed: int) -> None:
    """Against all events one by one, each with the chance that its label is positive."""
    rng = np.random.default_rng(seed)
    chance = np.round(rng.random(BINS), 3)
    counts = rng.integers(0, 5, (2, BINS))
    says = np.repeat([False, True], counts.sum(axis=1))
    p = np.concatenate([np.repeat(chance, n) for n in counts])
    row = np.concatenate([[0], counts.reshape(-1), np.zeros(BINS)]).astype(np.int64)
    known = Reliability(tuple(chance.tolist()), (float("nan"),) * BINS)

    expected = {
        "accuracy": np.where(says, p, 1 - p).mean(),
        "precision": p[says].mean(),
        "recall": p[says].sum() / p.sum(),
        "false_positive_rate": (1 - p)[says].sum() / (1 - p).sum(),
        "false_negative_rate": p[~says].sum() / p.sum(),
    }
    for name, value in expected.items():
        told_ = OnlyInputs(KINDS[name], known, None).told(row)
        assert told_ == {"value": pytest.approx(value), "n": len(p)}, name


@given(st.integers(0, 2**16))
def test_losses_are_those_of_the_events_that_the_counts_stand_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chance, n = np.round(rng.random(BINS), 3), rng.integers(1, 5, BINS)
    yes, no = rng.integers(0, SCALE, BINS) * n, rng.integers(0, SCALE, BINS) * n
    row = np.concatenate([[1], np.stack([n, yes, no], axis=1).reshape(-1)]).astype(np.int64)
    expected = 10 * float((chance * yes + (1 - chance) * no).sum()) / SCALE / n.sum()
    made = OnlyInputs(KINDS["log_loss"], Reliability(tuple(chance.tolist()), (0.5,) * BINS), (0.0, 10.0))

    assert made.told(row) == {"value": pytest.approx(expected), "n": int(n.sum())}


def test_of_nothing_nothing_is_estimated() -> None:
    made = OnlyInputs(KINDS["accuracy"], Reliability((0.5,) * BINS, (0.5,) * BINS), None)
    bare = np.zeros(COLUMNS, np.int64)
    bare[UNPLACED] = 10

    assert made.told(np.zeros(COLUMNS, np.int64)) is None
    assert made.told(bare) is None


def test_reliability_is_kept_in_the_reference_and_older_ones_load_with_the_id_that_they_had() -> None:
    made, older = reference(), unfitted(reference())
    again = from_bytes(to_bytes(made), "x.ref")

    assert again.reliability is not None
    np.testing.assert_array_equal(again.reliability, made.reliability)
    assert again.id == made.id != older.id
    assert from_bytes(to_bytes(older), "x.ref").reliability is None
    assert b"reliability" not in to_bytes(older)


def test_counts_that_do_not_fit_together_are_refused_in_one_line() -> None:
    known = reference().reliability
    assert known is not None
    damaged = to_bytes(replace(reference(), reliability=known[:, ::-1]))

    with pytest.raises(UserError, match=r"^x\.ref: damaged \(the counts of the reliability do not fit together\)"):
        from_bytes(damaged, "x.ref")


def documented() -> str:
    """Return the query of docs/labels.md, asked of an SLO and a slice of the test's."""
    page = (Path(__file__).parents[1] / "docs" / "labels.md").read_text("utf-8")
    sql = page.split("```sql\n")[1].split("```")[0]
    return sql.replace("accuracy_7d", "accuracy_6h").replace("'{}'", """'{"slice":"tenant=acme"}'""")


@pytest.mark.integration
def test_why_says_it_in_a_line_and_ranks_slices_as_without_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scores = rng.beta(2, 3, 3000)
    made = told(scores, rng.random(3000) < scores, 12)
    (tmp_path / "p.jsonl").write_bytes(b"\n".join(made.predictions))
    (tmp_path / "o.jsonl").write_bytes(b"\n".join(made.outcomes))
    save(reference(), tmp_path / "claims.ref")
    text = policy(("name: accuracy_6h, target: '>= 0.9', per: tenant",)) + "reference: {file: claims.ref}\n"
    (tmp_path / "policy.yaml").write_text(text)
    files = ("--predictions", tmp_path / "p.jsonl", "--outcomes", tmp_path / "o.jsonl", "--out", tmp_path / "out")
    code, _, err = command("replay", tmp_path / "policy.yaml", *files)
    assert code == 1, err
    verdicts = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_bytes().splitlines()]
    one = [v for v in verdicts if v["scope"] == {"slice": "tenant=acme"} and v["value"] is not None][-1]

    given_policy = ("--policy", tmp_path / "policy.yaml", "--replay", tmp_path / "out")
    _, out, _ = command("why", one["verdict_id"], *given_policy)
    found = one["evidence"][KEY]

    line = f"If only the inputs had changed: accuracy {found['value']:.3g} (from {found['n']:,} predictions; neither pages nor clears)."
    assert line in " ".join(out.split())
    assert "tenant=acme <- this verdict" in out
    with ClickHouseSink.connect(directory=tmp_path / "out" / "clickhouse", lay=False) as sink:
        stored = {row["if_only_inputs_changed"] for row in sink.ask(documented(), {})}
    assert found["value"] in stored
    _, as_json, _ = command("why", one["verdict_id"], *given_policy, "--json")
    assert line in json.loads(as_json)["evidence"]["lines"]
