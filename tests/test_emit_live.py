"""The emitter on a real broker: nothing accepted is lost, whatever the broker does, and keys live where they must."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from interlock.commands.broker import Broker, free_port
from interlock.commands.broker_jars import jars, java
from interlock.emit import EmitError, Emitter
from interlock.reaching import consumer, producer
from tests.emitting import PREDICTION
from tests.processes import PATIENCE, admin, environment, eventually
from tests.servers import needed
from tests.sockets import collect_sockets as collect_sockets
from tests.sockets import leaves_sockets


def create(bootstrap: str, *topics: str, partitions: int = 4, **settings: str) -> None:
    made = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": settings} for topic in topics}
    with admin(bootstrap) as client:
        client.create_topics(made, wait_for_metadata=True)


@contextmanager
def reading(bootstrap: str, topic: str) -> Iterator[tuple[KafkaConsumer, dict[TopicPartition, int]]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        yield consumer, consumer.end_offsets(partitions)
    finally:
        consumer.close()


def messages(bootstrap: str, topic: str) -> list[Any]:
    """Return all messages that stand on a topic now."""
    found: list[Any] = []
    with reading(bootstrap, topic) as (consumer, ends):

        def is_read() -> bool:
            for records in consumer.poll(200).values():
                found.extend(records)
            return all(consumer.position(partition) >= end for partition, end in ends.items())

        assert eventually(is_read)
    return found


def ids(found: Iterable[Any]) -> list[str]:
    return [json.loads(line)["event_id"] for message in found for line in message.value.split(b"\n")]


@pytest.mark.integration
def test_every_event_can_be_read_where_a_plain_keyed_producer_puts_it(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit1-predictions", "plain")
    names = [f"case-{number}" for number in range(2000)]
    with Emitter(kafka.bootstrap, prefix="emit1-") as emit:
        for name in names[:1000]:
            emit.prediction(**(PREDICTION | {"event_id": name}))
        emit.flush()
        assert emit.sent == emit.acknowledged == 1000
        emit.send_many("predictions", (PREDICTION | {"event_id": name} for name in names[1000:]))
    plain = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for name in names:
        plain.send("plain", key=name.encode(), value=b"{}")
    plain.flush()
    plain.close()
    places = {message.key.decode(): message.partition for message in messages(kafka.bootstrap, "plain")}
    found = messages(kafka.bootstrap, "emit1-predictions")

    assert sorted(ids(found)) == sorted(names)
    assert emit.acknowledged == 2000
    assert len(found) < 100
    for message in found:
        assert message.headers == [("content-type", b"application/x-ndjson")]
        assert message.key.decode() == ids([message])[0]
        assert {places[name] for name in ids([message])} == {message.partition}


@pytest.mark.integration
def test_many_threads_may_emit_at_once(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit2-outcomes")
    with Emitter(kafka.bootstrap, prefix="emit2-", max_events=16) as emit:

        def send(thread: int) -> None:
            for number in range(300):
                emit.outcome(event_id=f"{thread}/{number}", label=1)
                if number % 100 == thread:
                    emit.flush()

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    found = messages(kafka.bootstrap, "emit2-outcomes")

    assert sorted(ids(found)) == sorted(f"{thread}/{number}" for thread in range(8) for number in range(300))
    assert all(len(ids([message])) <= 16 for message in found)


@pytest.mark.integration
def test_an_event_goes_soon_after_it_was_emitted_without_a_flush(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit3-outcomes")
    with Emitter(kafka.bootstrap, prefix="emit3-", linger_ms=50) as emit:
        emit.outcome(event_id="first", label=1)
        emit.flush()
        began = time.monotonic()
        emit.outcome(event_id="second", label=1)

        assert eventually(lambda: emit.acknowledged == 2)
        assert time.monotonic() - began > 0.045


@pytest.mark.integration
@leaves_sockets
def test_events_wait_for_a_topic_and_a_broker_that_come_later(tmp_path: Path) -> None:
    port = free_port()
    emit = Emitter(f"127.0.0.1:{port}")
    emit.outcome(event_id="early", label=1)
    emit.abuse(event_id="report", model="claims", category="spam")
    needed(java)
    needed(jars)
    with Broker.start(tmp_path, port) as broker:
        create(broker.bootstrap, "outcomes")

        assert eventually(lambda: emit.acknowledged == 1)
        with pytest.raises(EmitError, match="1 events not acknowledged"):
            emit.flush(0.5)

        create(broker.bootstrap, "abuse")
        emit.close()

        assert ids(messages(broker.bootstrap, "outcomes")) == ["early"]
        assert ids(messages(broker.bootstrap, "abuse")) == ["report"]


@pytest.mark.integration
@pytest.mark.slow
@leaves_sockets
@pytest.mark.parametrize("is_impatient", [False, True])
def test_a_broker_that_is_killed_and_comes_back_loses_nothing_accepted(own_kafka: Broker, is_impatient: bool) -> None:
    """Law: also where the producer itself gives up, and another must send again."""
    create(own_kafka.bootstrap, "predictions")
    settings = {"delivery_timeout_ms": 500, "request_timeout_ms": 400} if is_impatient else {}
    names: list[str] = []
    with Emitter(own_kafka.bootstrap, linger_ms=5, max_events=20, kafka=settings) as emit, sending(emit, names):
        assert eventually(lambda: emit.acknowledged > 200)

        own_kafka.kill()
        sent = emit.sent
        assert eventually(lambda: emit.sent > sent + 500)
        assert emit.acknowledged < emit.sent

        for _ in range(2):  # after a kill, then after an orderly stop
            own_kafka.restart()
            acknowledged = emit.acknowledged
            assert eventually(lambda before=acknowledged: emit.acknowledged > before + 200)  # type: ignore[misc]
    found = ids(messages(own_kafka.bootstrap, "predictions"))

    assert emit.sent == emit.acknowledged == len(names)
    assert emit.failed == 0
    assert set(found) == set(names)
    assert is_impatient or len(found) == len(names), "a repeat would be harmless, but an idempotent producer makes none"


@contextmanager
def sending(emit: Emitter, names: list[str]) -> Iterator[None]:
    """Emit predictions all the while, and note their ids."""
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.001):
            name = f"case-{len(names)}"
            emit.prediction(**(PREDICTION | {"event_id": name}))
            names.append(name)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)


@pytest.mark.integration
def test_a_topic_of_small_messages_gets_smaller_ones_and_only_what_is_too_large_alone_is_refused(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit4-predictions", partitions=1, **{"max.message.bytes": "3000"})
    sizes = [100, 2000, 5000, 100, 700, 700, 700, 700, 1500]
    emit = Emitter(kafka.bootstrap, prefix="emit4-")
    emit.send_many(
        "predictions",
        (
            {"event_id": f"{number}/{size}", "model": "m", "features": {"x": "y" * size}}
            for number, size in enumerate(sizes)
        ),
    )

    with pytest.raises(EmitError, match="1 events were refused; the last error: MessageSizeTooLargeError"):
        emit.flush()
    emit.flush()
    emit.close()
    found = ids(messages(kafka.bootstrap, "emit4-predictions"))
    assert sorted(found) == sorted(f"{number}/{size}" for number, size in enumerate(sizes) if size != 5000)
    assert (emit.sent, emit.acknowledged, emit.failed) == (9, 8, 1)


FORGETFUL = """
import sys
from interlock.emit import Emitter
emit = Emitter(sys.argv[1], prefix="emit5-")
emit.outcome(event_id="0", label=1)
emit.flush()
for number in range(1, 1000):
    emit.outcome(event_id=str(number), label=1)
"""


@pytest.mark.integration
def test_a_process_that_forgets_to_close_flushes_at_exit(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit5-outcomes")
    done = run(FORGETFUL, kafka.bootstrap)

    assert done == ["", ""]
    assert sorted(ids(messages(kafka.bootstrap, "emit5-outcomes")), key=int) == [str(i) for i in range(1000)]


FORKING = """
import os, sys
from interlock.emit import Emitter
emit = Emitter(sys.argv[1], prefix="emit6-", linger_ms=200)
emit.outcome(event_id="before", label=1)
emit.flush()
emit.outcome(event_id="waiting", label=1)
child = os.fork()
emit.outcome(event_id="parent" if child else "child", label=1)
assert child or emit.sent == 1
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.integration
def test_a_forked_worker_sends_its_own_events_and_not_its_parents(kafka: Broker) -> None:
    create(kafka.bootstrap, "emit6-outcomes")
    done = run(FORKING, kafka.bootstrap)

    assert done == ["", ""]
    assert sorted(ids(messages(kafka.bootstrap, "emit6-outcomes"))) == ["before", "child", "parent", "waiting"]


def run(program: str, *arguments: str) -> Sequence[str]:
    """Run a program to its good end; return what it said."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment())
    assert done.returncode == 0, done.stderr
    return [done.stdout, done.stderr]


@pytest.mark.integration
@leaves_sockets
@pytest.mark.parametrize("reach", [consumer, producer])
def test_a_server_that_says_nothing_costs_no_thread_and_an_error(reach: Callable[..., Any]) -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(KafkaError):
            reach(bootstrap_servers=f"127.0.0.1:{server.getsockname()[1]}", bootstrap_timeout_ms=100)

        assert eventually(lambda: threading.active_count() == before, 5)
