"""Guards on a real broker: a really compacted topic, a broker that dies and comes back, forked workers, callbacks."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from interlock.commands.broker import Broker
from interlock.guard import Guard
from interlock.protocol import ControlRecord
from tests.guarding import Judge, Record, control, lease, record
from tests.processes import PATIENCE, admin, environment, eventually
from tests.sockets import collect_sockets as collect_sockets
from tests.sockets import leaves_sockets

pytestmark = pytest.mark.integration

FOR_LONG = int(time.time_ns() // 1_000_000 + 3_600_000)
"""When the leases end that no test waits for."""

COMPACT = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "50",
    "max.compaction.lag.ms": "50",
    "min.compaction.lag.ms": "0",
}
"""A topic that the cleaner goes through at once."""


def create(bootstrap: str, topic: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
    made = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": settings or {}}}
    with admin(bootstrap) as client:
        client.create_topics(made, wait_for_metadata=True)


def publish(bootstrap: str, topic: str, records: Iterable[Record], partition: int = 0) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = [producer.send(topic, key=key, value=value, partition=partition) for key, value in records]
    for one in sent:
        one.get(timeout=PATIENCE)
    producer.close()


def vouch(bootstrap: str, topic: str, *controls: ControlRecord, seq: int = 1, **fields: object) -> None:
    """Publish controls and a lease over them."""
    vouched = lease(seq, *controls, **({"lease_until": FOR_LONG} | fields))
    publish(bootstrap, topic, [*map(record, controls), record(vouched)])


@contextmanager
def guarding(*arguments: object, **options: object) -> Iterator[Guard]:
    with Guard(*arguments, **options) as guard:  # type: ignore[arg-type]
        assert guard.wait_ready(PATIENCE)
        yield guard


def remaining(bootstrap: str, topic: str) -> int:
    """Return how many records stand on a topic of one partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning()
    (end,) = consumer.end_offsets([partition]).values()
    count = 0

    def is_read() -> bool:
        nonlocal count
        count += sum(map(len, consumer.poll(100).values()))
        return bool(consumer.position(partition) >= end)

    assert eventually(is_read)
    consumer.close()
    return count


@pytest.mark.slow
def test_a_guard_of_a_topic_that_was_really_compacted_equals_one_that_saw_all(kafka: Broker) -> None:
    topic = "guard1-control"
    create(kafka.bootstrap, topic, settings=COMPACT)
    slices = [{"slice": f"tenant={name}"} for name in "abc"] + [{"version": "2"}, {}]
    judge, chance = Judge(), random.Random(5)
    with guarding(kafka.bootstrap, prefix="guard1-") as saw_all:
        for _ in range(200):
            judge.turn("ood_rate", chance.choice(slices), chance.choice(["throttle", "route_to_human_review"]))
            judge.renew(lease_until=FOR_LONG)
        publish(kafka.bootstrap, topic, judge.records)
        publish(kafka.bootstrap, topic, ((key, None) for key, _ in judge.records[:10]))
        keys = len({key for key, _ in judge.records})

        def is_compacted() -> bool:
            judge.renew(lease_until=FOR_LONG)  # what is written makes the broker begin a new segment
            publish(kafka.bootstrap, topic, judge.records[-1:])
            return remaining(kafka.bootstrap, topic) <= keys + 20

        assert eventually(is_compacted)
        with guarding(kafka.bootstrap, prefix="guard1-") as saw_kept:
            assert eventually(lambda: saw_all.counts.get("lease") == judge.seq)
            assert saw_kept.counts["lease"] < 30 < saw_all.counts["lease"]
            assert len(saw_all.controls(model="claims")) == len(judge.engaged)
            for tenant in "abcd":
                for version in ("1", "2"):
                    asked = {"model": "claims", "segment": {"tenant": tenant}, "version": version}
                    assert saw_kept.mode(**asked) == saw_all.mode(**asked)  # type: ignore[arg-type]
                    assert saw_kept.controls(**asked) == saw_all.controls(**asked)  # type: ignore[arg-type]


@pytest.mark.slow
@leaves_sockets
def test_a_guard_whose_broker_is_killed_is_in_the_mode_for_lost_leases_after_grace_and_recovers(
    own_kafka: Broker,
) -> None:
    create(own_kafka.bootstrap, "control", 3)
    with guarding(own_kafka.bootstrap) as guard:
        assert guard.mode(model="claims") == "human_review", "no lease was ever seen"

        soon = time.time_ns() // 1_000_000 + 2000
        vouch(own_kafka.bootstrap, "control", lease_until=soon, grace=1000)
        assert eventually(lambda: guard.mode(model="claims") == "normal")

        own_kafka.kill()
        assert eventually(lambda: guard.mode(model="claims") != "normal")
        assert time.time_ns() // 1_000_000 >= soon + 1000
        assert guard.mode(model="claims") == "safe_mode"

        own_kafka.restart()
        vouch(own_kafka.bootstrap, "control", control(scope={"version": "2"}), seq=2)
        assert eventually(lambda: guard.mode(model="claims", version="1") == "normal")
        assert guard.mode(model="claims", version="2") == "human_review"


@leaves_sockets
def test_a_guard_waits_for_a_topic_that_comes_later_and_heeds_every_partition(kafka: Broker) -> None:
    with Guard(kafka.bootstrap, prefix="guard2-", on_lost="killed") as guard:
        assert not guard.wait_ready(0.3)
        assert guard.mode(model="claims") == "killed"

        create(kafka.bootstrap, "guard2-control", 4)
        for partition, model in enumerate(["claims", "loans", "cards"]):
            said = control(model=model, action="throttle", parameters={"limit": model})
            vouched = lease(1, said, model=model, lease_until=FOR_LONG)
            publish(kafka.bootstrap, "guard2-control", [record(said), record(vouched)], partition)

        assert guard.wait_ready(PATIENCE)
        for model in ("claims", "loans", "cards"):
            assert eventually(lambda model=model: guard.mode(model=model) == "throttled")  # type: ignore[misc]
            assert guard.parameters(model=model) == {"limit": model}


def test_callbacks_begin_with_what_is_engaged_and_their_errors_stop_nothing(kafka: Broker) -> None:
    create(kafka.bootstrap, "guard3-control")
    other = control(slo="ece")
    publish(
        kafka.bootstrap,
        "guard3-control",
        map(record, (control(), control(state="released"), other, control(model="foreign"))),
    )
    told: list[tuple[str, str, str]] = []

    def on_change(model: str, changed: ControlRecord) -> None:
        told.append((model, changed.slo, changed.state))
        raise RuntimeError("a mistake of the serving system")

    with guarding(kafka.bootstrap, prefix="guard3-", models=["claims"], on_change=on_change) as guard:
        assert eventually(lambda: told == [("claims", "ece", "engaged")])

        vouch(kafka.bootstrap, "guard3-control", other, control(epoch=2))

        assert eventually(lambda: guard.counts.get("lease") == 1)
        assert told[1:] == [("claims", "ood_rate", "engaged")]
        assert guard.counts == {"control": 4, "foreign": 1, "old": 1, "lease": 1}, "it read every record once"


def test_a_closed_guard_leaves_no_thread(kafka: Broker) -> None:
    create(kafka.bootstrap, "guard4-control")
    before = threading.active_count()
    with guarding(kafka.bootstrap, prefix="guard4-"):
        assert threading.active_count() > before

    assert eventually(lambda: threading.active_count() == before)


FORKING = r"""
import os, sys, time
from interlock.guard import Guard
guard = Guard(sys.argv[1], prefix="guard5-")
assert guard.wait_ready(60)
child = os.fork()
os.write(1, b"forked\n")
end = time.monotonic() + 60
while guard.mode(model="claims") != "throttled" and time.monotonic() < end:
    time.sleep(0.02)
assert child == 0 or os.waitpid(child, 0)[1] == 0
assert guard.mode(model="claims") == "throttled"
os.write(1, b"obeyed\n")
"""


def test_a_forked_worker_obeys_too_and_an_open_guard_does_not_hold_up_its_process(kafka: Broker) -> None:
    create(kafka.bootstrap, "guard5-control")
    command = [sys.executable, "-c", FORKING, kafka.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["forked\n"] * 2
        vouch(kafka.bootstrap, "guard5-control", control(action="throttle"))

        assert process.stdout.read() == "obeyed\n" * 2
        assert process.wait(PATIENCE) == 0
