"""Partitions of a running installation grow on a real Kafka: what was said is what a replay of the same events says."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka import KafkaProducer

from interlock.commands import growing
from interlock.commands.broker import Broker
from interlock.commands.connecting import Told, settings_for
from interlock.protocol import INPUTS
from interlock.streams.growing import Growth
from interlock.streams.topics_admin import partitions_of
from tests.living import Running, send, topics, until
from tests.processes import admin
from tests.replaying import command
from tests.story import QUICK, Story, assert_equal_to_replay, counted, day, told, until_judged

pytestmark = pytest.mark.integration

EVENTS = 1500
SESSION = ("--set", "session_timeout=3")
OPTIONS = (*QUICK, "--idle-after", "600", "--stall-after", "0")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("growth") / "story", day(EVENTS))


def grow(story: Story, kafka: Broker, prefix: str, after: int) -> tuple[int, str]:
    """Return the exit code of the command, and what it says."""
    code, out, err = command(
        "topics", story.policy, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--grow", after, *SESSION
    )
    return code, out + err


def aborted(kafka: Broker, prefix: str, partitions: int) -> None:
    """Leave records that were taken back, and markers, at the ends of all inputs."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=prefix + "test")
    producer.init_transactions()
    producer.begin_transaction()
    for topic in INPUTS:
        for number in range(partitions):
            producer.send(prefix + topic, b"{}", partition=number).get()
    producer.abort_transaction()
    producer.close()


def shares(story: Story, **upto: float) -> dict[str, Sequence[bytes]]:
    return {topic: some[: int(len(some) * upto[topic])] for topic, some in story.events.items()}


def test_partitions_grow_with_joins_pending_and_nothing_is_lost_or_doubled(story: Story, kafka: Broker) -> None:
    prefix = "grow."
    told_of = settings_for(Told({"bootstrap": kafka.bootstrap, "prefix": prefix}, SESSION[1:]))
    topics(kafka.bootstrap, prefix, 2)
    first = shares(story, predictions=0.5, outcomes=0.48)  # labels of half an hour's predictions are to come
    rest = {topic: some[len(first[topic]) :] for topic, some in story.events.items()}
    send(kafka.bootstrap, prefix, first, 2)
    with ExitStack() as stack:
        workers = [stack.enter_context(Running(story.policy, kafka.bootstrap, prefix, OPTIONS)) for _ in range(2)]
        until(lambda: counted(workers, "outcomes") == len(first["outcomes"]), "all to be read")
        until(lambda: all(worker.status().get("shards") for worker in workers), "both to have a shard")
        running = grow(story, kafka, prefix, 4)
        assert [worker.end(signal.SIGTERM) for worker in workers] == [0, 0]
    odd = grow(story, kafka, prefix, 3)
    aborted(kafka, prefix, 2)
    asyncio.run(growing._prepare(told_of, Growth(2, 4), (["interlock-m"], False), 1))  # and interrupted
    before = partitions_of(kafka.bootstrap, prefix)
    done, again = grow(story, kafka, prefix, 4), grow(story, kafka, prefix, 4)
    after = partitions_of(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, rest, 4)
    with ExitStack() as stack:
        workers = [stack.enter_context(Running(story.policy, kafka.bootstrap, prefix, OPTIONS)) for _ in range(2)]
        end = until_judged(workers, story.end(4))
        exceptions = [status for worker in workers for status in worker.status()["exceptions"]]
        total = [counted(workers, what) for what in ("predictions", "outcomes", "joined", "duplicate", "orphan")]

    assert running == (1, running[1])
    assert "group interlock-m: 2 workers of it are running" in running[1]
    assert (odd[0], "whole multiples: such as 4" in odd[1]) == (1, True)
    assert [before[prefix + topic] for topic in ("outcomes", "checkpoints")] == [2, 4]
    assert (done[0], again[0]) == (0, 0), done[1]
    assert "grown from 2 to 4 partitions" in done[1]
    assert "4 partitions each, as asked" in again[1]
    assert [after[prefix + topic] for topic in (*INPUTS, "checkpoints", "tallies")] == [4, 4, 4, 4, 1]
    assert total == [EVENTS, EVENTS, EVENTS, 0, 0]
    assert exceptions == []
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end, controls=2)


def test_topics_that_were_grown_by_hand_end_workers_with_a_line(story: Story, kafka: Broker, tmp_path: Path) -> None:
    prefix = "byhand."
    topics(kafka.bootstrap, prefix, 1)
    send(kafka.bootstrap, prefix, story.part(0, 0.1))
    with Running(story.policy, kafka.bootstrap, prefix, OPTIONS) as worker:
        until(lambda: counted([worker], "outcomes") == EVENTS // 10, "all to be read")
        worker.end(signal.SIGTERM)
    send(kafka.bootstrap, prefix, story.part(0.1, 0.11))
    unread = grow(story, kafka, prefix, 2)
    with admin(kafka.bootstrap) as client:
        client.create_partitions({prefix + topic: 2 for topic in INPUTS})
    code, _, missing = command("topics", story.policy, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--check")
    with admin(kafka.bootstrap) as client:
        client.create_partitions({prefix + "checkpoints": 2})
    with Running(story.policy, kafka.bootstrap, prefix, OPTIONS) as worker:
        assert worker.process is not None
        ended = worker.process.wait(30)
        said = worker.said().splitlines()[-1]

    assert unread[0] == 1
    assert f"{prefix}outcomes: group interlock-m has not read all of partition 0: stop producers" in unread[1]
    assert code == 1
    assert missing.startswith(f"{prefix}checkpoints: found 1 partition, expected 2 partitions")
    assert ended == 2
    assert "the input topics have 2 partitions, the counts on tallies are of 1: only `interlock topics --grow`" in said


def test_topics_that_no_worker_has_read_grow_while_they_are_empty(story: Story, kafka: Broker) -> None:
    prefix = "unread."
    topics(kafka.bootstrap, prefix, 1)
    empty = grow(story, kafka, prefix, 2)
    assert empty[0] == 0, empty[1]
    send(kafka.bootstrap, prefix, story.part(0, 0.01), 2)
    full = grow(story, kafka, prefix, 4)
    absent = grow(story, kafka, "absent.", 2)

    assert (full[0], absent[0]) == (1, 1)
    assert "there are records, but no group has read any" in full[1]
    assert absent[1].splitlines()[0] == "absent.predictions: found no such topic"
