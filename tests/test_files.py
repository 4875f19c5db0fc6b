"""Files: every format gives the same events, numbered across files; what cannot be read is one clear line."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from interlock.errors import UserError
from interlock.streams.batch import Frame, Lines, Wanted
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.files import Reader
from interlock.streams.mapping import load
from tests.decoding import DECODE, KEY, event, line, plain

ROWS = [
    event(
        event_id=f"e{row}",
        ts=1_700_000_000_000 + row,
        score=row / 100,
        decision="pay" if row % 2 else None,
        features={"amount": row * 1.5, "age": row % 9, "code": "a"},
        segment={"tenant": f"t{row % 3}"},
        probabilities={"yes": 0.25, "no": 0.75},
    )
    for row in range(25)
]


def write(path: Any, rows: Any) -> Any:
    """Write events in the format that the name says."""
    batch = pa.RecordBatch.from_pylist(rows)
    name = path.name
    if name.endswith((".jsonl", ".ndjson", ".json")):
        path.write_bytes(b"\n".join(json.dumps(row).encode() for row in rows) + b"\n")
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(b"\r\n\n".join(json.dumps(row).encode() for row in rows), mtime=0))
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_batches([batch]), path)
    elif name.endswith(".feather"):
        pa.feather.write_feather(pa.Table.from_batches([batch]), str(path))
    elif name.endswith(".csv"):
        _write_csv(path, rows)
    else:
        new = pa.ipc.new_file if name.endswith(".arrow") else pa.ipc.new_stream
        with new(str(path), batch.schema) as writer:
            writer.write_batch(batch)
    return path


def _write_csv(path: Any, rows: Any) -> Any:
    flat = [
        {f"{name}.{below}" if below else name: value for name, field in row.items() for below, value in _items(field)}
        for row in rows
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, flat[0])
        writer.writeheader()
        writer.writerows(flat)


def _items(field: Any) -> Any:
    return field.items() if isinstance(field, dict) else [("", field)]


def decoded(paths: Any, decode: Any = DECODE, **options: Any) -> Any:
    """All events of predictions' files, as plain values, and the dead letters."""
    rows, dead = [], []
    for chunk in Reader("predictions", 5, **options)(paths):
        batch, more = decode(chunk)
        rows += plain(batch)
        dead += more
    return rows, dead


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz", "a.parquet", "a.arrow", "a.feather", "a.ipc", "a.csv"]
)
@pytest.mark.parametrize("chunk_rows", [1, 7, 8192])
def test_every_format_and_chunk_size_gives_the_same_events(tmp_path: Any, name: Any, chunk_rows: Any) -> None:
    expected, _ = DECODE(Lines([json.dumps(row).encode() for row in ROWS], 0, 5))
    rows, dead = decoded([write(tmp_path / name, ROWS)], chunk_rows=chunk_rows)

    assert dead == []
    assert rows == plain(expected)


def test_offsets_number_the_rows_of_all_files_in_the_order_given(tmp_path: Any) -> None:
    paths = [
        write(tmp_path / "b.jsonl", ROWS[:3]), tmp_path / "empty.jsonl", write(tmp_path / "a.parquet", ROWS[3:10]),
        tmp_path / "empty.parquet", tmp_path / "empty.csv", write(tmp_path / "c.csv", ROWS[10:]),
    ]  # fmt: skip
    for path in paths:
        path.touch()
    rows, dead = decoded(paths, chunk_rows=2)

    assert dead == []
    assert [row["place"] for row in rows] == [(offset, 0, 5) for offset in range(25)]
    assert [row["id"][0] for row in rows] == [f"e{row}" for row in range(25)]


def test_a_file_may_carry_append_times(tmp_path: Any) -> None:
    rows = [ROWS[0] | {"appended_at": 77}, ROWS[1] | {"appended_at": None}]
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        found, _ = decoded([write(tmp_path / name, rows)])

        assert [row["place"][2] for row in found] == [77, 5]


def test_bad_lines_are_dead_letters_and_keep_their_numbers(tmp_path: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line() + b"\n\njunk\n" + line() + b"\n" + line(comment="x" * (2 << 20)))
    rows, dead = decoded([path])

    assert [row["place"][0] for row in rows] == [0, 2]
    assert [(letter.offset, letter.reason) for letter in dead] == [(1, "not_json"), (3, "too_large")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 nonsense", "cannot be read"),
        ("a.arrow", b"nonsense", "cannot be read"),
        ("a.csv", b"event_id,ts,model\na,1\n", "cannot be read"),
        ("a.csv", b"event_id,ts\na,1\n", "predictions need a column model; it has event_id, ts"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 5000, mtime=0)[:-9], "cannot be read"),
        ("a.jsonl.gz", b"plain", "cannot be read"),
        ("a.json", b'[\n{"a": 1}]', "one event per line"),
        ("a.json", b'{\n"a": 1}', "one event per line"),
        ("a.txt", b"x", "unknown kind of file"),
    ],
    ids=str,
)
def test_an_unreadable_file_is_one_line_that_names_it(tmp_path: Any, name: Any, content: Any, message: Any) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        decoded([path])

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_parquet_without_a_needed_column_say_so(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="no such file"):
        decoded([tmp_path / "none.parquet"])
    path = write(tmp_path / "a.parquet", [{"id": 1, "ts": 2}])
    with pytest.raises(UserError, match="outcomes need a column event_id; it has id, ts"):
        list(Reader("outcomes", 0)([path]))


def test_a_parquet_cut_short_is_refused(tmp_path: Any) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(UserError, match=r"a\.parquet: cannot be read"):
        decoded([path])


def test_csv_types_come_from_the_whole_file_and_codes_keep_their_zeros(tmp_path: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "event_id,ts,model,model_version,features.amount,features.code,decision,features.zip\n"
        + "1,1700000000000,m,1,5,5,true,0210\n" * 3
        + "2,1700000000000,m,1.0,0.5,a,,2138\n"
    )
    wanted = Wanted(("amount",), {"code": {"5": 7}, "zip": {"0210": 3}}, frozenset({"decision"}))
    rows, dead = decoded([path], prediction_decoder(wanted, KEY), chunk_rows=1)

    assert dead == []
    assert [row["id"][0] for row in rows] == ["1", "1", "1", "2"]
    assert [row["numbers"] for row in rows] == [[5.0]] * 3 + [[0.5]]
    assert [row["categories"] for row in rows] == [[7, 3]] * 3 + [[-2, -2]]
    assert [row["columns"]["decision"][1] for row in rows] == [True] * 3 + [None]
    assert [row["model"][1] for row in rows] == ["1", "1", "1", "1.0"]


CENSUS_MAP = """
event_id: id
score: predicted_probability
decision: out.prediction
model: {const: employment}
features: [AGEP, SCHL]
segment: {region: STATE}
"""
CENSUS = [
    {
        "id": 68785,
        "ts": 1,
        "AGEP": 46.0,
        "SCHL": "21",
        "STATE": 25,
        "out": {"prediction": 1},
        "predicted_probability": 0.9,
    },
    {
        "id": 68786,
        "ts": 2,
        "AGEP": None,
        "SCHL": "19",
        "STATE": 25,
        "out": {"prediction": 0},
        "predicted_probability": 0.1,
    },
]


@pytest.mark.parametrize("features", ["features: [AGEP, SCHL]", "features: {AGEP: AGEP, SCHL: SCHL}", 'features: "*"'])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_mapping_reads_ones_own_logs_alike_in_every_format(tmp_path: Any, name: Any, features: Any) -> None:
    mapping = load(CENSUS_MAP.replace("features: [AGEP, SCHL]", features), "map.yaml")
    wanted = Wanted(("AGEP",), {"SCHL": {"21": 0}}, frozenset({"decision", "segment.region"}))
    rows, dead = decoded([write(tmp_path / name, CENSUS)], prediction_decoder(wanted, KEY), mapping=mapping)

    assert dead == []
    assert [row["id"][0] for row in rows] == ["68785", "68786"]
    assert [row["model"] for row in rows] == [("employment", "")] * 2
    assert [row["scores"][0] for row in rows] == [0.9, 0.1]
    assert [row["numbers"] for row in rows] == [[46.0], [None]]
    assert [row["categories"] for row in rows] == [[0], [-2]]
    assert [row["columns"]["decision"][1] for row in rows] == [1.0, 0.0]
    assert [row["columns"]["segment.region"][1] for row in rows] == ["25", "25"]


def test_outcomes_are_mapped_too(tmp_path: Any) -> None:
    path = write(tmp_path / "a.parquet", [{"id": 3, "ts": 1, "employed": 1}])
    (chunk,) = Reader("outcomes", 0, load("event_id: id\nlabel: employed\n", "m"))([path])
    batch, dead = outcome_decoder(KEY)(chunk)

    assert dead == []
    assert isinstance(chunk, Frame)
    assert (batch.ids.text(0), batch.label.value(0)) == ("3", 1.0)
    assert np.array_equal(batch.confirmed_ood, [-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evnt_id: id", "m.yaml:1:1: we have no field evnt_id; did you mean event_id?"),
        ("score: a\nscore: b", "m.yaml:2:1: score is given twice"),
        ("score: [a]", "m.yaml:1:8: score: expected the name of a field, or {const: VALUE}"),
        ("score: {x: y}", "m.yaml:1:8: score: expected the name of a field, or {const: VALUE}"),
        ("score: 1", "m.yaml:1:8: score: expected the name of a field, or {const: VALUE}"),
        ("model: {const: [1]}", "m.yaml:1:8: model: expected text, a number or a boolean as constant"),
        ("score.x: a", "m.yaml:1:1: we have no field score.x"),
        ("- a", "m.yaml: expected our fields"),
        ("a: [", "m.yaml: not YAML"),
    ],
)
def test_a_wrong_mapping_is_one_line_with_its_place(text: Any, message: Any) -> None:
    with pytest.raises(UserError) as caught:
        load(text, "m.yaml")

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Any) -> None:
    path = write(tmp_path / "a.parquet", CENSUS)

    with pytest.raises(UserError, match="no column nope, which --map asks for; it has id, ts"):
        list(Reader("predictions", 0, load("score: nope", "m"))([path]))


def test_one_mapping_serves_predictions_and_outcomes(tmp_path: Path) -> None:
    """An entry for a field that one kind of event does not have is of no concern to it."""
    mapping = load("event_id: id\nts: at\nscore: p_repaid\nlabel: repaid\nmodel: {const: loans}\n", "map.yaml")
    made, said = tmp_path / "june.csv", tmp_path / "labels.csv"
    made.write_text("id,at,p_repaid\n1,2026-06-01T00:00:00Z,0.5\n")
    said.write_text("id,at,repaid\n1,2026-06-02T00:00:00Z,1\n")

    predictions, dead = prediction_decoder(Wanted(), KEY)(next(Reader("predictions", 0, mapping)([made])))
    outcomes, dead_outcomes = outcome_decoder(KEY)(next(Reader("outcomes", 0, mapping)([said])))

    assert not dead + dead_outcomes
    assert predictions.score.tolist() == [0.5]
    assert outcomes.ids.text(0) == "1"
    assert outcomes.label.value(0) == 1.0
