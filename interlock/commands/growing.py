"""`interlock topics --grow`: more partitions for workers that are stopped, so that their counts go on (STREAM.md §5)."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from interlock.errors import FindingError, UserError
from interlock.protocol import INPUTS
from interlock.rights import why
from interlock.streams import topics_admin, wire
from interlock.streams.catching_up import read_all, read_at, read_from
from interlock.streams.checkpoints import TOPIC, Found, Saved
from interlock.streams.clients import Clients, reading
from interlock.streams.growing import Growth, copies, moved, reached, seeds, standing, unread
from interlock.streams.lineage import Lineage, read_groups
from interlock.streams.live import Outgoing, run_of
from interlock.streams.outbox import AT_ONCE, MOST_BYTES
from interlock.streams.preflight import check_rights
from interlock.streams.settings import Settings

MANY = 100_000
"""Unread records after which it is known well enough that there are some."""

AGAIN, LATE = 0.5, 2.0
"""Seconds between two looks at who runs; and by how much Kafka may notice later that a session has ended."""


class Standing(NamedTuple):
    """What a group has left: the name of its counts, what is on `checkpoints`, and the states of its shards."""

    run: str
    found: Found
    states: Mapping[int, Saved]


def grow(told: Settings, groups: Sequence[str], after: int, *, named: bool) -> str:
    """Grow the inputs to `after` partitions; return what was done, in a line. `named`: people said which groups go on.

    Only its last steps change what workers and producers see. What was interrupted is done to the end by the same command.

    Raises:
        FindingError: it cannot be done: not a whole multiple, workers that run, records that are not read.
    """
    for noisy in (
        "aiokafka",
        "kafka.admin",
    ):  # a new partition has no leader yet; Faust's words of members are not known
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    for group in groups:
        check_rights(told.connection, "grower", group)
    counts = _counts(told)
    growth = Growth(min(counts[topic] for topic in INPUTS), after)
    shown = ", ".join(told.prefix + topic for topic in INPUTS)
    if {counts[topic] for topic in INPUTS} == {after}:
        return f"{shown}: {after} partitions each, as asked"
    if max(counts[topic] for topic in INPUTS) > after or after % growth.before:
        raise FindingError(
            [
                f"--grow {after}: the inputs have {growth.before} partitions, which grow by whole multiples: such as {2 * growth.before}"
            ]
        )
    try:
        asyncio.run(_prepare(told, growth, (groups, named), counts["tallies"]))
    except (KafkaError, TimeoutError) as error:
        raise UserError(f"Kafka refuses: {why(error, 'Write')}") from error
    topics_admin.grow(told.connection, told.prefix, {told.prefix + topic: after for topic in INPUTS})
    return f"{shown}: grown from {growth.before} to {after} partitions; start the workers, then the producers"


def _counts(told: Settings) -> dict[str, int]:
    """Return the partitions of the topics that matter, by their names without prefix."""
    found = topics_admin.partitions_of(told.connection, told.prefix)
    needed = (*INPUTS, "tallies", "commands", TOPIC)
    if lines := [f"{told.prefix}{one}: found no such topic" for one in needed if told.prefix + one not in found]:
        raise FindingError(lines)
    return {one: found[told.prefix + one] for one in needed}


async def _prepare(told: Settings, growth: Growth, asked: tuple[Sequence[str], bool], judges: int) -> None:
    """Make all that the shards that come begin with durable; then tell judges of them."""
    clients = Clients(told.connection)
    lineages = _chosen(await read_groups(clients), *asked)
    await _see_that_none_runs(told, list(lineages) or asked[0])
    known = {group: await _standing(clients, growth, lineage) for group, lineage in lineages.items()}
    await _see_that_all_is_read(clients, growth, known)
    topics_admin.grow(told.connection, told.prefix, {told.prefix + TOPIC: growth.after})
    async with _Sender(clients) as sender:
        for one in known.values():
            await sender.send(_states(clients, growth, one))
        await _see_that_all_is_read(clients, growth, known)  # it may have taken a while
        await _see_that_none_runs(told, list(lineages) or asked[0])
        for one in known.values():
            grown = wire.encode(wire.Grown(one.run, growth.after, reached(growth, one.states)))
            await sender.send(_each(Outgoing("tallies", grown, None, judge) for judge in range(judges)))


def _chosen(found: Mapping[str, Lineage], groups: Sequence[str], named: bool) -> Mapping[str, Lineage]:
    """Return the policies of the groups that go on: those that were named, else the only one."""
    if not found and not named:
        return {}  # no worker has ever been started here
    others = sorted(found.keys() - set(groups))
    if others and not named:
        raise FindingError(
            [f"groups that count on these topics: {', '.join(sorted(found))}; name each that is to go on with --group"]
        )
    if lines := [f"group {group} has no policy on these topics" for group in groups if group not in found]:
        raise FindingError(lines)
    return {group: found[group] for group in groups}


async def _see_that_none_runs(told: Settings, groups: Sequence[str]) -> None:
    """Wait out the session of workers that ended without taking leave; what is there for longer is running."""
    deadline = time.monotonic() + told.session_timeout + LATE
    while running := _running(told, groups):
        if time.monotonic() > deadline:
            raise FindingError(
                [
                    f"group {group}: {count} worker{'s' * (count != 1)} of it are running: stop producers, let workers "
                    "read everything, stop them by SIGTERM"
                    for group, count in running.items()
                ]
            )
        await asyncio.sleep(AGAIN)


def _running(told: Settings, groups: Sequence[str]) -> dict[str, int]:
    """Return how many workers Kafka counts in each group that has any."""
    return {
        group: count for group, count in topics_admin.members(told.connection, told.prefix, groups).items() if count
    }


async def _standing(clients: Clients, growth: Growth, lineage: Lineage) -> Standing:
    if lineage.first is None:
        raise RuntimeError("a group without a policy")
    found = Found()
    async for record in read_all(clients.consumer, clients.prefix + TOPIC, list(range(growth.before))):
        found.put(record.key, record.value, record.offset)
    run = run_of(lineage.first, lineage.reference)
    try:
        return Standing(run, found, standing(run, found, growth))
    except FindingError as error:
        raise FindingError([f"group {lineage.group}: {line}" for line in error.lines]) from error


async def _see_that_all_is_read(clients: Clients, growth: Growth, known: Mapping[str, Standing]) -> None:
    """See that nothing is left to read: markers of transactions and what compaction removed are nothing."""
    if open_ones := await _undecided(clients, growth):
        raise FindingError([f"{clients.prefix}{place}: a transaction is not finished" for place in open_ones])
    lines = []
    for group, one in known.items():
        lines += unread(group, clients.prefix, await _left(clients, growth, one.states))
    if not known and await _left(clients, growth, {}):
        lines = ["there are records, but no group has read any: start its workers first"]
    if lines:
        raise FindingError(lines)


async def _left(clients: Clients, growth: Growth, states: Mapping[int, Saved]) -> set[tuple[str, int]]:
    """Return the places that hold records which these states do not cover."""
    starts = {
        TopicPartition(clients.prefix + topic, number): states[number].state["positions"][topic] if states else 0
        for topic in INPUTS
        for number in range(growth.before)
    }
    places, seen = set[tuple[str, int]](), 0
    async with aclosing(read_from(clients.consumer, starts)) as records:
        async for record in records:
            places.add((record.topic.removeprefix(clients.prefix), record.partition))
            seen += 1
            if len(places) == len(starts) or seen == MANY:
                break
    return places


async def _undecided(clients: Clients, growth: Growth) -> list[str]:
    """Return the partitions that have records of which it is not decided whether they count."""
    if clients.consumer["isolation_level"] != "read_committed":
        return []
    places = [TopicPartition(clients.prefix + topic, n) for topic in INPUTS for n in range(growth.before)]
    ends = [
        await _ends({**clients.consumer, "isolation_level": level}, places)
        for level in ("read_committed", "read_uncommitted")
    ]
    return [
        f"{p.topic.removeprefix(clients.prefix)}, partition {p.partition}" for p in places if ends[0][p] < ends[1][p]
    ]


async def _ends(connect: Mapping[str, object], places: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    async with reading(connect) as consumer:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
    return ends


async def _states(clients: Clients, growth: Growth, one: Standing) -> AsyncIterator[Outgoing]:
    """Yield all that the shards that come begin with, blocks first; then the judges that move."""
    for parent, saved in one.states.items():
        left = set(saved.blocks)
        async for record in read_at(clients.consumer, clients.prefix + TOPIC, parent, saved.blocks.keys()):
            left.discard(record.offset)
            for message in copies(one.run, growth, parent, record.value):
                yield message
        if left:
            raise UserError(f"blocks of shard {parent} went away while they were read: repeat the command")
        for message in seeds(one.run, growth, parent, saved):
            yield message
    for message in moved(one.run, one.found, growth):
        yield message


async def _each(messages: Iterable[Outgoing]) -> AsyncIterator[Outgoing]:
    for message in messages:
        yield message


class _Sender:
    """Sends messages; those of one call are acknowledged before it returns."""

    def __init__(self, clients: Clients) -> None:
        self._prefix, self._connect = clients.prefix, clients.producer

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, max_request_size=MOST_BYTES, **self._connect
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, messages: AsyncIterator[Outgoing]) -> None:
        waits = []
        async for one in messages:
            topic = self._prefix + one.topic
            await self._know(topic, one.partition or 0)
            waits.append(await self._producer.send(topic, one.value, one.key, one.partition))
            if len(waits) >= AT_ONCE:
                await asyncio.gather(*waits)
                waits = []
        await asyncio.gather(*waits)

    async def _know(self, topic: str, partition: int) -> None:
        """Wait until the client has heard of a partition that has just been made."""
        async with asyncio.timeout(30):
            while partition not in await self._producer.partitions_for(topic):
                await self._producer.client.force_metadata_update()
