"""Laws of `interlock fit`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interlock.errors import UserError
from interlock.streams.batch import Ids, Outcomes, Predictions
from interlock.streams.decode_columns import coded, column
from interlock.streams.fit import learn
from interlock.streams.fit_rows import RowGatherer, Rows
from interlock.streams.reference import LabelAge, to_bytes

Table = dict[str, list[Any]]

START, MINUTE = 1_790_000_000_000, 60_000


def ids(texts: list[str]) -> Ids:
    return Ids(np.zeros(len(texts), np.uint64), np.zeros(len(texts), np.uint64), pa.array(texts))


def events(n: int, seed: int = 0, **changes: list[Any]) -> Table:
    rng = np.random.default_rng(seed)
    score = rng.uniform(size=n)
    table: Table = {
        "id": [f"e{i}" for i in range(n)],
        "ts": (START + np.arange(n) * MINUTE).tolist(),
        "model": ["m"] * n,
        "version": ["1.0"] * n,
        "score": score.tolist(),
        "label": (rng.uniform(size=n) < score).tolist(),
        "age": rng.normal(40, 12, n).round().tolist(),
        "code": rng.choice(["a", "b", "c"], n, p=[0.7, 0.25, 0.05]).tolist(),
    }
    return table | changes


def shuffled(table: Table, seed: int = 1) -> Table:
    order = np.random.default_rng(seed).permutation(len(table["id"]))
    return {name: [values[i] for i in order] for name, values in table.items()}


def predictions(table: Table, features: Sequence[str]) -> Predictions:
    n = len(table["id"])
    nan, none = np.full(n, np.nan), np.zeros(n, np.int64)
    return Predictions(
        ids=ids(table["id"]), ts=np.array(table["ts"], np.int64), appended=none, model=coded(table["model"]),
        version=coded(table["version"]), score=np.array(table["score"]), ood_score=nan, top=None, top_probability=nan,
        numbers=np.zeros((0, n)), categories=np.zeros((0, n), np.int32),
        columns={f"features.{name}": column(table[name]) for name in features},
        offset=none, index=np.zeros(n, np.int32), raw_category=lambda _feature, _row: "", origin=np.arange(n),
    )  # fmt: skip


def outcomes(table: Table, delay: int = 60 * MINUTE) -> Outcomes:
    n = len(table["id"])
    return Outcomes(
        ids=ids(table["id"]), ts=np.array(table["ts"], np.int64) + delay, appended=np.zeros(n, np.int64),
        label=column(table["label"]), confirmed_ood=np.full(n, -1, np.int8), revision=np.zeros(n, np.int32),
        offset=np.zeros(n, np.int64), index=np.zeros(n, np.int32),
    )  # fmt: skip


def rows(*tables: Table, features: Sequence[str] = ("age", "code"), labels: bool = True) -> Rows:
    gatherer = RowGatherer(features)
    for table in tables:
        gatherer.predictions(predictions(table, features))
        if labels:
            gatherer.outcomes(outcomes(table))
    return gatherer.rows()


def cut(table: Table, at: int) -> list[Table]:
    return [{k: v[:at] for k, v in table.items()}, {k: v[at:] for k, v in table.items()}]


def test_fitting_twice_gives_the_same_bytes() -> None:
    assert to_bytes(learn(rows(events(6000)), 0.01)) == to_bytes(learn(rows(events(6000)), 0.01))


def test_neither_the_order_nor_the_cutting_of_rows_changes_the_id() -> None:
    table = events(6000, code=np.random.default_rng(2).choice(list("hgfedcba"), 6000).tolist())
    whole = learn(rows(table), 0.01)

    assert learn(rows(shuffled(table)), 0.01).id == whole.id
    assert learn(rows(*cut(shuffled(table), 1234)), 0.01).id == whole.id


def test_an_event_given_twice_counts_once() -> None:
    table = events(2000)

    assert learn(rows(table, table), 0.01).id == learn(rows(table), 0.01).id


def test_another_value_gives_another_id() -> None:
    table = events(2000)
    table["age"][7] += 1

    assert learn(rows(table), 0.01).id != learn(rows(events(2000)), 0.01).id


def test_about_a_third_is_held_out_and_flags_new_familiar_events_at_the_rate() -> None:
    reference = learn(rows(events(9000)), 0.05)
    new = events(20_000, seed=5)
    codes = {value: code for code, value in enumerate(reference.vocabularies["code"].values)}
    scores = reference.ood.score(np.array([new["age"]]), np.array([[codes[value] for value in new["code"]]], np.int32))

    assert 2800 < len(reference.calibration.scores) < 3200
    assert (scores >= reference.calibration.threshold(0.05)).mean() <= 0.05 + 4 * np.sqrt(0.05 / 3000)


def test_a_value_seen_only_in_the_held_out_part_is_known_and_scores_as_unseen() -> None:
    singles = learn(rows(events(3000, code=[f"v{i}" if i < 300 else "a" for i in range(3000)])), 0.01)
    tables = singles.scorer.category_tables[0]

    assert len(singles.vocabularies["code"].values) == 301
    assert (tables[1:301] <= tables[-2]).all()
    assert (tables[1:301] == tables[-2]).any()


def test_the_age_of_labels_and_the_groups_of_scores_are_learned() -> None:
    reference = learn(rows(events(6000)), 0.01)

    assert reference.label_age == LabelAge(60 * MINUTE, 60 * MINUTE, 60 * MINUTE)
    assert len(np.unique(reference.ece_groups)) == 15
    assert (np.diff(reference.ece_groups) >= 0).all()
    assert set(reference.dispersion) >= {"ood_rate", "unseen_rate", "decision_ece"}
    assert all(1.0 <= phi < 2.0 for phi in reference.dispersion.values())


def test_clustered_flags_show_as_dispersion() -> None:
    table = events(6000)
    for start in range(0, 6000, 600):
        table["age"][start : start + 6] = [400.0 + start] * 6
    reference = learn(rows(table), 0.01)

    assert reference.dispersion["ood_rate"] > 2.0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("missing_rate", {"age": None}),
        ("abstention_rate", {"prediction": "abstain"}),
        ("accuracy", {"prediction": "wrong"}),
        ("precision", {"prediction": True, "label": False}),
        ("recall", {"prediction": False, "label": True}),
        ("false_positive_rate", {"prediction": True, "label": False}),
        ("false_negative_rate", {"prediction": False, "label": True}),
    ],
)
def test_clustered_hits_of_a_ratio_show_as_dispersion_and_scattered_ones_do_not(
    name: str, change: dict[str, Any]
) -> None:
    def fitted(places: Any) -> float:
        table = events(6000, label=[bool(i % 2) for i in range(6000)])
        table["prediction"] = list(table["label"])
        for place in places:
            for field, value in change.items():
                table[field][place] = value
        batch = predictions(table, ["age", "code"])
        gatherer = RowGatherer(["age", "code"])
        gatherer.predictions(replace(batch, columns={**batch.columns, "prediction": column(table["prediction"])}))
        gatherer.outcomes(outcomes(table))
        return learn(gatherer.rows(), 0.01).dispersion[name]

    starts = range(0, 6000, 600)

    assert fitted([start + place for start in starts for place in range(20)]) > 3
    assert fitted(np.random.default_rng(0).permutation(6000)[:200].tolist()) < 1.6


def test_without_outcomes_there_is_no_label_age_and_a_warning() -> None:
    reference = learn(rows(events(6000), labels=False), 0.01)

    assert reference.label_age is None
    assert any("no labels" in warning for warning in reference.warnings)


def test_under_500_rows_is_refused_and_under_5000_warned() -> None:
    with pytest.raises(UserError, match="at least 500 predictions, found 499"):
        learn(rows(events(499)), 0.01)
    assert any(warning.startswith("500 rows:") for warning in learn(rows(events(500)), 0.01).warnings)
    assert learn(rows(events(5000)), 0.01).warnings == ()


def test_features_that_cannot_be_learned_are_left_out_and_named() -> None:
    n = 5000
    table = events(
        n,
        nothing=[None] * n,
        constant=[7.0] * n,
        mixed=["x"] * (n - 10) + [3] * 10,
        mostly=[3.0, 4.0] * (n // 2 - 5) + ["x"] * 10,
        huge=[1e308, -1e308] * (n // 2),
    )
    reference = learn(rows(table, features=("age", "nothing", "constant", "mixed", "mostly", "huge")), 0.01)

    assert reference.numbers == ("age", "constant", "mostly")
    assert reference.vocabularies["mixed"].values == ("x", "3")
    assert [warning.split(":")[0] for warning in reference.warnings] == [
        "constant", "huge", "mixed", "mostly", "nothing",
    ]  # fmt: skip


def test_after_a_constant_any_other_value_is_odd() -> None:
    reference = learn(rows(events(5000, age=[7.0] * 5000), features=("age",)), 0.01)
    scores = reference.ood.score(np.array([[7.0, 7.1, 6.0]]), np.zeros((0, 3), np.int32))

    assert scores[0] < scores[1] == scores[2]


def test_an_identifier_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.streams.fit.MAX_VALUES", 100)
    reference = learn(rows(events(5000, code=[f"c{i}" for i in range(5000)])), 0.01)

    assert reference.categories == ()
    assert "5000 distinct values look like an identifier" in reference.warnings[0]


def test_without_any_feature_the_fit_is_refused() -> None:
    with pytest.raises(UserError, match="no feature to learn from"):
        learn(rows(events(600), features=()), 0.01)


def test_the_last_revision_of_a_label_wins_and_the_first_sets_its_age() -> None:
    table = events(600)
    gatherer = RowGatherer(["age"])
    gatherer.predictions(predictions(table, ["age"]))
    first = outcomes(table)
    flipped = outcomes(table | {"label": [not label for label in table["label"]]}, 3 * 60 * MINUTE)
    second = Outcomes(
        flipped.ids, flipped.ts, flipped.appended, flipped.label, flipped.confirmed_ood,
        flipped.revision + np.int32(1), flipped.offset, flipped.index,
    )  # fmt: skip
    gatherer.outcomes(second)
    gatherer.outcomes(first)
    got = gatherer.rows()

    assert set(got.age.tolist()) == {60 * MINUTE}
    assert got.y.sum() == sum(not label for label in table["label"])


def test_ranges_are_those_of_all_finite_values_held_out_ones_included() -> None:
    for row in range(12):  # about four of these are held out
        ages = [float(i % 50) for i in range(600)]
        ages[row], ages[row + 20], ages[100], ages[101] = 7000.0, -7.5, float("inf"), float("nan")

        assert learn(rows(events(600, age=ages)), 0.01).ranges == ((-7.5, 7000.0),)
