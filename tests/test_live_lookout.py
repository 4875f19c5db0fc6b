"""What a shard remembers is read back from a real Kafka while its judge runs on; violations are told meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from interlock.commands.broker import Broker
from interlock.connection import Connection
from interlock.errors import Unreachable
from interlock.protocol import CONTENT_TYPE, INPUTS, JSON_LINES
from interlock.streams import checkpoint
from interlock.streams.batch import Message
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import Owner, Writer
from interlock.streams.clients import Clients
from interlock.streams.held import Key, Place
from interlock.streams.live import Outgoing
from interlock.streams.live_shard import Foreseen, LiveShard
from interlock.streams.lookout import Lookout
from interlock.streams.worker import Pace, Worker
from tests.living import records, topics
from tests.processes import admin
from tests.test_live_core import messages, past, setup
from tests.test_live_zombie import write
from tests.test_lookout import predictions, violations

pytestmark = pytest.mark.integration

DONE, ALL = 100, 140
REMOVABLE = {"cleanup.policy": "compact,delete"}
SHARD = Key("shard", 0)
PLACES = {Place(topic, 0) for topic in (*INPUTS, "tallies")}


def begun(kafka: Broker, prefix: str) -> LiveShard:
    """Return a shard that has read a part of its topics, and whose state of many blocks stands on `checkpoints`."""
    topics(kafka.bootstrap, prefix)
    shard = LiveShard(0, setup(1), Budget(rows=20))
    outcomes = messages(past().outcomes, 0, 1, 7)[:80]
    sent: dict[str, Sequence[Message]] = {"predictions": predictions()[:ALL], "outcomes": outcomes}
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for topic, some in sent.items():
        for message in some:
            header = (CONTENT_TYPE, JSON_LINES.encode())
            producer.send(prefix + topic, message.value, headers=[header], partition=0, timestamp_ms=message.appended)
    producer.flush()
    producer.close()
    shard.read("predictions", predictions()[:DONE])
    shard.read("outcomes", outcomes)
    write(kafka, prefix, Writer(Owner(setup(1).run, "shard", 0), 1, 0, []).write(shard.snapshot(blocks=True)))
    return shard


def alive(kafka: Broker, prefix: str, then: Callable[[Worker], Awaitable[Any]]) -> Any:
    """Run a test with a worker to which the partitions were just given."""

    async def run() -> Any:
        clients = Clients(Connection(bootstrap=kafka.bootstrap, prefix=prefix))
        worker = Worker(setup(1), clients, Pace(lookout=0), Budget(rows=20))
        worker.start()
        try:
            assert (await worker.assigned(PLACES, 2))[Place("predictions", 0)] == DONE
            return await asyncio.wait_for(then(worker), 60)
        finally:
            await worker.stop()

    return asyncio.run(run())


def test_what_comes_is_counted_once_memory_is_back_as_if_nothing_had_happened(kafka: Broker) -> None:
    straight = begun(kafka, "memory.")
    rest = [one for one in records(kafka.bootstrap, "memory.predictions") if one.offset >= DONE]

    async def then(worker: Worker) -> LiveShard:
        await worker.read(Place("predictions", 0), rest, DONE, ALL)
        it = worker.held[SHARD].it
        assert isinstance(it, LiveShard)
        return it

    found: LiveShard = alive(kafka, "memory.", then)
    straight.read("predictions", predictions()[DONE:ALL])

    assert found.positions == straight.positions
    assert checkpoint.encode(found.shard.snapshot()) == checkpoint.encode(straight.shard.snapshot())


def test_violations_are_told_although_memory_is_not_back(kafka: Broker) -> None:
    begun(kafka, "early.")

    async def then(worker: Worker) -> int:
        held = worker.held[SHARD]
        held.leave()  # nobody reads it back
        assert isinstance(held.it, LiveShard)
        expected = len(held.it.forgetful().foresee(predictions()[DONE:ALL], Foreseen()))
        before = worker.outbox.taken
        looks = asyncio.create_task(Lookout(held.it, worker.clients, worker._sure, worker.outbox).run())
        while worker.outbox.taken < before + 1 + expected:  # noqa: ASYNC110 - its greeting comes first
            await asyncio.sleep(0.05)
        looks.cancel()
        await worker.outbox.settled(worker.outbox.taken)
        return expected

    expected = alive(kafka, "early.", then)
    told = [Outgoing("tallies", one.value, None) for one in records(kafka.bootstrap, "early.tallies")]

    assert len(set(violations(told))) == expected > 10


def test_memory_that_goes_away_before_it_was_read_is_told_in_a_line(kafka: Broker) -> None:
    begun(kafka, "away.")

    async def then(worker: Worker) -> None:
        restorer = worker._restorer
        held = (await restorer.restore([SHARD], 3))[SHARD]
        assert held.missing is not None
        with admin(kafka.bootstrap) as client:
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "away.checkpoints", REMOVABLE)])
            client.delete_records({TopicPartition("away.checkpoints", 0): -1})
        await restorer.fill(SHARD, held)

    with pytest.raises(Unreachable, match="what shard 0 remembers went away while it was read"):
        alive(kafka, "away.", then)
