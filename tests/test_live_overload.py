"""More events than a worker can take: they wait in Kafka, not in memory; none is dropped, and never-events are acted on."""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from interlock.commands.broker import Broker
from interlock.protocol import JSON_LINES
from tests.living import PACK, Running, send, topics, until
from tests.replaying import START, prediction
from tests.story import counted, lag, until_published
from tests.test_live_bad_input import of_type, producing

pytestmark = pytest.mark.integration

EVENTS, FIRST, DENIED = 5_000, 500, 2_000
EVERY = 60_000
"""Milliseconds between events: each closes a pane, which costs a worker as much as hundreds of events."""

BULK = 12_000
"""Bytes of each event that nobody reads: what waits is 54 MB."""

MOST = 16 << 20
"""Bytes by which a worker may grow: some times what its buffers hold, and far less than what waits."""

REFUSALS = 6
"""How often Kafka takes nothing: in the pauses between, a worker could fetch all that waits."""

POLICY = """
model: m
lateness: 30s
ood: {threshold: 0.9}
slos:
- {name: ood_rate_1h, objective: o, target: "<= 0.10", window: 1h, action_on_breach: notify}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""


def event(number: int) -> bytes:
    decision = "deny" if number == DENIED else "pay"
    features = {"note": "x" * BULK}
    return msgspec.json.encode(prediction(number, START + number * EVERY, decision=decision, features=features))


@contextmanager
def begun(kafka: Broker, folder: Path, prefix: str) -> Iterator[tuple[Running, threading.Thread, int]]:
    """Yield a worker that has counted the first events, who sends the others, and its most memory so far."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    topics(kafka.bootstrap, prefix)
    events = [event(number) for number in range(EVENTS)]
    with Running(policy, kafka.bootstrap, prefix, program=("tests.tight",)) as worker:
        send(kafka.bootstrap, prefix, {"predictions": events[:FIRST]})
        until(lambda: counted([worker], "predictions") == FIRST and lag(worker) == 0, "the first events")
        packs = [b"\n".join(events[at : at + PACK]) for at in range(FIRST, EVENTS, PACK)]
        yield worker, threading.Thread(target=fill, args=(kafka, prefix + "predictions", packs)), most_memory(worker)


def fill(kafka: Broker, topic: str, packs: Sequence[bytes]) -> None:
    """Send packs of events as fast as it goes: they are made before."""
    with producing(kafka) as producer:
        for pack in packs:
            producer.send(topic, pack, headers=of_type(JSON_LINES), partition=0)


def most_memory(worker: Running) -> int:
    """Return the most memory that a worker has had at a time, in bytes."""
    assert worker.process is not None
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def positions(worker: Running) -> int:
    """Return how many records of predictions a worker has read."""
    return int(worker.status()["shards"]["0"]["positions"]["predictions"])


def assert_nothing_was_dropped(worker: Running) -> None:
    until(lambda: counted([worker], "predictions") >= EVENTS, "all to be counted", 240)

    assert counted([worker], "predictions") == EVENTS
    assert counted([worker], "dead_letters") == 0


def limit(kafka: Broker, topic: str, size: int) -> None:
    """Let a topic take messages of so many bytes at most."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})])
    admin.close()


def test_three_times_what_a_worker_can_take_waits_in_kafka_and_never_events_in_it_are_acted_on(
    kafka: Broker, tmp_path: Path
) -> None:
    with begun(kafka, tmp_path, "overload.") as (worker, sender, before):
        sender.start()
        sender.join()
        taken, behind = counted([worker], "predictions") - FIRST, lag(worker)
        controls = until_published(kafka.bootstrap, "overload.", lambda some: any(c["mode"] == "killed" for c in some))
        left = lag(worker)
        assert_nothing_was_dropped(worker)
        grown = most_memory(worker) - before

    assert 3 * taken < EVENTS - FIRST
    assert (behind or 0) > (EVENTS - FIRST) / PACK / 2
    assert {c["slo"] for c in controls if c["mode"] == "killed"} == {"never_event_violations"}
    assert left
    assert grown < MOST


def test_while_kafka_takes_nothing_of_what_a_worker_says_events_wait_in_kafka(kafka: Broker, tmp_path: Path) -> None:
    with begun(kafka, tmp_path, "mute.") as (worker, sender, before):
        limit(kafka, "mute.tallies", 10)
        sender.start()
        sender.join()
        until(lambda: worker.said().count("cannot send") > REFUSALS, "refusals")
        until(lambda: lag(worker) == EVENTS // PACK - positions(worker) > 0, "all that waits to be told")
        failing, held = worker.status()["failing"], counted([worker], "predictions")
        limit(kafka, "mute.tallies", 1 << 20)
        assert_nothing_was_dropped(worker)
        grown = most_memory(worker) - before

    assert "MessageSizeTooLarge" in failing
    assert held < EVENTS * 3 / 4
    assert grown < MOST
