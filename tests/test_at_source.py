"""`labels.joined_at_source`: how outcomes count that carry their predictions, and that nothing is remembered for them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from interlock.emit import Emitter
from interlock.policies.load import load_policy
from interlock.policies.plan import LABELS, ORPHANS
from interlock.policies.planning import make_plan
from interlock.streams import checkpoint
from interlock.streams.batch import Lines, Message, Wanted
from interlock.streams.budget import Budget
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.live import Layout, Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.scoring import Scorer
from interlock.streams.shard import Shard
from interlock.streams.tally import CELL, COHORT, COUNT, PANE, TallyRecord
from tests.replaying import command, outcome, prediction, replay_lines, replayed

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_790_000_000_000 - 1_790_000_000_000 % DAY
POLICY = b"""
model: m
lateness: 0s
dedup_ttl: 5m
labels: {joined_at_source: true, join_ttl: 60m, orphan_ttl: 20m, predicted: score > 0.5}
slos: [{name: accuracy_1h, objective: o, target: ">= 0.9", window: 1h, action_on_breach: notify}]
"""


@pytest.fixture
def shard() -> Shard:
    return made()


def made(budget: Budget | None = None) -> Shard:
    plan = make_plan(load_policy(POLICY, "source.yaml"))
    return Shard(0, plan, Scorer(plan.policy, None, b""), budget=budget)


def said(name: str, minute: float, made: float | None, **more: Any) -> dict[str, Any]:
    """An outcome at a minute, of a prediction at another one."""
    carried = {"ts": START + int((made or 0) * MINUTE), "model": "m", "score": 0.75} | more.pop("fields", {})
    one = {"event_id": name, "ts": START + int(minute * MINUTE), "label": True} | more
    return one if made is None else one | {"prediction": carried}


def feed(shard: Shard, *events: dict[str, Any], appended: int = START + DAY) -> list[TallyRecord]:
    decode = outcome_decoder(b"k", embedded=Wanted(paths=shard.plan.paths))
    batch, dead = decode(Lines([msgspec.json.encode(one) for one in events], 0, appended))
    assert not dead
    return shard.outcomes(batch).records


def joined_cells(shard: Shard, closed: list[TallyRecord], cell: int) -> list[tuple[int, int, int]]:
    """Return arrival and cohort in minutes from START, and count, of a cell of all events; the last panes are closed here."""
    records = [*closed, *shard.finish((START + DAY) // shard.plan.tick).records]
    table = np.concatenate([r.counts[:, r.counts[CELL] == cell] for r in records if r.chain == "joined"], axis=1)
    minutes = (table[[PANE, COHORT]] * shard.plan.tick - START) // MINUTE
    return [(p, c, n) for p, c, n in np.stack([*minutes, table[COUNT]]).T.tolist()]


def test_a_pair_counts_when_the_later_of_the_two_was_marked_with_its_prediction(shard: Shard) -> None:
    closed = feed(shard, said("a", 47, 3), said("b", 50, 55))

    assert shard.counters["joined"] == 2
    assert joined_cells(shard, closed, LABELS) == [(47, 3, 1), (55, 55, 1)]


@pytest.mark.parametrize(
    ("minute", "met"), [(79.5, False), (80, True), (99, True), (100, True), (160, True), (160.5, False), (700, False)]
)
def test_an_outcome_meets_what_it_carries_within_both_horizons_only(shard: Shard, minute: float, met: bool) -> None:
    feed(shard, said("a", minute, 100))

    assert (shard.counters["joined"], shard.counters["orphan"]) == (int(met), int(not met))


def test_a_prediction_cannot_be_later_than_the_record_that_carries_it(shard: Shard) -> None:
    closed = feed(shard, said("a", 10, 18), appended=START + 12 * MINUTE)

    assert joined_cells(shard, closed, LABELS) == [(12, 12, 1)]


def test_an_outcome_that_carries_nothing_is_an_orphan_where_its_wait_would_have_ended(shard: Shard) -> None:
    closed = feed(shard, said("a", 1, None), said("b", 2, 1))

    assert (shard.counters["orphan"], shard.counters["joined"], shard.counters["outcomes"]) == (1, 1, 2)
    (orphan,) = joined_cells(shard, closed, ORPHANS)
    assert (orphan[0], orphan[2]) == (21, 1)


def test_of_repeats_the_first_counts_in_one_chunk_or_in_many(shard: Shard) -> None:
    events = [
        said("a", 1, 0),
        said("a", 2, 0, fields={"score": 0.1}),
        said("a", 3, None),
        said("b", 9, 0),
        said("a", 9, 0),
    ]
    other = made()
    feed(shard, *events)
    for one in events:
        feed(other, one)

    assert shard.counters == other.counters
    assert shard.counters["duplicate"] == 2
    assert shard.counters["joined"] == 3, "the last comes after dedup_ttl, and nothing is remembered for longer"
    ends = [one.finish((START + DAY) // one.plan.tick).records for one in (shard, other)]
    (first, second) = [next(r.counts for r in records if r.chain == "joined") for records in ends]
    assert sorted(first.T.tolist()) == sorted(second.T.tolist())


def test_corrections_and_other_models_count_as_such_and_for_nothing(shard: Shard) -> None:
    feed(shard, said("a", 1, 0), said("a", 2, 0, revision=1, label=False), said("b", 2, 0, revision=7))
    feed(shard, said("c", 3, 0, fields={"model": "another"}))

    assert {name: n for name, n in shard.counters.items() if n} == {
        "outcomes": 1,
        "joined": 1,
        "revision_ignored": 2,
        "other_model": 1,
    }


def test_tallies_of_labels_wait_for_outcomes_alone(shard: Shard) -> None:
    """The judge waits for predictions; the shard's joined chain does not."""
    (record,) = [r for r in feed(shard, said("a", 30, 3), said("b", 600, 3)) if r.chain == "joined"]

    assert record.through == (START + 600 * MINUTE) // shard.plan.tick - 1
    assert shard.clocks["predictions"].watermark < START


def test_nothing_is_remembered_beyond_dedup_ttl() -> None:
    """One event a minute, and a patient join, as in workers; blocks of 64 go whole."""
    shard, block = made(Budget(rows=64)), 64
    shard.join.patient = True
    decode = prediction_decoder(Wanted(paths=shard.plan.paths), b"k")
    for start in range(0, 2400, 60):
        shard.predictions(decode(Lines([msgspec.json.encode(one) for one in minutely(start, 60)], 0, START * 2))[0])
        feed(shard, *[said(f"e{i}", i + 0.5, i) for i in range(start, start + 60)], appended=START * 2)

        assert max(store.size for store in shard.stores()) <= 5 + block + 1
    assert (shard.counters["joined"], shard.counters["orphan"]) == (2400, 0)
    assert set(shard.join.predictions.kind.names or ()) == {"h1", "h2", "e"}


def minutely(start: int, n: int) -> list[dict[str, Any]]:
    return [
        {"event_id": f"e{i}", "ts": START + i * MINUTE, "model": "m", "score": 0.75} for i in range(start, start + n)
    ]


# -- around it -----------------------------------------------------------------------------------------------------------

REPLAYED = """
model: m
max_skew: 5m
lateness: 5m
labels: {joined_at_source: true, maturity: 1h, predicted: "decision == 'pay'"}
slos: [{name: accuracy_6h, objective: o, target: ">= 0.9", window: 6h, action_on_breach: notify}]
"""


def pairs(n: int = 600) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    predictions = [prediction(i) for i in range(n)]
    own = [{name: x for name, x in one.items() if name != "event_id"} for one in predictions]
    return predictions, [outcome(i, prediction=own[i]) for i in range(n)]


def test_a_replay_joins_at_the_source_and_says_what_it_says_of_a_store(tmp_path: Path) -> None:
    made, told = pairs()
    told += [outcome(700, 600), outcome(701, prediction={"model": "m"})]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    ran = replay_lines(tmp_path / "a", made, told, REPLAYED)
    stored = replay_lines(tmp_path / "b", made, told[:600], REPLAYED.replace("joined_at_source: true, ", ""))

    assert (ran.counted("joined"), ran.counted("orphan"), ran.dead()) == (600, 0, ["ancient_ts", "missing_field"])
    assert [(v["state"], v["value"], v["n"]) for v in ran.lines("verdicts")] == [
        (v["state"], v["value"], v["n"]) for v in stored.lines("verdicts")
    ]
    assert ran.lines("control")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_of_columns_carry_predictions_too(tmp_path: Path, kind: str) -> None:
    made, told = pairs(200)
    (tmp_path / "p.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in made))
    table = pa.Table.from_pylist(told)
    if kind == "csv":
        flat = [
            {k: v for k, v in one.items() if k != "prediction"}
            | {f"prediction.{k}": v for k, v in one["prediction"].items() if k != "segment"}
            | {"prediction.segment.tenant": "acme"}
            for one in told
        ]
        pa.csv.write_csv(pa.Table.from_pylist(flat), tmp_path / "o.csv")
    else:
        pa.parquet.write_table(table, tmp_path / "o.parquet")
    files = {"predictions": [tmp_path / "p.jsonl"], "outcomes": [tmp_path / f"o.{kind}"]}
    ran = replayed(tmp_path, files, REPLAYED)

    assert (ran.counted("joined"), ran.dead()) == (200, [])


def test_a_map_of_the_field_prediction_leaves_alone_what_outcomes_carry(tmp_path: Path) -> None:
    """One file of names maps the tables of both, of which only one has a column `verdict`."""
    made, told = pairs(50)
    pa.parquet.write_table(pa.Table.from_pylist([one | {"verdict": "pay"} for one in made]), tmp_path / "p.parquet")
    pa.parquet.write_table(pa.Table.from_pylist(told), tmp_path / "o.parquet")
    (tmp_path / "map.yaml").write_text("prediction: verdict\n")
    files = {"predictions": [tmp_path / "p.parquet"], "outcomes": [tmp_path / "o.parquet"]}
    ran = replayed(tmp_path, files, REPLAYED, ("--no-clickhouse", "--map", tmp_path / "map.yaml"))

    assert (ran.err, ran.counted("joined"), ran.counted("predictions")) == ("", 50, 50)


def test_the_emitter_sends_what_an_outcome_carries_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    with Emitter.to_file(tmp_path) as emit:
        emit.outcome(event_id="e", ts=2, label=True, prediction={"event_id": "e", "ts": 1, "model": "m", "score": None})
        with pytest.raises(TypeError, match="predictions have no field 'scores'"):
            emit.outcome(event_id="e", label=True, prediction={"ts": 1, "model": "m", "scores": 1})
        with pytest.raises(TypeError, match="expected the fields of a prediction"):
            emit.outcome(event_id="e", label=True, prediction="pay")
        for missing in ("ts", "model"):
            with pytest.raises(ValueError, match=f"prediction.{missing}: found None"):
                emit.outcome(event_id="e", label=True, prediction={"ts": 1, "model": "m", missing: None})

    (line,) = (tmp_path / "outcomes.jsonl").read_bytes().splitlines()
    assert json.loads(line) == {"event_id": "e", "ts": 2, "label": True, "prediction": {"ts": 1, "model": "m"}}


def test_check_says_what_is_asked_of_outcomes(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(REPLAYED)
    _, out, err = command("check", file)
    assert "outcomes must carry their `prediction`: one without it is an orphan" in out + err
    file.write_text(REPLAYED.replace("accuracy_6h", "ood_recall_6h"))
    _, out, err = command("check", file)
    assert "reviews must carry their `prediction` too" in out + err
    file.write_text(REPLAYED.replace("accuracy_6h", "ood_rate_6h").replace(">= 0.9", "<= 0.1"))
    _, out, err = command("check", file)
    assert "no SLO is judged by labels" in out + err


def test_a_live_shard_killed_and_restored_sends_what_an_undisturbed_one_sends() -> None:
    made, told = pairs(120)
    setup = Setup(load_policy(REPLAYED.encode(), "source.yaml"), None, Layout(1), b"k")
    straight, shard, killed = LiveShard(0, setup), LiveShard(0, setup), []
    feeds = {"predictions": made, "outcomes": told}
    records = {
        topic: [
            Message(b"\n".join(map(msgspec.json.encode, some[at : at + 8])), at // 8, START * 2)
            for at in range(0, 120, 8)
        ]
        for topic, some in feeds.items()
    }
    expected = [out for topic in records for one in records[topic] for out in straight.read(topic, [one])]
    for topic, some in records.items():
        for at in range(len(some)):
            killed += shard.read(topic, some[max(0, at - 2) : at + 1])
            saved = checkpoint.encode(shard.snapshot())
            shard = LiveShard(0, setup)
            shard.restore(checkpoint.decode(saved))

    assert [one.value for one in killed] == [one.value for one in expected]
    assert shard.shard.counters == straight.shard.counters
    assert shard.shard.counters["joined"] == 120
