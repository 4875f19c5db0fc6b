"""`interlock replay`: every format says the same, exit codes, what is written, and that it is whole or not there."""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.streams.outputs import Outputs
from interlock.streams.replay import Inputs, Summary
from interlock.streams.replay import replay as replay_files
from tests.events import History, history
from tests.replaying import (
    HOUR,
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

CLAIMS = """
model: claims
lateness: 5m
false_pages_per_year: 200
endpoint: segment.endpoint
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
ood: {threshold: 0.9}
audits: {rate: 0.25}
slices: [{by: [tenant], max: 3}]
release: {hold: 30m, wrong_per_year: 400}
never_events:
- {name: large_denial, when: "decision == 'deny' && features.amount > 900 && route == 'automatic'", undecided: 0.5}
slos:
- {name: ood_rate_6h, objective: o, target: "<= 0.10", window: 6h, action_on_breach: route_to_human_review, per: tenant}
- {name: ood_recall_12h, objective: o, target: ">= 0.80", window: 12h, action_on_breach: degrade_to_safe_mode}
- {name: decision_ece_6h, objective: o, target: "<= 0.08", window: 6h, action_on_breach: notify, per: [tenant]}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
"""

VERDICT_FIELDS = [
    "verdict_id", "model", "slo", "scope", "ts", "window_start", "window_end", "state", "value", "lower", "upper", "n",
    "label_coverage", "target", "evidence", "policy_digest",
]  # fmt: skip
CONTROL_FIELDS = [
    "control_id", "epoch", "model", "scope", "action", "mode", "state", "parameters", "slo", "verdict_id", "cause",
    "evidence", "policy_digest", "ts", "issued_at",
]  # fmt: skip

MAP = """
event_id: id
ts: when
model: {const: claims}
model_version: release
segment: {tenant: org, endpoint: path}
features: {amount: sum}
score: prob
ood_score: strange
label: truth
confirmed_ood: was_strange
"""
THEIRS = {
    "event_id": "id", "ts": "when", "model_version": "release", "segment.tenant": "org", "segment.endpoint": "path",
    "features.amount": "sum", "score": "prob", "ood_score": "strange", "label": "truth", "confirmed_ood": "was_strange",
}  # fmt: skip

Rows = Sequence[Event]


@pytest.fixture(scope="module")
def events() -> dict[str, list[Event]]:
    made = history(seed=7, hours=36, per_hour=90)
    return {"predictions": decoded(made.predictions), "outcomes": decoded(made.outcomes)}


@pytest.fixture(scope="module")
def straight(events: dict[str, list[Event]], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("straight")
    return replayed(folder, {topic: [lines(folder / f"{topic}.jsonl", rows)] for topic, rows in events.items()}, CLAIMS)


def decoded(texts: Sequence[bytes]) -> list[Event]:
    return [json.loads(text) for text in texts]


def flat(event: Event) -> Event:
    """Return an event with dotted names in place of nested fields."""
    found: Event = {}
    for name, value in event.items():
        below = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}.{key}" if key else name: one for key, one in below}
    return found


def table(rows: Rows) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def as_gzip(path: Path, rows: Rows) -> Path:
    path = path.with_suffix(".jsonl.gz")
    path.write_bytes(gzip.compress(b"".join(msgspec.json.encode(row) + b"\n" for row in rows)))
    return path


def as_parquet(path: Path, rows: Rows) -> Path:
    pq.write_table(table(rows), path.with_suffix(".parquet"), row_group_size=1000)
    return path.with_suffix(".parquet")


def as_arrow(path: Path, rows: Rows) -> Path:
    found = table([flat(row) for row in rows])
    with pa.ipc.new_file(str(path.with_suffix(".arrow")), found.schema) as writer:
        writer.write_table(found, max_chunksize=777)
    return path.with_suffix(".arrow")


def as_csv(path: Path, rows: Rows) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in flat(row)))
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({k: str(v).lower() if isinstance(v, bool) else v for k, v in flat(r).items()} for r in rows)
    return path.with_suffix(".csv")


def mapped(write: Callable[[Path, Rows], Path]) -> Callable[[Path, Rows], Path]:
    """Write rows under foreign names."""

    def theirs(path: Path, rows: Rows) -> Path:
        named = [
            {THEIRS.get(name, name): value for name, value in flat(row).items() if name != "model"} for row in rows
        ]
        return write(path, named)

    return theirs


def as_lines(path: Path, rows: Rows) -> Path:
    return lines(path.with_suffix(".jsonl"), rows)


@pytest.mark.parametrize("write", [as_gzip, as_parquet, as_arrow, as_csv])
def test_every_format_gives_the_same_bytes(
    tmp_path: Path, events: dict[str, list[Event]], straight: Ran, write: Callable[[Path, Rows], Path]
) -> None:
    files = {topic: [write(tmp_path / topic, rows)] for topic, rows in events.items()}
    ran = replayed(tmp_path, files, CLAIMS)

    assert ran.said() == straight.said()
    assert ran.run()["counters"] == straight.run()["counters"]


@pytest.mark.parametrize("write", [as_lines, as_gzip, as_csv, as_parquet])
def test_foreign_names_with_a_map_give_the_same_bytes(
    tmp_path: Path, events: dict[str, list[Event]], straight: Ran, write: Callable[[Path, Rows], Path]
) -> None:
    (tmp_path / "out.yaml").write_text(MAP)
    files = {topic: [mapped(write)(tmp_path / topic, rows)] for topic, rows in events.items()}
    ran = replayed(tmp_path, files, CLAIMS, ("--no-clickhouse", "--map", tmp_path / "out.yaml"))

    assert ran.said() == straight.said()


def test_several_files_in_order_are_one_file(tmp_path: Path, events: dict[str, list[Event]], straight: Ran) -> None:
    files = {}
    for topic, rows in events.items():
        cuts = [0, 7, 7, 1500, len(rows)]
        writers = [as_lines, as_lines, as_gzip, as_parquet]  # the second file is empty
        parts = [rows[start:end] for start, end in pairwise(cuts)]
        files[topic] = [
            w(tmp_path / f"{topic}{i}", part) for i, (w, part) in enumerate(zip(writers, parts, strict=True))
        ]
    ran = replayed(tmp_path, files, CLAIMS)

    assert ran.said() == straight.said()
    assert_all_accounted(ran, sum(map(len, events.values())))


def test_the_history_breaches_and_its_run_is_recorded(straight: Ran, events: dict[str, list[Event]]) -> None:
    facts = straight.run()

    assert (straight.code, straight.err.count("\n")) == (1, 1)
    assert facts["policy"] == load_policy(CLAIMS.encode(), "p").digest
    assert facts["reference"] is None
    assert facts["run_start"] > 1_700_000_000_000
    assert [len(facts["files"][topic]) for topic in ("predictions", "outcomes", "abuse")] == [1, 1, 0]
    assert_all_accounted(straight, sum(map(len, events.values())))
    assert {line["state"] for line in straight.lines("control")} == {"engaged", "released"}


def test_verdict_and_control_lines_have_the_documented_fields_in_their_order(straight: Ran) -> None:
    verdicts, controls = straight.lines("verdicts"), straight.lines("control")
    digest = straight.run()["policy"]

    assert {tuple(line) for line in verdicts} == {tuple(VERDICT_FIELDS)}
    assert {tuple(line) for line in controls} == {tuple(CONTROL_FIELDS)}
    assert {(line["model"], line["policy_digest"]) for line in verdicts + controls} == {("claims", digest)}
    assert len({line["verdict_id"] for line in verdicts}) == len(verdicts)
    assert {line["verdict_id"] for line in controls} <= {line["verdict_id"] for line in verdicts}
    assert [line["ts"] for line in verdicts] == sorted(line["ts"] for line in verdicts)
    assert all(line["window_start"] < line["window_end"] <= line["ts"] for line in verdicts)


NEVER = """
model: m
never_events: [{name: denial, when: "decision == 'deny'"}]
slos: [{name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}]
"""


def test_exit_codes_are_0_when_all_is_met_1_when_something_breached_4_when_nothing_is_known(tmp_path: Path) -> None:
    good = [prediction(i) for i in range(100)]
    bad = [*good, prediction(100, decision="deny"), *(prediction(i) for i in range(101, 200))]
    codes = [replay_lines(tmp_path, rows, policy=NEVER).code for rows in (good, bad)]
    unknown = replay_lines(tmp_path, good)

    assert codes == [0, 1]
    assert unknown.code == 4
    assert {line["state"] for line in unknown.lines("verdicts")} <= {"insufficient", "no_data", "met"}


def test_a_second_replay_into_the_same_folder_replaces_the_first(tmp_path: Path) -> None:
    first = replay_lines(tmp_path, [prediction(0, decision="deny"), b"junk"], policy=NEVER)
    before = first.said()
    replay_lines(tmp_path, [prediction(0)], policy=NEVER)

    assert first.said() != before
    assert (first.lines("control"), first.dead(), first.counted("predictions")) == ([], [], 1)


def test_a_run_that_fails_midway_leaves_what_stood_there(tmp_path: Path) -> None:
    ran = replay_lines(tmp_path, [prediction(0, decision="deny")], policy=NEVER)
    before = {path.name: path.read_bytes() for path in ran.folder.iterdir()}
    more = lines(tmp_path / "1.jsonl", [prediction(i) for i in range(20_000)])
    broken = tmp_path / "2.parquet"
    broken.write_bytes(b"PAR1 and no more")
    failed = replayed(tmp_path, {"predictions": [more, broken]}, NEVER)
    after = {path.name: path.read_bytes() for path in ran.folder.iterdir() if path.suffix != ".partial"}

    assert (failed.code, failed.out) == (2, "")
    assert failed.err.startswith(f"{broken}: cannot be read")
    assert after == before


def test_the_first_run_that_fails_leaves_no_output(tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(b"nonsense")
    failed = replayed(tmp_path, {"predictions": [tmp_path / "1.parquet"]})

    assert failed.code == 2
    assert {path.suffix for path in failed.folder.iterdir()} <= {".partial"}


def test_an_out_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    failed = replayed(tmp_path, {"predictions": [lines(tmp_path / "p.jsonl", [prediction(0)])]})

    assert failed.code == 2
    assert failed.err.count("\n") == 1
    assert failed.err.startswith("cannot write ")


def test_a_foreign_clickhouse_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "clickhouse"
    foreign.mkdir(parents=True)
    (foreign / "precious").write_text("data")
    path = lines(tmp_path / "p.jsonl", [prediction(0)])
    failed = replayed(tmp_path, {"predictions": [path]}, options=["--clickhouse"])

    assert failed.code == 2
    assert failed.err == f"{foreign} exists and is not from a replay; choose another --out\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clickhouse"]
    assert (foreign / "precious").read_text() == "data"


@pytest.mark.integration
def test_clickhouse_holds_what_the_files_hold_and_survives_a_failed_run(
    tmp_path: Path, events: dict[str, list[Event]], straight: Ran
) -> None:
    rows: dict[str, list[Event | bytes]] = {topic: [*rows, b"junk"] for topic, rows in events.items()}
    files = {topic: [lines(tmp_path / f"{topic}.jsonl", kept)] for topic, kept in rows.items()}
    ran = [replayed(tmp_path, files, CLAIMS, ["--clickhouse"]) for _ in range(2)][1]
    broken = tmp_path / "2.parquet"
    broken.write_bytes(b"nonsense")
    replayed(tmp_path, {"predictions": [*files["predictions"], broken]}, CLAIMS, ["--clickhouse"])

    assert ran.said() == straight.said()
    with ClickHouseSink.connect(directory=ran.folder / "clickhouse") as sink:
        counts = {name: n(sink, f"SELECT count() AS n FROM interlock.{name} FINAL") for name in TABLES}
        sums = {
            key: n(sink, f"SELECT sum(count) AS n FROM interlock.tallies FINAL WHERE {cell}")
            for key, cell in CELLS.items()
        }
    assert counts == {"verdicts": len(ran.lines("verdicts")), "controls": len(ran.lines("control")), "dead_letters": 2}
    assert sums == {key: ran.counted(key) for key in CELLS}


TABLES = ("verdicts", "controls", "dead_letters")
CELLS = {
    "predictions": "chain = 'predictions' AND startsWith(series, 'events') AND cell = 0",
    "late": "chain = 'predictions' AND startsWith(series, 'events') AND cell = 1",
    "joined": "chain = 'joined' AND startsWith(series, 'events') AND cell = 10",
    "orphan": "chain = 'joined' AND startsWith(series, 'events') AND cell = 11",
}


def n(sink: ClickHouseSink, sql: str) -> int:
    return int(sink.query(sql)[0]["n"])


def test_unordered_files_count_as_late_and_lose_nothing_and_sort_mends_them(tmp_path: Path) -> None:
    made = [prediction(i, ood_score=0.95 if 200 < i < 500 else 0.1) for i in range(900)]
    said = [outcome(i) for i in range(900)]
    ordered = replay_lines(tmp_path, made, said)
    expected = ordered.said()
    rng = np.random.default_rng(5)
    shuffled = [[rows[i] for i in rng.permutation(900).tolist()] for rows in (made, said)]
    late = replay_lines(tmp_path, shuffled[0], shuffled[1])
    lateness = late.counted("late")
    mended = replay_lines(tmp_path, shuffled[0], shuffled[1], options=["--sort"])

    assert lateness > 1000
    assert mended.counted("late") == 0
    assert mended.said() == expected


@pytest.mark.parametrize("write", [as_gzip, as_parquet, as_arrow, as_csv])
def test_sorting_orders_several_files_of_any_format_as_one(
    tmp_path: Path, events: dict[str, list[Event]], straight: Ran, write: Callable[[Path, Rows], Path]
) -> None:
    files = {}
    for topic, rows in events.items():
        later, earlier = write(tmp_path / f"{topic}1", rows[::-2]), as_lines(tmp_path / f"{topic}2", rows[-2::-2])
        files[topic] = [later, earlier]
    ran = replayed(tmp_path, files, CLAIMS, ("--no-clickhouse", "--sort"))

    assert ran.counted("late") == 0
    assert sorted(ran.said()[1].splitlines()) == sorted(straight.said()[1].splitlines())
    assert ran.said()[0] == straight.said()[0]


def test_sorting_keeps_the_dead_letters_of_every_file_and_their_places(tmp_path: Path) -> None:
    first = lines(tmp_path / "1.jsonl", [prediction(5), b"junk"])
    second = lines(tmp_path / "2.jsonl", [prediction(3), prediction(4, score=2)])
    files = {"predictions": [first, second], "outcomes": [lines(tmp_path / "o.jsonl", [b"{}"])]}
    ran = replayed(tmp_path, files, options=["--no-clickhouse", "--sort"])

    assert_all_accounted(ran, 5)
    assert sorted((x["topic"], x["offset"], x["reason"]) for x in ran.lines("dead-letters")) == [
        ("outcomes", 0, "missing_field"),
        ("predictions", 1, "not_json"),
        ("predictions", 3, "out_of_range"),
    ]


@pytest.fixture(scope="module")
def short() -> History:
    return history(seed=11, hours=30, per_hour=60)


@given(share=st.floats(0.05, 1), more=st.floats(-0.1, 0.1))
@settings(max_examples=5)
def test_a_prefix_of_a_history_says_the_same_of_all_panes_before_its_last_watermark(
    short: History, tmp_path_factory: pytest.TempPathFactory, share: float, more: float
) -> None:
    folder = tmp_path_factory.mktemp("prefix")
    counts = (int(share * len(short.predictions)), int(min(1, max(0.01, share + more)) * len(short.outcomes)))
    part = History(short.predictions[: counts[0]], short.outcomes[: counts[1]], short.end)
    whole, cut = (run_history(x, folder / name) for x, name in ((short, "whole"), (part, "part")))
    ends = [json.loads(rows[-1])["ts"] for rows in (part.predictions, part.outcomes)]
    until = min(ends) - 5 * 60_000

    for name in ("verdicts.jsonl", "control.jsonl"):
        kept, said = (
            [x for x in (f / name).read_bytes().splitlines() if json.loads(x)["ts"] <= until] for f in (whole, cut)
        )
        assert said == kept
        assert kept or name == "control.jsonl" or share < 0.2


def run_history(events: History, folder: Path) -> Path:
    """Replay a history below the command: the run starts at a set time."""
    folder.mkdir()
    policy = load_policy(CLAIMS.encode(), "p")
    paths = {
        "predictions": [lines(folder / "p.jsonl", events.predictions)],
        "outcomes": [lines(folder / "o.jsonl", events.outcomes)],
    }
    with Outputs(folder, make_plan(policy), clickhouse=False) as outputs:
        summary: Summary = replay_files(policy, None, Inputs(paths, events.end, None, b"key"), outputs, lambda _: None)
    assert summary.counters["predictions"] == len(events.predictions)
    return folder


def test_models_that_the_policy_does_not_name_are_judged_apart(tmp_path: Path) -> None:
    policy = NEVER.replace("model: m\n", "")
    rows = [
        prediction(2 * i + k, model="ab"[k], decision="deny" if i == 50 else "pay") for i in range(120) for k in (0, 1)
    ]
    both = replay_lines(tmp_path, rows, policy=policy)
    verdicts, controls = both.lines("verdicts"), both.lines("control")
    alone = replay_lines(tmp_path, [row for row in rows if row["model"] == "a"], policy=policy)

    assert both.code == 1
    assert [line["model"] for line in controls] == ["a", "b"]
    assert len({line["control_id"] for line in controls}) == 2
    assert alone.lines("control") == controls[:1]
    assert both.counted("other_model") == 0
    last = {line["model"]: line["n"] for line in verdicts}
    assert last == {"a": 120, "b": 120}


def test_a_policy_for_another_model_counts_its_events_and_knows_nothing(tmp_path: Path) -> None:
    ran = replay_lines(tmp_path, [prediction(i, model="other") for i in range(50)], [outcome(i) for i in range(50)])

    assert ran.code == 4
    assert (ran.counted("other_model"), ran.counted("predictions")) == (50, 0)
    assert ran.lines("verdicts") == []
    assert "No verdicts." in ran.out


def test_abuse_reports_are_read_and_counted(tmp_path: Path) -> None:
    abuse = [{"event_id": f"a{i}", "ts": START + i * HOUR, "model": "m", "category": "spam"} for i in range(20)]
    files = {
        "predictions": [lines(tmp_path / "p.jsonl", [prediction(i) for i in range(50)])],
        "abuse": [lines(tmp_path / "a.jsonl", abuse)],
    }
    ran = replayed(tmp_path, files)

    assert ran.counted("abuse") == 20
    assert_all_accounted(ran, 70)


def test_help_names_the_options(tmp_path: Path) -> None:
    code, out, _ = command("replay", "--help")

    assert code == 0
    for option in ("--predictions", "--outcomes", "--abuse", "--map", "--sort", "--out", "--no-clickhouse"):
        assert option in out
