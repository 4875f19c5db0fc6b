"""Bad input, from file to exit code: a dead letter with its reason, a count or one clear line; nothing is lost."""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from tests.replaying import (
    HOUR,
    POLICY,
    START,
    Event,
    Ran,
    assert_all_accounted,
    command,
    lines,
    outcome,
    prediction,
    replay_lines,
    replayed,
)

ROOT = Path(__file__).resolve().parents[1]
RATE = POLICY[: POLICY.index("- {name: decision_ece")]
"""Only what needs no outcomes."""
SOON = int(time.time() * 1000)  # noqa: TID251 - the future is relative to now

BAD: dict[str, tuple[Event | bytes, str]] = {
    "not JSON": (b"hello", "not_json"),
    "JSON cut short": (b'{"event_id": "x", "ts": 17', "not_json"),
    "NaN": (b'{"event_id":"x","ts":%d,"model":"m","score":NaN}' % START, "not_json"),
    "no object": (b"[1, 2]", "wrong_type"),
    "score of the wrong type": (prediction(1, score="high"), "wrong_type"),
    "segment of the wrong type": (prediction(1, segment=["acme"]), "wrong_type"),
    "id of the wrong type": (prediction(1, event_id=17), "wrong_type"),
    "no id": (prediction(1, event_id=...), "missing_field"),
    "an empty id": (prediction(1, event_id=""), "empty_id"),
    "no ts": (prediction(1, ts=...), "missing_field"),
    "no model": (prediction(1, model=...), "missing_field"),
    "a score above 1": (prediction(1, score=1.5), "out_of_range"),
    "a score below 0": (prediction(1, score=-0.01), "out_of_range"),
    "a probability above 1": (prediction(1, probabilities={"yes": 1.2, "no": 0.1}), "out_of_range"),
    "ts in the far future": (prediction(1, at=SOON + 365 * 24 * HOUR), "future_ts"),
    "ts in microseconds": (prediction(1, at=START * 1000), "future_ts"),
    "ts in seconds": (prediction(1, at=START // 1000), "ancient_ts"),
    "before 2000": (prediction(1, at=946_684_799_999), "ancient_ts"),
    "before 1970": (prediction(1, at=-1), "ancient_ts"),
    "ts beyond 64 bits": (prediction(1, at=2**63), "bad_ts"),
    "2 MiB": (prediction(1, comment="x" * (2 << 20)), "too_large"),
    "a value that is not UTF-8": (
        b'{"event_id":"x","ts":%d,"model":"m","segment":{"tenant":"\xff\xfe"}}' % START,
        "not_utf8",
    ),
    "a key that is not UTF-8": (
        b'{"event_id":"x","ts":%d,"model":"m","segment":{"ten\xff":"a"}}' % START,
        "not_utf8",
    ),
    "an id that is not UTF-8": (b'{"event_id":"\xc3\x28","ts":%d,"model":"m"}' % START, "not_utf8"),
}
BAD_OUTCOMES: dict[str, tuple[Event | bytes, str]] = {
    "not JSON": (b"}", "not_json"),
    "no id": ({"ts": START, "label": True}, "missing_field"),
    "no ts": ({"event_id": "e1", "label": True}, "missing_field"),
    "neither label nor confirmation": ({"event_id": "e1", "ts": START}, "missing_field"),
    "confirmation of the wrong type": (outcome(1, confirmed_ood="yes"), "wrong_type"),
    "ts in the far future": (outcome(1, at=SOON + 365 * 24 * HOUR), "future_ts"),
    "ts in seconds": (outcome(1, at=START // 1000), "ancient_ts"),
}


@pytest.mark.parametrize(("event", "reason"), BAD.values(), ids=BAD)
def test_a_bad_prediction_is_one_dead_letter_and_changes_nothing_else(
    tmp_path: Path, event: Event | bytes, reason: str
) -> None:
    good: list[Event | bytes] = [prediction(i) for i in range(0, 400, 2)]
    expected = replay_lines(tmp_path, good).said()
    ran = replay_lines(tmp_path, [*good[:70], event, *good[70:]])
    (letter,) = ran.lines("dead-letters")

    assert (letter["topic"], letter["offset"], letter["reason"]) == ("predictions", 70, reason)
    assert len(letter["raw"]) < 20_000
    assert ran.counted(reason) == ran.counted("dead_letters") == 1
    assert ran.said() == expected


@pytest.mark.parametrize(("event", "reason"), BAD_OUTCOMES.values(), ids=BAD_OUTCOMES)
def test_a_bad_outcome_is_one_dead_letter_and_changes_nothing_else(
    tmp_path: Path, event: Event | bytes, reason: str
) -> None:
    made: list[Event | bytes] = [prediction(i) for i in range(200)]
    said: list[Event | bytes] = [outcome(i) for i in range(200)]
    expected = replay_lines(tmp_path, made, said).said()
    ran = replay_lines(tmp_path, made, [*said[:70], event, *said[70:]])

    assert [(x["topic"], x["offset"], x["reason"]) for x in ran.lines("dead-letters")] == [("outcomes", 70, reason)]
    assert ran.said() == expected


def test_bad_abuse_reports_are_dead_letters(tmp_path: Path) -> None:
    abuse = lines(tmp_path / "a.jsonl", [{"event_id": "a", "ts": START, "model": "m"}, b"x"])
    ran = replayed(tmp_path, {"predictions": [lines(tmp_path / "p.jsonl", [prediction(0)])], "abuse": [abuse]})

    assert ran.dead() == ["missing_field", "not_json"]
    assert_all_accounted(ran, 3)


def test_a_column_of_nan_and_infinities_is_refused_row_by_row(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [{}, {"score": float("nan")}, {"ood_score": float("inf")}, {}]
    rows = [flat(i, **fields) for i, fields in enumerate(odd)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    ran = replayed(tmp_path, {"predictions": [tmp_path / "p.parquet"]})

    assert ran.dead() == ["out_of_range", "out_of_range"]
    assert ran.counted("predictions") == 2


def flat(i: int, at: int | None = None, **fields: object) -> Event:
    """Return a prediction with a dotted column for its slice."""
    event = prediction(i, at, segment=...) | {"segment.tenant": "acme"}
    return event | fields


# -- counts ------------------------------------------------------------------------------------------------------------


def test_an_outcome_without_a_prediction_is_an_orphan_when_its_wait_is_over_else_it_waits(tmp_path: Path) -> None:
    made: list[Event | bytes] = [prediction(i) for i in range(355)]
    early = outcome(9999, START + HOUR)
    late = outcome(8888, START + 6 * HOUR - 60_000)
    ran = replay_lines(tmp_path, made, [early, late])

    assert (ran.counted("orphan"), ran.counted("waiting_outcomes"), ran.counted("joined")) == (1, 1, 0)


def test_an_event_twice_counts_once(tmp_path: Path) -> None:
    made: list[Event | bytes] = [prediction(i) for i in range(300)]
    said: list[Event | bytes] = [outcome(i) for i in range(300)]
    expected = replay_lines(tmp_path, made, said).said()
    ran = replay_lines(tmp_path, [x for x in made for _ in (0, 1)], [x for x in said for _ in (0, 1, 2)])

    assert (ran.counted("predictions"), ran.counted("outcomes"), ran.counted("duplicate")) == (300, 300, 900)
    assert ran.said() == expected


@pytest.mark.parametrize("files", [1, 2])
def test_an_outcome_that_comes_again_after_hours_counts_once(tmp_path: Path, files: int) -> None:
    """Its first delivery is forgotten by then, unless both come in one chunk; its prediction has its label."""
    made: list[Event | bytes] = [prediction(i) for i in range(600)]
    said: list[Event | bytes] = [outcome(i) for i in range(600)]
    again = outcome(3) | {"ts": START + 8 * HOUR}
    expected = replay_lines(tmp_path, made, said).said()
    parts = [[*said[:460], again, *said[460:]]] if files == 1 else [said[:460], [again, *said[460:]]]
    paths = [lines(tmp_path / f"o{i}.jsonl", part) for i, part in enumerate(parts)]
    ran = replayed(tmp_path, {"predictions": [tmp_path / "p.jsonl"], "outcomes": paths})

    assert_all_accounted(ran, 1201)
    assert (ran.counted("outcomes"), ran.counted("duplicate"), ran.counted("joined")) == (600, 1, 600)
    assert ran.said() == expected


def test_a_correction_that_says_the_same_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    made: list[Event | bytes] = [prediction(i) for i in range(300)]
    said: list[Event | bytes] = [outcome(i) for i in range(300)]
    expected = replay_lines(tmp_path, made, said).said()
    ran = replay_lines(tmp_path, made, [*said[:9], outcome(3) | {"revision": 1, "ts": START + 1_200_000}, *said[9:]])

    assert (ran.counted("outcomes"), ran.counted("duplicate"), ran.counted("revised")) == (300, 0, 1)
    assert ran.said() == expected


@pytest.mark.parametrize("batches", [1, 4])
def test_a_hundred_thousand_orphans_are_all_counted(tmp_path: Path, batches: int) -> None:
    """More than a store holds before it is swept."""
    made: list[Event | bytes] = [prediction(i, START + i * 6 * HOUR // 1000) for i in range(4000)]
    said: list[Event | bytes] = [outcome(10**6 + i, START + i * 24 * HOUR // 100_000) for i in range(100_000)]
    ran = replay_lines(tmp_path, made[::batches], said)

    assert ran.counted("evicted") == 0
    assert ran.counted("orphan") + ran.counted("waiting_outcomes") == 100_000
    assert ran.counted("orphan") > 90_000


def test_ten_thousand_slice_values_are_judged_up_to_the_cap_and_the_rest_together(tmp_path: Path) -> None:
    rows: list[Event | bytes] = [
        prediction(i, START + i * HOUR // 4000, segment={"tenant": "acme" if i % 2 else f"t{i}"}) for i in range(20_000)
    ]
    ran = replay_lines(tmp_path, rows, policy=RATE)
    verdicts = ran.lines("verdicts")
    last = {line["scope"]["slice"]: line["n"] for line in verdicts}

    assert set(last) == {"tenant=acme", "(other)", *(s for s in last if s.startswith("tenant=t"))}
    assert max(len({x["scope"]["slice"] for x in verdicts if x["ts"] == ts}) for ts in {x["ts"] for x in verdicts}) <= 4
    assert sum(last.values()) == 20_000
    assert (ran.counted("slice_overflow"), ran.counted("predictions")) == (0, 20_000)


def test_slice_values_beyond_a_shards_limit_share_one_name_and_are_reported(tmp_path: Path) -> None:
    before = memory()
    rows: list[Event | bytes] = [
        prediction(i, START + i * HOUR // 50_000, segment={"tenant": f"t{i}"}) for i in range(100_000)
    ]
    ran = replay_lines(tmp_path, rows, policy=RATE)

    assert ran.counted("predictions") == 100_000
    assert ran.counted("slice_overflow") == 100_000 - (2**16 - 1)
    assert sum({x["scope"]["slice"]: x["n"] for x in ran.lines("verdicts")}.values()) == 100_000
    assert memory() - before < 400


def memory() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_five_thousand_model_versions_are_counted_and_the_last_of_them_together(tmp_path: Path) -> None:
    rows: list[Event | bytes] = [
        prediction(i, START + i * HOUR // 5000, model_version=f"v{i % 5000}") for i in range(10_000)
    ]
    ran = replay_lines(tmp_path, rows, [outcome(i, START + i * HOUR // 5000 + 60_000) for i in range(10_000)])

    assert (ran.counted("predictions"), ran.counted("joined")) == (10_000, 10_000)
    assert ran.counted("version_overflow") > 0


def test_an_empty_file_and_blank_lines_hold_no_events(tmp_path: Path) -> None:
    (tmp_path / "blank.jsonl").write_bytes(b"\n\n  \n")
    for name in ("p.jsonl", "p.parquet", "p.arrow", "p.csv"):
        (tmp_path / name).touch()
        ran = replayed(tmp_path, {"predictions": [tmp_path / name, tmp_path / "blank.jsonl"]})

        assert (ran.code, ran.lines("verdicts"), ran.counted("predictions")) == (4, [], 0)
        assert ran.run()["closed_by_end_from"] is None or isinstance(ran.run()["closed_by_end_from"], int)


def test_only_bad_events_are_only_dead_letters(tmp_path: Path) -> None:
    ran = replay_lines(tmp_path, [b"x"] * 3000, [b"y"] * 10)

    assert (ran.code, ran.counted("dead_letters")) == (4, 3010)


def test_without_outcomes_what_needs_labels_stays_unknown(tmp_path: Path) -> None:
    ran = replay_lines(tmp_path, [prediction(i) for i in range(600)])
    last = {line["slo"]: line for line in ran.lines("verdicts")}

    assert ran.code == 4
    assert last["ood_rate_6h"]["state"] == "met"
    assert (last["decision_ece_6h"]["state"], last["decision_ece_6h"]["value"]) == ("insufficient", None)


def test_years_of_empty_time_are_jumped_over(tmp_path: Path) -> None:
    begin = 946_684_800_000
    at = [begin, begin + 1000, begin + 9 * 365 * 24 * HOUR, START]
    policy = POLICY + NEVER
    start = time.monotonic()
    ran = replay_lines(
        tmp_path, [prediction(i, t) for i, t in enumerate(at)], [outcome(i, t + 1000) for i, t in enumerate(at)], policy
    )

    assert time.monotonic() - start < 10
    assert (ran.counted("predictions"), ran.counted("joined")) == (4, 4)
    assert len(ran.lines("verdicts")) < 5000


NEVER = """\
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""


# -- one clear line ----------------------------------------------------------------------------------------------------


def refused(ran: Ran, code: int = 2) -> str:
    """Check that a replay was refused in one line; return it."""
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    assert not (ran.folder / "verdicts.jsonl").exists()
    return ran.err.removesuffix("\n")


def good(folder: Path) -> Path:
    return lines(folder / "good.jsonl", [prediction(i) for i in range(10)])


def arrow_cut_short(path: Path) -> Path:
    table = pa.Table.from_pylist([flat(i) for i in range(5000)])
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    path.write_bytes(path.read_bytes()[:-3000])
    return path


def arrow_file_cut_short(path: Path) -> Path:
    table = pa.Table.from_pylist([flat(i) for i in range(5000)])
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    path.write_bytes(path.read_bytes()[:-300])
    return path


def arrow_not_utf8(path: Path) -> Path:
    table = pa.Table.from_pylist([flat(i, model_version="abcdefgh") for i in range(5)])
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abc\xff\xfefgh"))
    return path


def parquet_cut_short(path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist([flat(i) for i in range(500)]), path)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def lacking(column: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        pq.write_table(pa.Table.from_pylist([flat(i) for i in range(5)]).drop_columns([column]), path)
        return path

    return write


def csv_not_utf8(path: Path) -> Path:
    path.write_bytes(b"event_id,ts,model,segment.tenant\na,%d,m,\xff\xfe\n" % START)
    return path


def csv_ragged(path: Path) -> Path:
    path.write_bytes(b"event_id,ts,model\na,%d,m\nb,%d\n" % (START, START))
    return path


def gzip_of_nothing(path: Path) -> Path:
    path.write_bytes(b"no gzip")
    return path


def folder_instead(path: Path) -> Path:
    path.mkdir()
    return path


FILES: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "an Arrow stream cut short": ("p.arrow", arrow_cut_short, "cannot be read"),
    "an Arrow file cut short": ("p.arrow", arrow_file_cut_short, "cannot be read"),
    "an Arrow file with bytes that are not UTF-8": ("p.arrow", arrow_not_utf8, "cannot be read"),
    "a parquet cut short": ("p.parquet", parquet_cut_short, "cannot be read"),
    "a parquet without ts": ("p.parquet", lacking("ts"), "predictions need a column ts; it has event_id, model"),
    "a parquet without event_id": ("p.parquet", lacking("event_id"), "predictions need a column event_id; it has ts"),
    "a parquet without model": ("p.parquet", lacking("model"), "predictions need a column model; it has event_id"),
    "a CSV that is not UTF-8": ("p.csv", csv_not_utf8, "cannot be read"),
    "a CSV with a row cut short": ("p.csv", csv_ragged, "cannot be read"),
    "no gzip": ("p.jsonl.gz", gzip_of_nothing, "cannot be read"),
    "a missing file": ("p.jsonl", lambda path: path, "no such file"),
    "a folder": ("p.jsonl", folder_instead, "cannot be read"),
    "an unknown kind": ("p.xml", gzip_of_nothing, "unknown kind of file; known are .jsonl"),
}


@pytest.mark.parametrize(("name", "write", "said"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_one_line_that_names_it(
    tmp_path: Path, name: str, write: Callable[[Path], Path], said: str
) -> None:
    path = write(tmp_path / name)
    line = refused(replayed(tmp_path, {"predictions": [good(tmp_path), path]}))

    assert line.startswith(f"{path}: {said}")


def test_a_missing_file_of_outcomes_is_named_before_anything_is_read(tmp_path: Path) -> None:
    none = tmp_path / "none.csv"
    line = refused(replayed(tmp_path, {"predictions": [good(tmp_path)], "outcomes": [none]}))

    assert line == f"{none}: no such file"
    assert not (tmp_path / "out").exists()


def test_a_broken_policy_says_all_its_errors_and_exits_1(tmp_path: Path) -> None:
    broken = POLICY.replace("action_on_breach: notify", "action_on_breach: shout").replace('">= 0.10"', '"x"')
    ran = replayed(
        tmp_path, {"predictions": [good(tmp_path)]}, broken.replace("join_ttl: 2d", "join_ttl: 2 fortnights")
    )

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 2
    assert all(
        re.match(rf"{re.escape(str(tmp_path / 'policy.yaml'))}:\d+:\d+: ", line) for line in ran.err.splitlines()
    )
    assert not ran.folder.exists()


@pytest.mark.parametrize("text", ["\t- x", "a: [", "", "slos: 1", "\x00"])
def test_what_is_no_policy_at_all_exits_1_without_a_traceback(tmp_path: Path, text: str) -> None:
    ran = replayed(tmp_path, {"predictions": [good(tmp_path)]}, text)

    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert str(tmp_path / "policy.yaml") in ran.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the reference: No such file or directory"),
        (b"", "not a reference file"),
        (b"nonsense of some length", "not a reference file"),
        (b"ILK-REF\n", "cut short"),
        (b"ILK-REF\n" + bytes(60), "format version 0"),
        (b"ILK-REF\n\x01\x00" + bytes(60), "damaged or cut short"),
    ],
)
def test_a_broken_reference_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "m.ref").write_bytes(content)
    line = refused(replayed(tmp_path, {"predictions": [good(tmp_path)]}, POLICY + "reference: {file: m.ref}\n"))

    assert line.startswith(f"{tmp_path / 'm.ref'}: {said}")


def fitted(folder: Path, model: str) -> Path:
    rows = [prediction(i, model=model, features={"age": float(i % 60), "code": "abc"[i % 3]}) for i in range(700)]
    path = lines(folder / "fit.jsonl", rows)
    code, _, err = command("fit", "--predictions", path, "-o", folder / "m.ref")
    assert code == 0, err
    return folder / "m.ref"


def test_a_reference_of_another_model_or_digest_is_one_line(tmp_path: Path) -> None:
    path = fitted(tmp_path, "other")
    line = refused(replayed(tmp_path, {"predictions": [good(tmp_path)]}, POLICY + "reference: {file: m.ref}\n"))

    assert line == f"{path}: fitted for model other; the policy is for m"
    digest = "sha256:" + "0" * 64
    text = POLICY + f"reference: {{file: m.ref, digest: '{digest}'}}\n"
    assert refused(replayed(tmp_path, {"predictions": [good(tmp_path)]}, text)).endswith(
        f"; the policy expects {digest}"
    )


def test_a_reference_that_fits_scores_what_it_has_not_seen(tmp_path: Path) -> None:
    fitted(tmp_path, "m")
    rows: list[Event | bytes] = [prediction(i, ood_score=..., features={"age": 1e6, "code": "zzz"}) for i in range(300)]
    policy = RATE.replace("ood: {threshold: 0.9}\n", "") + "reference: {file: m.ref}\n"
    ran = replay_lines(tmp_path, rows, policy=policy)

    assert ran.code == 1
    assert {line["state"] for line in ran.lines("control")} == {"engaged"}


def with_map(folder: Path, text: str, path: Path) -> Ran:
    (folder / "map.yaml").write_text(text)
    return replayed(folder, {"predictions": [path]}, options=["--no-clickhouse", "--map", folder / "map.yaml"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evnt_id: id\n", "map.yaml:1:1: we have no field evnt_id; did you mean event_id?"),
        ("event_id: [id]\n", "map.yaml:1:11: event_id: expected the name of a field"),
        ("score: prob\nscore: p\n", "map.yaml:2:1: score is given twice"),
        ("a: [", "map.yaml: not YAML"),
        ("", "map.yaml: expected our fields"),
        ("\x00", "map.yaml: not YAML"),
    ],
)
def test_a_wrong_map_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert refused(with_map(tmp_path, text, good(tmp_path))).startswith(f"{tmp_path}/{said}")


def test_a_map_that_is_missing_or_not_utf8_is_one_line(tmp_path: Path) -> None:
    options = ["--no-clickhouse", "--map", tmp_path / "none.yaml"]
    missing = refused(replayed(tmp_path, {"predictions": [good(tmp_path)]}, options=options))
    (tmp_path / "none.yaml").write_bytes(b"event_id: \xff\n")
    garbled = refused(replayed(tmp_path, {"predictions": [good(tmp_path)]}, options=options))

    assert missing == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert garbled.startswith(f"{tmp_path / 'none.yaml'}: ")


def test_a_map_of_a_field_that_is_not_there_is_a_line_for_columns_and_dead_letters_for_json(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist([flat(i) for i in range(5)]), path)
    line = refused(with_map(tmp_path, "event_id: idd\n", path))
    ran = with_map(tmp_path, "event_id: idd\n", good(tmp_path))

    assert line.startswith(f"{path}: no column idd, which --map asks for; it has event_id, ts, model")
    assert (ran.dead(), ran.counted("predictions")) == (["missing_field"] * 10, 0)


@pytest.mark.integration
def test_a_process_of_its_own_says_one_line_and_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    base = [sys.executable, "-m", "interlock", "replay", str(tmp_path / "p.yaml"), "--no-clickhouse"]
    base += ["--out", str(tmp_path / "out"), "--predictions"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "INTERLOCK_AUDIT_SECRET": "test"}
    codes = []
    for name in (str(good(tmp_path)), str(parquet_cut_short(tmp_path / "p.parquet"))):
        result = subprocess.run([*base, name], capture_output=True, text=True, check=False, timeout=60, env=environment)
        codes.append((result.returncode, result.stderr.count("\n"), "Traceback" in result.stderr))

    assert codes == [(4, 0, False), (2, 1, False)]
