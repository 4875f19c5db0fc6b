"""Offsets without records: what reads up to an end comes there, past markers, what was aborted, and where nothing is left."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import KafkaConsumer
from kafka.structs import TopicPartition as Place

from interlock.commands.broker import Broker
from interlock.connection import Connection, Isolation
from interlock.ends import Ends
from interlock.guard import Guard
from interlock.reaching import consumer, settings_of
from interlock.streams.catching_up import Answers, read_all
from interlock.streams.clients import Clients
from interlock.streams.review_sources import of_topics
from tests.living import Running, topics, until
from tests.processes import PATIENCE, admin, eventually
from tests.story import QUICK, counted, day, lag, told

pytestmark = pytest.mark.integration

LEVELS: tuple[Isolation, ...] = ("read_committed", "read_uncommitted")


def written(bootstrap: str, topic: str, parts: list[tuple[list[bytes], bool]]) -> None:
    """Write transactions, and abort those that are to be aborted."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"of-{topic}") as producer:
            for lines, commits in parts:
                await producer.begin_transaction()
                for line in lines:
                    await producer.send(topic, line, partition=0)
                await producer.flush()
                await (producer.commit_transaction() if commits else producer.abort_transaction())

    asyncio.run(send())


def made(kafka: Broker, topic: str) -> None:
    with admin(kafka.bootstrap) as client:
        client.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)


@pytest.fixture(scope="module")
def aborted(kafka: Broker) -> str:
    """Return a topic of two records that stand, at offsets 0 and 3, and two that were aborted, the last of all."""
    made(kafka, "aborted")
    written(kafka.bootstrap, "aborted", [([b"a"], True), ([b"x"], False), ([b"b"], True), ([b"y"], False)])
    return "aborted"


def connection(kafka: Broker, level: Isolation, prefix: str = "") -> Connection:
    return Connection(bootstrap=kafka.bootstrap, isolation_level=level, prefix=prefix)


@pytest.mark.parametrize("level", LEVELS)
def test_a_worker_catches_up_past_what_was_aborted_at_the_end(kafka: Broker, aborted: str, level: Isolation) -> None:
    async def read() -> list[bytes]:
        return [record.value async for record in read_all(Clients(connection(kafka, level)).consumer, aborted, [0])]

    assert asyncio.run(asyncio.wait_for(read(), PATIENCE)) == (
        [b"a", b"b"] if level == "read_committed" else [*map(str.encode, "axby")]
    )


@pytest.mark.parametrize("level", LEVELS)
def test_whoever_reads_by_kafka_python_does_too(kafka: Broker, aborted: str, level: Isolation) -> None:
    settings = {**settings_of(connection(kafka, level)), "isolation_level": level, "auto_offset_reset": "earliest"}
    with closing(consumer(**settings)) as reader:
        reader.assign([Place(aborted, 0)])
        unread = Ends(lambda: consumer(**settings))
        unread.ends = reader.end_offsets([Place(aborted, 0)])
        found = [record.value for record in everything(reader, unread)]

    assert found == ([b"a", b"b"] if level == "read_committed" else [*map(str.encode, "axby")])


def everything(reader: KafkaConsumer, unread: Ends) -> Iterator[Any]:
    brought = True
    while not unread.reached(reader, brought=brought):
        polled = reader.poll(timeout_ms=200)
        brought = bool(polled)
        for records in polled.values():
            yield from records


def test_an_end_before_which_nothing_is_left_is_reached(kafka: Broker, aborted: str) -> None:
    """A broker answers a fetch in such a gap with nothing, for ever; here the gap is beyond all that was written."""
    settings = {**settings_of(connection(kafka, "read_committed")), "auto_offset_reset": "earliest"}
    with closing(consumer(**settings)) as reader:
        reader.assign([Place(aborted, 0)])
        unread = Ends(lambda: consumer(**settings))
        unread.ends = {Place(aborted, 0): 99}

        assert len(list(everything(reader, unread))) >= 2

    async def read() -> int:
        async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as client:
            place = TopicPartition(aborted, 0)
            client.assign([place])
            answers, count, is_over = Answers(client), 0, False
            while not is_over:
                found = await client.getmany(place, timeout_ms=200)
                count += sum(map(len, found.values()))
                is_over = answers.were_empty({place: await client.position(place)}, brought=bool(found))
            return count

    assert asyncio.run(asyncio.wait_for(read(), PATIENCE)) == 4


def test_a_guard_is_ready_and_reviews_are_read_where_the_last_record_was_aborted(kafka: Broker) -> None:
    topics(kafka.bootstrap, "gap.")
    for name in ("control", "audits", "outcomes"):
        written(kafka.bootstrap, f"gap.{name}", [([b"{}"], True), ([b"{}"], False)])
    with Guard(connection=connection(kafka, "read_committed", "gap.")) as guard:
        assert guard.wait_ready(PATIENCE)

    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(of_topics(connection(kafka, "read_committed", "gap."))))
    thread.start()
    thread.join(PATIENCE)

    assert found == [([], set())]


@pytest.mark.parametrize("level", LEVELS)
def test_aborted_events_count_only_where_they_are_asked_for_and_positions_pass_them(
    kafka: Broker, tmp_path: Path, level: Isolation
) -> None:
    story, prefix = told(tmp_path / "story", day(80)), f"tx-{level}."
    topics(kafka.bootstrap, prefix)
    lines = list(story.events["predictions"])
    parts = [(lines[:20], True), (lines[20:40], False), (lines[40:60], True), (lines[60:], False)]
    options = (*QUICK, "--group", prefix, "--set", f"isolation_level={level}")
    with Running(story.policy, kafka.bootstrap, prefix, options) as worker:
        written(kafka.bootstrap, f"{prefix}predictions", parts)
        expected = 40 if level == "read_committed" else 80
        until(lambda: counted([worker], "predictions") == expected and lag(worker) == 0, "all to be read")
        position = worker.status()["shards"]["0"]["positions"]["predictions"]
        place = Place(f"{prefix}predictions", 0)
        with admin(kafka.bootstrap) as client:
            assert eventually(lambda: client.list_group_offsets({prefix: [place]})[prefix][place].offset == 84)

    assert position == 84
