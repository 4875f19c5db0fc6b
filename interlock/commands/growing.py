"""`interlock topics --grow`: more partitions for workers that are stopped, so that their counts go on (STREAM.md §5)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from interlock.errors import FindingError
from interlock.protocol import INPUTS
from interlock.streams import topics_admin, wire
from interlock.streams.checkpoints import TOPIC, Found, read_all
from interlock.streams.growing import Ends, children, drained, moved, reached
from interlock.streams.lineage import read_lineage
from interlock.streams.live import Outgoing, run_of


def grow(bootstrap: str, prefix: str, group: str, after: int) -> str:
    """Grow the input topics of a group to `after` partitions; return what was done, in a line.

    What was interrupted is done to the end by the same command again: nothing is done to the inputs before the states of
    the shards that come are durable.

    Raises:
        FindingError: it cannot be: not a whole multiple, workers that run, records that are not read.
    """
    counts = topics_admin.partitions_of(bootstrap, prefix)
    before = min(counts[prefix + topic] for topic in INPUTS)
    if after <= before or after % before:
        raise FindingError([f"--grow {after}: the inputs have {before}: partitions grow by whole multiples, such as {2 * before}"])
    running = topics_admin.members(bootstrap, group)
    if running:
        raise FindingError([f"--grow {after}: group {group} has {running} workers: stop them, when they have read everything"])
    connect = {"bootstrap_servers": bootstrap.split(",")}
    judges = counts[prefix + "tallies"]
    made = asyncio.run(_seeds(connect, prefix, group, (before, after, judges)))
    topics_admin.grow(bootstrap, [prefix + TOPIC], after)
    asyncio.run(_send(connect, prefix, made))
    topics_admin.grow(bootstrap, [prefix + topic for topic in INPUTS], after)
    return f"{', '.join(INPUTS)}: {before} partitions are {after} now; start the workers, then the producers"


async def _seeds(connect: Mapping[str, Any], prefix: str, group: str, sizes: tuple[int, int, int]) -> list[Outgoing]:
    before, after, judges = sizes
    lineage = await read_lineage(connect, prefix, group)
    if lineage.first is None:
        raise FindingError([f"group {group} has no policy yet: start its workers first"])
    run, found = run_of(lineage.first, lineage.reference), Found()
    async for record in read_all(connect, prefix + TOPIC, list(range(before))):
        found.put(record.key, record.value)
    states = drained(run, found, before, await _ends(connect, prefix, before))
    told = wire.encode(wire.Grown(run, after, reached(states, after)))
    seeds = [*children(run, states, after), *moved(run, found, before, after)]
    return seeds + [Outgoing("tallies", told, None, judge) for judge in range(judges)]


async def _ends(connect: Mapping[str, Any], prefix: str, partitions: int) -> Ends:
    consumer = AIOKafkaConsumer(**connect)
    await consumer.start()
    try:
        places = {(t, n): TopicPartition(prefix + t, n) for t in INPUTS for n in range(partitions)}
        ends = await consumer.end_offsets(list(places.values()))
    finally:
        await consumer.stop()
    return {place: ends[name] for place, name in places.items()}


async def _send(connect: Mapping[str, Any], prefix: str, messages: Sequence[Outgoing]) -> None:
    """Send in order, each acknowledged before the next: a shard's state stands before judges hear of it."""
    producer = AIOKafkaProducer(acks="all", max_request_size=4 << 20, **connect)
    await producer.start()
    try:
        for one in messages:
            await producer.send_and_wait(prefix + one.topic, one.value, one.key, one.partition)
    finally:
        await producer.stop()
