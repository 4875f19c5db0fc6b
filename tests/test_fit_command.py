"""`interlock fit` from files: every format, the same reference; what cannot be read is counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from interlock.commands.fit import fit
from interlock.errors import UserError
from interlock.streams.batch import Frame, Lines, Message
from interlock.streams.fit_files import feature_names
from interlock.streams.reference import load

Event = dict[str, Any]

START = 1_790_000_000_000
APP = typer.Typer()
APP.command()(fit)


def events(n: int = 700, model: str = "m") -> list[Event]:
    rng = np.random.default_rng(0)
    return [
        {
            "event_id": f"e{i}",
            "ts": START + i * 60_000,
            "model": model,
            "model_version": "1",
            "score": round(float(rng.uniform()), 6),
            "features": {"age": float(rng.integers(18, 90)), "code": str(rng.choice(["a", "b", "ü"]))},
        }
        for i in range(n)
    ]


def labels(predictions: list[Event]) -> list[Event]:
    return [{"event_id": e["event_id"], "ts": e["ts"] + 1000, "label": e["score"] > 0.5} for e in predictions]


def lines(path: Path, rows: list[Event]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def flat(rows: list[Event]) -> pa.Table:
    return pa.Table.from_pylist([
        {k: v for k, v in row.items() if k != "features"} | {f"features.{k}": v for k, v in row["features"].items()}
        for row in rows
    ])  # fmt: skip


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception

    assert result.exit_code == 0, result.output
    return result


def test_json_lines_parquet_and_arrow_of_the_same_events_give_the_same_reference(tmp_path: Path) -> None:
    rows = events()
    outcomes = lines(tmp_path / "o.jsonl", labels(rows))
    files = [lines(tmp_path / "p.jsonl", rows), tmp_path / "p.parquet", tmp_path / "p.arrow"]
    pq.write_table(flat(rows), files[1])
    nested = pa.Table.from_pylist(rows)
    with pa.OSFile(str(files[2]), "wb") as sink, pa.ipc.new_file(sink, nested.schema) as writer:
        writer.write_table(nested)
    ids = set()
    for file in files:
        run("--predictions", file, "--outcomes", outcomes, "-o", tmp_path / "m.ref")
        ids.add(load(tmp_path / "m.ref").id)

    assert len(ids) == 1


def test_it_says_what_it_learned_and_warns_of_what_it_could_not_read(tmp_path: Path) -> None:
    rows = events()
    file = lines(tmp_path / "p.jsonl", rows)
    file.write_text(file.read_text() + "{broken\n")
    result = run("--predictions", file, "-o", tmp_path / "m.ref")
    reference = load(tmp_path / "m.ref")

    assert f"{tmp_path / 'm.ref'} {reference.id}" in result.stdout
    assert "700 predictions of m (1), 2026-09-21T14:13:20Z to 2026-09-22T01:52:20Z" in result.stdout
    assert any(line.split()[:3] == ["code", "3", "values,"] for line in result.stdout.splitlines())
    assert any(line.split()[:2] == ["age", "mean"] for line in result.stdout.splitlines())
    assert "warning: 1 events could not be read: not_json" in result.stderr
    assert "warning: 700 rows:" in result.stderr


def test_json_output_is_one_object_for_programs(tmp_path: Path) -> None:
    result = run("--predictions", lines(tmp_path / "p.jsonl", events()), "-o", tmp_path / "m.ref", "--json")
    found = json.loads(result.stdout)

    assert found["id"] == load(tmp_path / "m.ref").id
    assert (found["rows"], found["numbers"], found["categories"]) == (700, ["age"], {"code": 3})


def test_two_models_need_a_choice(tmp_path: Path) -> None:
    files = [lines(tmp_path / "a.jsonl", events(model="a")), lines(tmp_path / "b.jsonl", [
        event | {"event_id": "b" + event["event_id"]} for event in events(model="b")
    ])]  # fmt: skip
    both = [part for file in files for part in ("--predictions", file)]
    run(*both, "-o", tmp_path / "m.ref", "--model", "b")

    assert (load(tmp_path / "m.ref").model, load(tmp_path / "m.ref").rows) == ("b", 700)
    with pytest.raises(UserError, match="predictions of a, b; choose one with --model"):
        run(*both, "-o", tmp_path / "m.ref")
    with pytest.raises(UserError, match="no prediction of c; the files have a, b"):
        run(*both, "-o", tmp_path / "m.ref", "--model", "c")


def test_a_map_renames_the_fields_of_ones_own_logs(tmp_path: Path) -> None:
    own = [{"id": e["event_id"], "at": e["ts"], "p": e["score"], "AGE": e["features"]["age"]} for e in events()]
    mapping = tmp_path / "map.yaml"
    mapping.write_text("event_id: id\nts: at\nscore: p\nmodel: {const: own}\nfeatures: {age: AGE}\n")
    run("--predictions", lines(tmp_path / "own.jsonl", own), "--map", mapping, "-o", tmp_path / "m.ref")
    reference = load(tmp_path / "m.ref")

    assert (reference.model, reference.numbers, reference.rows) == ("own", ("age",), 700)


@pytest.mark.parametrize(("name", "message"), [("none.jsonl", "no such file"), ("empty.jsonl", "found 0")])
def test_a_missing_and_an_empty_file_are_one_clear_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty.jsonl").touch()

    with pytest.raises(UserError, match=message):
        run("--predictions", tmp_path / name, "-o", tmp_path / "m.ref")


def test_a_missing_map_is_one_clear_line(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", events())

    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        run("--predictions", file, "--map", tmp_path / "none.yaml", "-o", tmp_path / "m.ref")


def test_features_are_found_in_lines_dotted_columns_structs_and_messages() -> None:
    rows = [b'{"features": {"a": 1}}', b"no json", b'{"features": 3}', b"[]", b'{"features": {"b": null}}', b"{}"]
    dotted = pa.record_batch({"features.c": [1], "ts": [1]})
    nested = pa.RecordBatch.from_pylist([{"features": {"d": 1, "e": "x"}, "ts": 1}])
    message = Message(b'{"features": {"f": 1}}\n{"features": {"g": 1}}', 0, 0)

    assert feature_names([Lines(rows, 0, 0), Frame(dotted, 0, 0), Frame(nested, 0, 0), [message]]) == tuple("abcdefg")
