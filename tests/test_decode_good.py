"""Decoding: JSON and Arrow of the same events give the same columns, however they are cut into messages and chunks."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING
from interlock.events import schemas
from interlock.streams.batch import MISSING_CODE, UNSEEN_CODE, Frame, Lines, Message, Wanted
from interlock.streams.decode import prediction_decoder
from interlock.streams.decode_columns import canonical_number, number_text
from tests.decoding import DECODE, KEY, WANTED, decode_lines, decode_rows, event, line, plain

NUMBERS = st.floats(-1e9, 1e9) | st.integers(-10, 10)
CODES = st.sampled_from(["a", "b", "5", "é", ""])
COLUMNS: dict[str, tuple[Any, Any]] = {
    "event_id": (st.text(min_size=1, max_size=12), pa.string()),
    "ts": (st.integers(-(2**62), 2**62), pa.int64()),
    "model": (st.sampled_from(["m", "n"]), pa.dictionary(pa.int8(), pa.string())),
    "model_version": (st.sampled_from([None, "1", "2"]), pa.string()),
    "score": (st.none() | st.floats(0, 1), pa.float64()),
    "ood_score": (st.none() | NUMBERS, pa.float64()),
    "decision": (st.none() | st.sampled_from(["pay", "deny"]), pa.large_string()),
}
FEATURES: dict[str, tuple[Any, Any]] = {
    "amount": (st.none() | NUMBERS, pa.float64()),
    "age": (st.none() | st.integers(0, 9), pa.int16()),
    "code": (st.none() | CODES, pa.dictionary(pa.uint32(), pa.string())),
}
SCHEMA = pa.schema(
    [
        *((name, kind) for name, (_, kind) in COLUMNS.items()),
        (
            "features",
            pa.struct([(name, kind if name != "code" else pa.string()) for name, (_, kind) in FEATURES.items()]),
        ),
        ("segment", pa.struct([("tenant", pa.string())])),
        ("probabilities", pa.struct([("yes", pa.float64()), ("no", pa.float32())])),
    ]
)
EVENTS = st.fixed_dictionaries(
    {name: values for name, (values, _) in COLUMNS.items()}
    | {
        "features": st.fixed_dictionaries({name: values for name, (values, _) in FEATURES.items()}),
        "segment": st.fixed_dictionaries({"tenant": st.none() | st.text(max_size=3)}),
        "probabilities": st.fixed_dictionaries({"yes": st.floats(0, 1), "no": st.sampled_from([0.0, 0.25, 1.0])}),
    }
)


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_json_and_arrow_of_the_same_events_are_the_same_batch(rows: Any) -> None:
    from_json, dead = decode_lines([json.dumps(row).encode() for row in rows])
    from_arrow, also_dead = decode_rows(rows, SCHEMA)

    assert dead == also_dead == []
    assert plain(from_json) == plain(from_arrow)


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_struct_columns_and_dotted_columns_mean_the_same(rows: Any) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    arrays: list[Any] = []
    names: list[str] = []
    columns: list[Any] = batch.columns
    for field, array in zip(SCHEMA, columns, strict=True):
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{below.name}" for below in field.type]
            arrays += array.flatten()
        else:
            names.append(field.name)
            arrays.append(array)
    dotted = pa.RecordBatch.from_arrays(arrays, names=names)

    assert plain(DECODE(Frame(dotted, 0, 5))[0]) == plain(DECODE(Frame(batch, 0, 5))[0])


LINES = st.lists(
    st.sampled_from(
        [
            line(features={"amount": 1, "code": "a"}, decision="pay"),
            line(event_id="x", features={"amount": "text", "age": 7, "code": 5}),
            line(event_id="y", features={"code": True}, decision=True, segment={"tenant": "t"}),
            line(event_id="z", score=2),
            line(event_id="w", ts="2024-02-29T12:00:00.25+01:00", probabilities={"b": 0.5, "a": 0.5}),
            b"junk",
        ]
    ),
    max_size=20,
)


def as_message(lines: Any, offset: Any, form: Any) -> Any:
    if form == "lines":
        return [Message(b"\n".join(lines) + b"\r\n\n", offset, 5)]
    return [Message(text, offset + place, 5, form) for place, text in enumerate(lines)]


@given(LINES, st.lists(st.integers(1, 7), min_size=20, max_size=20))
def test_no_result_depends_on_how_the_stream_is_cut_into_chunks(lines: Any, cuts: Any) -> None:
    whole, dead = decode_lines(lines)
    rows, letters, start = [], [], 0
    for cut in cuts:
        if start < len(lines) or not start:
            batch, more = DECODE(Lines(lines[start : start + cut], start, 5))
            rows += plain(batch)
            letters += more
            start += cut

    assert rows == plain(whole)
    assert letters == dead


@given(LINES)
def test_one_message_of_lines_and_a_message_each_hold_the_same_events(lines: Any) -> None:
    together, dead_together = DECODE(as_message(lines, 0, "lines") if lines else [])
    apart, dead_apart = DECODE(as_message(lines, 0, "application/json"))
    ours = [row | {"place": None} for row in plain(together)]

    assert ours == [row | {"place": None} for row in plain(apart)]
    assert together.index.tolist() == apart.offset.tolist()
    assert [(letter.index, letter.reason) for letter in dead_together] == [
        (letter.offset, letter.reason) for letter in dead_apart
    ]


def test_messages_of_all_formats_may_follow_one_another() -> None:
    sink = pa.BufferOutputStream()
    rows = [event(event_id="b"), event(event_id="c")]
    with pa.ipc.new_stream(sink, pa.RecordBatch.from_pylist(rows).schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows))
        writer.write_batch(pa.RecordBatch.from_pylist([event(event_id="d")]))
    frame = sink.getvalue().to_pybytes()
    batch, dead = DECODE(
        [
            Message(line(event_id="a"), 1, 10),
            Message(frame, 2, 20),
            Message(frame, 3, 30),
            Message(json.dumps(event(event_id="e"), indent=1).encode(), 4, 40),
        ]
    )

    assert dead == []
    assert "".join(map(str, batch.ids.texts.to_pylist())) == "abcdbcde"
    assert batch.offset.tolist() == [1, 2, 2, 2, 3, 3, 3, 4]
    assert batch.index.tolist() == [0, 0, 1, 2, 0, 1, 2, 0]
    assert batch.appended.tolist() == [10, 20, 20, 20, 30, 30, 30, 40]
    assert batch.category_text(0, 7) == ""


def test_the_append_time_of_a_record_wins_over_a_field_of_that_name() -> None:
    batch, dead = DECODE([Message(line(appended_at=7), 0, 10), Message(line(appended_at=[]), 1, 11)])

    assert dead == []
    assert batch.appended.tolist() == [10, 11]
    assert decode_lines([line(appended_at=7), line(appended_at="?")])[0].appended.tolist() == [7, 5]


def test_kinds_of_a_path_are_exact() -> None:
    values = [..., None, 2, "two", True, 1, 0, False]
    batch, _ = decode_lines([line(features={"amount": value} if value is not ... else {}) for value in values])
    column = batch.columns["features.amount"]

    assert column.kind.tolist() == [MISSING, NULL, NUMBER, STRING, BOOL, NUMBER, NUMBER, BOOL]
    assert [column.value(row) for row in range(2, 8)] == [2.0, "two", True, 1.0, 0.0, False]
    assert np.array_equal(batch.numbers[0], [np.nan, np.nan, 2, np.nan, 1, 1, 0, 0], equal_nan=True)


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        ("a", 0, "a"), (5, 1, "5"), (5.0, 1, "5"), ("5", 1, "5"), (0.5, 2, "0.5"), (True, 3, "true"),
        (1, UNSEEN_CODE, "1"), ("5.0", UNSEEN_CODE, "5.0"), (False, UNSEEN_CODE, "false"), (None, MISSING_CODE, ""),
        (2**60 + 1, UNSEEN_CODE, str(2**60 + 1)), ("", UNSEEN_CODE, ""),
    ],
    ids=repr,
)  # fmt: skip
def test_a_number_where_text_is_expected_counts_as_its_json_text(value: Any, code: Any, text: Any) -> None:
    for batch, dead in (
        decode_lines([line(), line(features={"code": value})]),
        decode_rows([event(features={"code": None}), event(features={"code": value})]),
    ):
        assert dead == []
        assert batch.categories[0].tolist() == [MISSING_CODE, code]
        assert batch.category_text(0, 1) == text
        assert batch.take(np.array([False, True])).category_text(0, 0) == text


def test_a_category_that_is_also_a_path_or_a_number_has_the_same_codes() -> None:
    values = ["a", 5, True, False, None, 1, 7]
    rows = [event(features={"code": value, "age": value}) for value in values]
    vocabularies = {"code": {"a": 0, "5": 1, "1": 2, "true": 3}, "age": {"7": 0}}
    wanted = Wanted(("age",), vocabularies, frozenset({"features.code"}))
    batch, _ = decode_lines([json.dumps(row).encode() for row in rows], prediction_decoder(wanted, KEY))

    assert batch.categories.tolist() == [[0, 1, 3, -2, -1, 2, -2], [-2, -2, -2, -2, -1, -2, 0]]
    assert np.array_equal(batch.numbers[0], [np.nan, 5, 1, 0, np.nan, 1, 7], equal_nan=True)
    assert list(batch.columns) == ["features.code"]


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_back_as_that_number(number: Any) -> None:
    assert canonical_number(number_text(number)) == number


def test_times_in_rfc_3339_and_of_any_arrow_unit_are_milliseconds() -> None:
    expected = 1_709_204_400_250
    for text in ("2024-02-29T12:00:00.25+01:00", "2024-02-29T11:00:00.250999Z"):
        assert decode_lines([line(ts=text)])[0].ts.tolist() == [expected]
    assert decode_lines([line(ts=float(expected))])[0].ts.tolist() == [expected]
    for unit, value in (
        ("s", 1_709_204_400),
        ("ms", expected),
        ("us", expected * 1000 + 999),
        ("ns", expected * 10**6),
    ):
        schema = pa.schema([("event_id", pa.string()), ("ts", pa.timestamp(unit, "UTC")), ("model", pa.string())])
        batch, _ = decode_rows([event(ts=value)], schema)

        assert batch.ts.tolist() == [expected - 250 if unit == "s" else expected]


def test_the_class_of_the_highest_probability_is_found_and_ties_go_to_the_smallest_name() -> None:
    rows = [event(probabilities={"b": 0.5, "a": 0.5, "c": 0.0}), event(probabilities=None)]
    for batch, _ in (decode_lines([json.dumps(row).encode() for row in rows]), decode_rows(rows)):
        assert [batch.top.value(0), batch.top.value(1)] == ["a", None]
        assert batch.top_probability[0] == 0.5
        assert np.isnan(batch.top_probability[1])


def test_ten_thousand_slice_values_are_kept_apart() -> None:
    batch, dead = decode_lines([line(segment={"tenant": f"t{row}"}) for row in range(10_000)])
    tenants = batch.columns["segment.tenant"]

    assert dead == []
    assert [tenants.value(row) for row in (0, 1023, 1024, 9_999)] == ["t0", "t1023", "t1024", "t9999"]
    assert len(set(tenants.texts)) == 10_000


def test_features_with_any_name_and_none_at_all_can_be_wanted() -> None:
    odd = Wanted(("a.b", "n 1"), {"class": {"x": 4}}, frozenset({"features.a b", "x-1", "ctx.device"}))
    text = line(features={"a.b": 1, "n 1": 2, "class": "x", "a b": "q"}, **{"x-1": True, "ctx": {"device": 3}})
    batch, dead = decode_lines([text], prediction_decoder(odd, KEY))

    assert dead == []
    assert batch.numbers.tolist() == [[1], [2]]
    assert batch.categories.tolist() == [[4]]
    assert {path: column.value(0) for path, column in batch.columns.items()} == {
        "features.a b": "q", "x-1": True, "ctx.device": 3.0,
    }  # fmt: skip
    nothing, _ = decode_lines([line()], prediction_decoder(Wanted(), KEY))
    assert (nothing.numbers.shape, nothing.categories.shape) == ((0, 1), (0, 1))
    with pytest.raises(ValueError, match="features is no scalar"):
        prediction_decoder(Wanted(paths=frozenset({"features"})), KEY)


def test_no_events_are_an_empty_batch_with_every_column() -> None:
    batch, dead = DECODE([])

    assert (batch.rows(), dead) == (0, [])
    assert set(batch.columns) == WANTED.paths
    assert (batch.numbers.shape, batch.categories.shape) == ((2, 0), (2, 0))


def test_the_published_schemas_are_those_of_the_types_and_accept_the_examples() -> None:
    folder = Path(__file__).parents[1] / "docs" / "schemas"
    for name, schema in schemas().items():
        assert json.loads((folder / f"{name}.json").read_text()) == schema
    jsonschema.validate(event(features={"a": 1, "b": None}, score=0.5), schemas()["prediction"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(event(score=1.5), schemas()["prediction"])
