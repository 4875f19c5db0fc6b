"""Audits on a real Kafka: what is due is read from its topic, and answers come back to where the worker judges them."""

import json
from pathlib import Path

import msgspec
import pytest

from interlock.commands.broker import Broker
from interlock.partitions import partition_of
from tests.living import Running, records, send, topics, until
from tests.replaying import command
from tests.reviewing import EVENTS, POLICY, events, flagged, replayed, reviewed

pytestmark = pytest.mark.integration

PREFIX = "audits."


def test_reviews_by_way_of_the_topics_identify_recall_live_as_they_do_in_a_replay(
    kafka: Broker, tmp_path: Path
) -> None:
    topics(kafka.bootstrap, PREFIX, 2)
    (tmp_path / "live").mkdir()
    policy = tmp_path / "live" / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    where = ("--bootstrap", kafka.bootstrap, "--prefix", PREFIX)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_AUDIT_SECRET", "interlock-demo")
        replayed(tmp_path)
    expected = sorted((tmp_path / "out" / "audits.jsonl").read_bytes().splitlines())

    with Running(policy, kafka.bootstrap, PREFIX) as worker:
        send(kafka.bootstrap, PREFIX, {"predictions": [msgspec.json.encode(one) for one in events()]}, 2)
        until(lambda: len(records(kafka.bootstrap, PREFIX + "audits")) >= len(expected), "what is due to be sent")
        assert sorted(record.value for record in records(kafka.bootstrap, PREFIX + "audits")) == expected

        code, said, err = command("audits", "export", *where, "-o", tmp_path / "todo.csv")
        assert (code, err) == (0, "")
        assert f"{len(expected)} to review: {sum(map(flagged, range(EVENTS)))} flagged" in said
        table = reviewed(tmp_path / "todo.csv")
        code, said, err = command("audits", "import", table, "--source", "desk", *where)
        assert (code, err) == (0, "")
        assert said.startswith(f"{len(expected)} published, 0 known")
        until(
            lambda: any(b'"state":"met"' in r.value for r in records(kafka.bootstrap, PREFIX + "verdicts")), "a verdict"
        )
        assert worker.status()["exceptions"] == []

    again = command("audits", "import", table, "--source", "desk", *where)
    assert again[1].startswith(f"0 published, {len(expected)} known already")
    assert "todo.csv: 0 to review" in command("audits", "export", *where, "-o", tmp_path / "todo.csv")[1]
    sent = records(kafka.bootstrap, PREFIX + "outcomes")
    ids = [(r.partition, json.loads(line)["event_id"]) for r in sent for line in r.value.splitlines()]
    assert len(ids) == len(expected)
    assert all(partition_of(event_id.encode(), 2) == place for place, event_id in ids)
