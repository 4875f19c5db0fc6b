"""Logits: from JSON and Arrow alike, scored on integers, learned, and what a policy and a reference ask of each other."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp

from benchmarks.tables import frame, read
from interlock.detectors import logits as ways
from interlock.detectors.logits import SCORES, UNIT, Score, oddities
from interlock.errors import UserError
from interlock.policies.lint import warnings
from interlock.policies.load import PolicyErrors, load_policy
from interlock.policies.model import Policy
from interlock.policies.planning import make_plan
from interlock.streams.batch import Frame, Lines, Wanted
from interlock.streams.decode import prediction_decoder
from interlock.streams.decode_concat import concat
from interlock.streams.fit import learn
from interlock.streams.fit_files import gather
from interlock.streams.pipeline import learned
from interlock.streams.reference import Reference, from_bytes, save, to_bytes
from interlock.streams.replay import load_reference
from interlock.streams.scoring import Scorer
from tests.processes import interlock

DECODE = prediction_decoder(Wanted(logits=True), b"key")
CLASSES = 6
FILE = (
    '{{"slos": [{{"name": "ood_rate_24h", "objective": "kept", "target": "<= 0.05", "window": "24h", '
    '"action_on_breach": "notify"}}], "model": "m", "reference": {{"file": "m.ref"}}{ood}}}'
)
NUMBERS = st.floats(-1024, 1024, width=32)
WAYS = pytest.mark.parametrize("score", SCORES)


def policy(score: str | None) -> Policy:
    return load_policy(text(score).encode(), "policy")


def text(score: str | None) -> str:
    return FILE.format(ood="" if score is None else f', "ood": {{"logits": "{score}"}}')


def rows(logits: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"event_id": f"e{i}", "ts": 1_700_000_000_000, "model": "m", "logits": one} for i, one in enumerate(logits)]


def from_json(logits: Sequence[Any]) -> Any:
    return DECODE(Lines([json.dumps(row).encode() for row in rows(logits)], 0, 0))


def from_arrow(logits: Sequence[Any], kind: Any = None) -> Any:
    batch = pa.RecordBatch.from_pylist([{k: v for k, v in row.items() if k != "logits"} for row in rows(logits)])
    return DECODE(Frame(batch.append_column("logits", pa.array(logits, kind or pa.list_(pa.float64()))), 0, 0))


def said(n: int, seed: int, *, odd: bool = False) -> NDArray[np.float64]:
    """Return logits of a classifier that is sure of one class, or of none."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, CLASSES))
    if not odd:
        logits[np.arange(n), rng.integers(0, CLASSES, n)] += rng.gamma(20, 0.5, n)
    return logits


def events(logits: Any, prefix: str = "e", **features: Any) -> Frame:
    made = frame(features or {"x": np.random.default_rng(9).normal(size=len(logits))}, prefix=prefix)
    column = pa.array([None if one is None else list(one) for one in logits], pa.list_(pa.float64()))
    return Frame(made.batch.append_column("logits", column), 0, made.appended)


def fitted(*frames: Frame, names: Sequence[str] = ("x",)) -> Reference:
    return learn(gather(names, frames, []).rows, 0.01)


REFERENCE = fitted(events(said(3000, 1), "r"))


@given(st.lists(st.none() | st.lists(NUMBERS, max_size=5), min_size=1, max_size=9))
def test_json_and_arrow_of_the_same_logits_are_the_same(logits: list[Any]) -> None:
    one, dead = from_json(logits)
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32())):
        other, also = from_arrow(logits, kind)

        assert [(letter.offset, letter.reason, letter.detail) for letter in dead] == [
            (letter.offset, letter.reason, letter.detail) for letter in also
        ]
        np.testing.assert_array_equal(one.logits.lengths, other.logits.lengths)
        np.testing.assert_array_equal(one.logits.values, other.logits.values)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [("text", "wrong_type"), ([1, "x"], "wrong_type"), ([1, None], "wrong_type"), ([], "out_of_range"),
     ([0.5], "out_of_range"), ([1, 10**400], "out_of_range"), ([0.5] * 4097, "out_of_range"), ({"a": 1}, "wrong_type")],
)  # fmt: skip
def test_what_are_no_logits_is_a_dead_letter_and_takes_no_other_event_with_it(bad: Any, reason: str) -> None:
    batch, dead = from_json([[1.0, 2.0], bad, None])

    assert [(letter.offset, letter.reason) for letter in dead] == [(1, reason)]
    assert batch.logits.lengths.tolist() == [2, -1]


def test_arrow_logits_with_nan_infinity_or_null_or_of_text_are_dead_letters() -> None:
    for bad in (float("nan"), float("inf"), None):
        batch, dead = from_arrow([[bad, 1.0], [1.0, 2.0]])

        assert [letter.reason for letter in dead] == ["out_of_range"]
        assert "$.logits: expected 2 to 4096 finite numbers" in dead[0].detail
        assert batch.logits.lengths.tolist() == [2]
    assert [letter.reason for letter in from_arrow([["a"]], pa.list_(pa.string()))[1]] == ["wrong_type"]


def test_logits_are_read_only_where_the_policy_counts_them_and_the_reference_knows_them() -> None:
    bare = fitted(frame({"x": np.random.default_rng(0).normal(size=600)}, prefix="r"))
    junk = Lines([json.dumps(rows(["junk"])[0]).encode()], 0, 0)
    for wanted in (REFERENCE.wanted(()), bare.wanted((), "energy")):
        batch, dead = prediction_decoder(wanted, b"key")(junk)

        assert not dead
        assert batch.logits is None
    assert [one.reason for one in prediction_decoder(REFERENCE.wanted((), "energy"), b"key")(junk)[1]] == ["wrong_type"]


@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=20))
def test_energy_is_minus_the_logarithm_of_the_sum_of_exponentials_within_two_units(logits: list[list[float]]) -> None:
    values = np.array(logits)

    assert np.abs(oddities(values, "energy") + UNIT * logsumexp(values, axis=1)).max() <= 2
    assert np.abs(oddities(values, "max_logit") + UNIT * values.max(axis=1)).max() <= 0.5


@WAYS
@given(
    logits=st.lists(NUMBERS, min_size=2, max_size=8),
    constant=st.integers(-1000 * UNIT, 1000 * UNIT),
    order=st.randoms(use_true_random=False),
)
def test_a_constant_on_all_logits_is_subtracted_and_the_order_of_classes_changes_nothing(
    score: Score, logits: list[float], constant: int, order: Any
) -> None:
    units = np.rint(np.array([logits]) * UNIT)
    shuffled = order.sample(logits, len(logits))

    assert oddities((units + constant) / UNIT, score)[0] == oddities(units / UNIT, score)[0] - constant
    assert oddities(np.array([shuffled]), score)[0] == oddities(np.array([logits]), score)[0]


@WAYS
def test_the_largest_doubles_are_as_far_away_as_can_be_and_no_overflow(score: Score) -> None:
    found = oddities(np.array([[1e308, -1e308], [-1e308, -1e308], [0.0, -1e308]]), score)

    assert found.tolist() == [-(2**30), 2**30 - (710 if score == "energy" else 0), 0]


def test_no_entry_of_the_tables_is_near_enough_to_a_tie_for_a_processor_to_round_it_otherwise() -> None:
    with localcontext() as context:
        context.prec = 30
        one = Decimal(2**20)
        exact = {
            "EXP": [one * (Decimal(-d) / UNIT).exp() for d in range(15_000)],
            "LOG1P": [one * (1 + Decimal(i) / 4096).ln() for i in range(4096)],
            "LN2": [one * Decimal(2).ln() * k for k in range(33)],
        }
        for name, values in exact.items():
            assert getattr(ways, name).tolist() == [int(value.to_integral_value()) for value in values]
            assert min(abs(value % 1 - Decimal("0.5")) for value in values) > Decimal("1e-5")


@WAYS
def test_a_class_left_out_is_flagged_far_more_often_and_logits_are_the_reason(score: Score) -> None:
    scorer, blind = Scorer(policy(score), REFERENCE, b"secret"), Scorer(policy(None), REFERENCE, b"secret")
    familiar = scorer.score(read(REFERENCE, events(said(4000, 2)), score))
    batch = read(REFERENCE, events(said(4000, 3, odd=True)), score)
    odd = scorer.score(batch)

    assert REFERENCE.classes == CLASSES
    assert familiar.scored.all()
    assert familiar.flagged.mean() < 0.02
    assert odd.flagged.mean() > 0.8
    assert blind.score(batch).flagged.mean() < 0.02
    assert set(scorer.reasons(batch, np.flatnonzero(odd.flagged)).texts) == {"logits"}
    assert set(scorer.odd_features(batch, np.flatnonzero(odd.flagged))) == {"logits"}


@WAYS
def test_an_event_without_logits_or_with_another_number_is_scored_on_the_rest(score: Score) -> None:
    scorer, blind = Scorer(policy(score), REFERENCE, b"secret"), Scorer(policy(None), REFERENCE, b"secret")
    far, near = 40.0, 0.0
    made = events([None, None, [0.1] * 5, [0.1] * 7, [0.1] * 6, None], x=[far, near, far, near, near, None])
    batch = read(REFERENCE, made, score)
    found, rest = scorer.score(batch), blind.score(batch)

    assert found.flagged.tolist() == [True, False, True, False, True, False]
    assert found.scored.tolist() == [True, True, True, True, True, False]
    for name in ("flagged", "scored", "level"):
        np.testing.assert_array_equal(getattr(found, name)[[0, 1, 2, 3, 5]], getattr(rest, name)[[0, 1, 2, 3, 5]])
    assert scorer.odd_features(batch, np.array([0, 2, 4])) == ["x", "x", "logits"]


def test_as_many_familiar_events_are_flagged_whether_they_bring_logits_or_not() -> None:
    some = [one if i % 2 else None for i, one in enumerate(said(8000, 4).tolist())]
    x = np.random.default_rng(5).normal(size=8000)
    reference = fitted(events([one if i % 3 else None for i, one in enumerate(said(9000, 6))], "r"))
    found = Scorer(policy("energy"), reference, b"s").score(read(reference, events(some, x=x), "energy"))

    assert found.flagged[::2].mean() == pytest.approx(0.01, abs=0.006)
    assert found.flagged[1::2].mean() == pytest.approx(0.01, abs=0.006)
    assert any("3000 rows have none" in warning for warning in reference.warnings)


@WAYS
@given(cuts=st.lists(st.integers(0, 700), max_size=5))
def test_a_score_with_logits_does_not_depend_on_how_the_stream_is_cut(score: Score, cuts: list[int]) -> None:
    logits = [None if i % 5 == 0 else one for i, one in enumerate(said(700, 5, odd=True).tolist())]
    scorer, batch = Scorer(policy(score), REFERENCE, b"secret"), read(REFERENCE, events(logits), score)
    ends = [0, *sorted(cuts), 700]
    parts = [batch.take(np.arange(a, b)) for a, b in pairwise(ends)]
    whole = scorer.score(batch)

    for name in ("flagged", "level", "scored"):
        cut = np.concatenate([getattr(scorer.score(part), name) for part in parts])
        np.testing.assert_array_equal(cut, getattr(whole, name))
    together, once = concat(parts).logits, batch.logits
    assert together is not None
    assert once is not None
    np.testing.assert_array_equal(together.values, once.values)


def test_a_reference_with_logits_is_the_same_in_any_order_and_as_a_file() -> None:
    made = events(said(3000, 1), "r")
    order = np.random.default_rng(0).permutation(3000)
    parts = [Frame(made.batch.take(order[a:b]), 0, made.appended) for a, b in ((0, 1000), (1000, 3000))]
    kept = from_bytes(to_bytes(REFERENCE), "m.ref")

    assert fitted(*parts).id == REFERENCE.id == kept.id
    assert kept.classes == CLASSES
    for score in SCORES:
        batch = read(REFERENCE, events(said(300, 8, odd=True)), score)
        one, other = (Scorer(policy(score), made_of, b"s").score(batch) for made_of in (REFERENCE, kept))
        np.testing.assert_array_equal(one.flagged, other.flagged)


def test_a_repeated_id_is_learned_by_its_earliest_event() -> None:
    first, again = events(said(1000, 1), "r"), events(said(1000, 2, odd=True), "r")
    ts = again.batch.schema.get_field_index("ts")
    later = again.batch.set_column(ts, "ts", pa.array(again.batch["ts"].to_numpy() + 1))

    assert fitted(Frame(later, 0, 0), first).id == fitted(first).id


def test_logits_alone_are_enough_to_learn_from_and_too_few_are_left_out() -> None:
    alone = fitted(events(said(1000, 6), "r"), names=())
    few = events([*said(100, 7).tolist(), *[None] * 900], "r")
    batch = read(alone, events([*said(50, 3, odd=True).tolist(), None]), "energy")
    found = Scorer(policy("energy"), alone, b"s").score(batch)

    assert alone.classes == CLASSES
    assert found.flagged[:50].mean() > 0.8
    assert not found.scored[50]
    assert set(Scorer(policy("energy"), alone, b"s").odd_features(batch, np.flatnonzero(found.flagged))) == {"logits"}
    assert any("only 100 rows" in warning for warning in fitted(few).warnings)
    assert fitted(few).classes == 0
    with pytest.raises(UserError, match="`logits` or `embedding`"):
        fitted(few, names=())


def test_embeddings_and_logits_are_told_apart() -> None:
    rng = np.random.default_rng(0)

    def both(logits: Any, embeddings: Any, prefix: str = "e") -> Frame:
        made = events(logits, prefix)
        column = pa.array([None if one is None else list(one) for one in embeddings], pa.list_(pa.float64()))
        return Frame(made.batch.append_column("embedding", column), 0, made.appended)

    usual = np.array([1.0, 0.0, 0.0]) + 0.05 * rng.normal(size=(3000, 3))
    reference = fitted(both(said(3000, 1), usual, "r"))
    sure, unsure = said(1, 5)[0], [0.1] * CLASSES
    strange, known = [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]
    batch = read(reference, both([sure, unsure, None, unsure], [strange, known, strange, None]), "max_logit")
    scorer = Scorer(policy("max_logit"), reference, b"s")

    assert scorer.score(batch).flagged.tolist() == [True, True, True, False]
    assert scorer.score(batch).scored.tolist() == [True, True, True, False]
    assert scorer.odd_features(batch, np.array([0, 1, 2])) == ["embedding", "logits", "embedding"]


def test_judging_takes_the_dispersion_of_the_score_that_the_policy_asks_for() -> None:
    told = {"ood_rate": 1.5, "ood_rate.energy": 2.5, "ood_rate.max_logit": 3.5}
    reference = replace(REFERENCE, dispersion=told)
    found = [learned(make_plan(policy(score)), reference).dispersion["ood_rate"] for score in (None, *SCORES)]

    assert found == [1.5, 2.5, 3.5]
    assert REFERENCE.dispersion.keys() >= told.keys()


def test_a_policy_names_one_of_two_ways() -> None:
    with pytest.raises(PolicyErrors, match="energy"):
        policy("entropy")
    alone = load_policy(text("energy").replace('"reference": {"file": "m.ref"}, ', "").encode(), "p")
    assert any(one.loc == ("ood", "logits") for one in warnings(alone))


def test_a_reference_without_logits_is_refused_where_the_policy_counts_them_and_check_says_so(tmp_path: Path) -> None:
    save(fitted(frame({"x": np.random.default_rng(0).normal(size=600)}, prefix="r")), tmp_path / "m.ref")
    (tmp_path / "p.yaml").write_text(text("energy"))
    told = interlock("check", tmp_path / "p.yaml")
    with pytest.raises(UserError, match="knows no logits"):
        load_reference(policy("energy"), tmp_path)
    assert load_reference(policy(None), tmp_path) is not None
    save(REFERENCE, tmp_path / "m.ref")
    known = interlock("check", tmp_path / "p.yaml")

    assert told.returncode == known.returncode == 0
    assert "m.ref knows no logits" in told.stdout
    assert "knows no logits" not in known.stdout
    assert load_reference(policy("energy"), tmp_path) is not None


def test_fit_refuses_predictions_without_logits_where_the_policy_counts_them(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text("energy"))
    for name, logits in (("none", [None] * 600), ("all", said(600, 1).tolist())):
        lines = [json.dumps(row | {"features": {"x": i % 7}}) for i, row in enumerate(rows(logits))]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    at = tmp_path
    none, known = (
        interlock("fit", "--policy", at / "p.yaml", "--predictions", at / f"{name}.jsonl", "-o", at / f"{name}.ref")
        for name in ("none", "all")
    )

    assert none.returncode == 2
    assert "p.yaml: ood.logits is energy, and no prediction has `logits`" in none.stderr
    assert len(none.stderr.splitlines()) == 1
    assert not (tmp_path / "none.ref").exists()
    assert known.returncode == 0
    assert "6 logits" in known.stdout
