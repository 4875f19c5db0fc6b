"""Dead letters fed again on a real Kafka: to the partition and key they had, once, whoever is interrupted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from interlock.commands.broker import Broker
from interlock.connection import Connection
from interlock.protocol import ARROW, JSON_LINES
from interlock.streams.dead_letters import REFED, Fate, Fed, Repair, refusals
from interlock.streams.mapping import load
from interlock.streams.originals import Originals
from interlock.streams.refeed import Feeder, Letters, read_topic
from tests.living import Running, records, topics, until
from tests.replaying import POLICY, START, command, lines, outcome, prediction
from tests.story import QUICK, counted, lag
from tests.test_dead_letters import renamed
from tests.test_live_bad_input import Message, frame, of_type, producing
from tests.test_replay_bad_input import flat

pytestmark = pytest.mark.integration

PREFIX, NAMES = "refed.", "model: m\n"
NOW = START + 10**9


def committed(bootstrap: str, topic: str) -> list[Any]:
    """Return what readers of finished transactions see of a topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed", group_id=None
    )
    try:
        places = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            found += [one for some in consumer.poll(timeout_ms=500).values() for one in some]
        return found
    finally:
        consumer.close()


def sent(kafka: Broker, prefix: str) -> int:
    """Send good and bad events in every shape to partition 1; return how many are bad."""
    text = msgspec.json.encode
    bad = [renamed(i) for i in range(40, 46)]
    messages = [
        Message(b"\n".join(text(prediction(i)) for i in range(40)), headers=of_type(JSON_LINES)),
        Message(
            b"\n".join(map(text, [prediction(50), *bad, prediction(51)])), headers=of_type(JSON_LINES), key=b"pack"
        ),
        Message(text(renamed(46, comment="x" * 5000)), headers=[("traceparent", b"00-1")], key=b"long"),
        Message(frame([flat(47, START), {**flat(48, START), "score": 2.0}]), headers=of_type(ARROW)),
    ]
    with producing(kafka) as producer:
        for one in messages:
            producer.send(prefix + "predictions", one.value, one.key, list(one.headers), partition=1)
        producer.send(prefix + "outcomes", text(outcome(40) | {"m": 1}), b"e40", partition=1)
    return len(bad) + 2


def fates(kafka: Broker, prefix: str) -> list[Fed]:
    place, letters = Connection(bootstrap=kafka.bootstrap, prefix=prefix), Letters()
    read_topic(place, letters)
    with Originals(place) as originals:
        return list(letters.fates(Repair(NOW, refusals(), load(NAMES, "map.yaml")), originals))


def test_letters_are_fed_again_once_and_counted_by_a_worker_that_lives(kafka: Broker, tmp_path: Path) -> None:
    topics(kafka.bootstrap, PREFIX, 2)
    policy, names = tmp_path / "policy.yaml", tmp_path / "map.yaml"
    policy.write_text(POLICY, "utf-8")
    names.write_text(NAMES, "utf-8")
    asked = ("replay", "--dead-letters", "--bootstrap", kafka.bootstrap, "--prefix", PREFIX, "--map", names)
    letters = PREFIX + "dead-letters"

    with Running(policy, kafka.bootstrap, PREFIX, QUICK) as worker:
        bad = sent(kafka, PREFIX)
        until(lambda: len(records(kafka.bootstrap, letters)) == bad, "all dead letters")
        code, said, err = command(*asked)
        assert (code, err.count("\n")) == (1, 1), err  # the score of 2 stays what it is
        assert "nothing was sent: --send sends 7" in said
        assert "predictions/1/3/1: still unreadable: out_of_range" in err
        assert len(records(kafka.bootstrap, letters)) == bad

        ready = [one for one in fates(kafka, PREFIX) if one.fate is Fate.READY]
        with Feeder(Connection(bootstrap=kafka.bootstrap, prefix=PREFIX)) as killed:  # in the middle of a transaction
            killed._producer.begin_transaction()
            for one in ready[:3]:
                killed._producer.send(PREFIX + "predictions", one.value, one.key, list(one.headers), partition=1)
            killed._producer.flush()
            assert "7 sent" in command(*asked, "--send")[1]
            assert "0 sent" in command(*asked, "--send")[1]
            killed._producer._sender.force_close()
        until(lambda: counted([worker], "predictions") == 43 + 7, "all to be counted")
        until(lambda: lag(worker) == 0, "no lag behind a transaction's marker")
        repeats, exceptions = counted([worker], "duplicate"), worker.status()["exceptions"]

    again = [one for one in committed(kafka.bootstrap, PREFIX + "predictions") if dict(one.headers).get(REFED)]
    ids = Counter(dict(one.headers)[REFED].decode() for one in again)
    assert set(ids.values()) == {1}
    assert set(ids) == {f"predictions/1/1/{i}" for i in range(1, 7)} | {"predictions/1/2/0"}
    assert {(one.partition, one.key) for one in again} == {(1, b"pack"), (1, b"long")}
    (long,) = [one for one in again if one.key == b"long"]
    assert dict(long.headers)["traceparent"] == b"00-1"
    assert json.loads(long.value) == prediction(46, comment="x" * 5000)
    assert (repeats, exceptions) == (0, ["late"])
    assert counted_letters(kafka, PREFIX) == bad


def counted_letters(kafka: Broker, prefix: str) -> int:
    return sum(one.value is not None for one in committed(kafka.bootstrap, prefix + "dead-letters"))


def test_what_retention_took_is_gone_unless_the_letter_has_all_of_it(kafka: Broker, tmp_path: Path) -> None:
    prefix = "refed-gone."
    topics(kafka.bootstrap, prefix, 2)
    policy, names = tmp_path / "policy.yaml", tmp_path / "map.yaml"
    policy.write_text(POLICY, "utf-8")
    names.write_text(NAMES, "utf-8")
    with Running(policy, kafka.bootstrap, prefix, QUICK):
        bad = sent(kafka, prefix)
        until(lambda: len(records(kafka.bootstrap, prefix + "dead-letters")) == bad, "all dead letters")
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_records({TopicPartition(prefix + "predictions", 1): 4})
    admin.close()

    found = {one.letter.identity: one for one in fates(kafka, prefix)}
    assert found["predictions/1/2/0"].fate is Fate.GONE
    assert "its record is not kept" in found["predictions/1/2/0"].why
    short = [found[f"predictions/1/1/{i}"] for i in range(1, 7)]
    assert {one.fate for one in short} == {Fate.READY}
    assert [one.key for one in short] == [f"e{i}".encode() for i in range(40, 46)]
    file = lines(tmp_path / "dead.jsonl", [one.value for one in records(kafka.bootstrap, prefix + "dead-letters")])
    asked = ("replay", "--dead-letters", file, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--map", names)
    assert "6 sent" in command(*asked, "--send")[1]
    assert "0 sent" in command(*asked, "--send")[1]
