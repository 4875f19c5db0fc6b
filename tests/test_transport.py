"""The transport: what it commits, which gaps it believes, and which partitions it fetches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import CommitFailedError
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from interlock.commands.broker import Broker
from interlock.connection import plain
from interlock.errors import UserError
from interlock.policies.load import load_policy
from interlock.streams.app import Group, build
from interlock.streams.clients import Clients
from interlock.streams.consumer_thread import Thread
from interlock.streams.live import Layout, Setup
from interlock.streams.transport import POLL_WHEN_FULL
from interlock.streams.worker import Worker
from tests.living import Running, topics, until
from tests.story import POLICY, QUICK, counted, day, lag, told

HERE = TP("predictions", 0)

# -- commits and gaps --------------------------------------------------------------------------------------------------


@dataclass
class Kafka:
    """The edge to Kafka: what was asked of it; `refuses` lets commits fail."""

    refuses: bool = False
    earliest: int = 0
    committed: list[int] = field(default_factory=list)
    sought: list[int] = field(default_factory=list)

    def assignment(self) -> set[TP]:
        return {HERE}

    def seek(self, _: TP, offset: int) -> None:
        self.sought.append(offset)

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        self.committed += [] if self.refuses else offsets.values()
        return not self.refuses

    async def earliest_offsets(self, *_: TP) -> Mapping[TP, int]:
        return {HERE: self.earliest}


def records(offsets: Iterable[int]) -> list[Any]:
    return [SimpleNamespace(offset=n, timestamp=0, timestamp_type=1) for n in offsets]


@dataclass
class Reading:
    """A consumer at an offset of one partition, and the chunks that it has delivered."""

    consumer: Any
    kafka: Kafka
    chunks: list[Any] = field(default_factory=list)

    async def fetch(self, first: int, last: int) -> None:
        """Bring records, as a fetch does."""
        await self.consumer._deliver(HERE, records(range(first, last + 1)), 1)

    async def skip(self, passed: int) -> None:
        """Let the client's position pass what holds no record, twice: it is believed when it is there again."""
        self.consumer.resume_flow()
        for _ in range(2):
            await self.consumer._skip(HERE, passed, (self.consumer._seeks, self.consumer.app.consumer_generation_id))

    def delivered(self) -> list[tuple[int, int, int]]:
        """Return of each chunk where it starts, its first and its last record."""
        return [(chunk.start, chunk.records[0].offset, chunk.offset) for chunk in self.chunks]


def reading(then: Callable[[Reading], Awaitable[None]], start: int = 100) -> None:
    """Run a test with a consumer that was sought to `start`."""

    async def run() -> None:
        setup = Setup(load_policy(POLICY.encode(), "story"), None, Layout(1))
        app = build(Worker(setup, Clients(plain("127.0.0.1:9"))), Group("group"))
        app.finalize()
        app.conf.datadir.rmdir()
        app.topics.acks_enabled_for = lambda _: True
        app.interlock_positions = positions
        one = Reading(app.consumer, Kafka())
        one.consumer._thread = one.kafka
        one.consumer.callback = deliver(one)
        await one.consumer.perform_seek()
        await then(one)

    async def positions(_: set[TP]) -> Mapping[TP, int]:
        return {HERE: start}

    def deliver(one: Reading) -> Callable[[Any], Awaitable[None]]:
        async def callback(chunk: Any) -> None:
            one.chunks.append(chunk)

        return callback

    asyncio.run(run())


def test_a_commit_never_passes_a_chunk_in_flight_and_passes_gaps_between_chunks() -> None:
    async def then(one: Reading) -> None:
        for first in (100, 110, 120, 130):
            await one.fetch(first, first + 9)
        for place in (0, 2, 3):
            one.consumer.ack(one.chunks[place])
        await one.consumer.commit()
        early = list(one.kafka.committed)
        one.consumer.ack(one.chunks[1])
        await one.consumer.commit()

        assert early == [110]
        assert one.kafka.committed == [110, 140]

    reading(then)


@given(st.data())
def test_whatever_gaps_compaction_and_markers_leave_commits_follow_the_acknowledged_prefix(data: st.DataObject) -> None:
    """Acknowledged in any order, refused at any time: never past a chunk in flight, and at the end all of it."""
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=8)
    )
    order = data.draw(st.permutations(range(len(steps))))
    refusals = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))

    async def then(one: Reading) -> None:
        at = 100
        for gap, size, stride in steps:  # a gap before the chunk, and holes in it
            offsets = [at + gap + n * stride for n in range(size)]
            for _ in range(2):  # a gap is believed when it is there again
                if len(one.chunks) < 1 or one.chunks[-1].offset != offsets[-1]:
                    await one.consumer._deliver(HERE, records(offsets), 1)
            at = offsets[-1] + 1
        done = set[int]()
        for place, refused in zip(order, refusals, strict=True):
            one.consumer.ack(one.chunks[place])
            done.add(place)
            one.kafka.refuses = refused
            await one.consumer.commit()
            prefix = next((n for n in range(len(steps)) if n not in done), len(steps))
            allowed = {chunk.offset + 1 for chunk in one.chunks[:prefix]}

            assert set(one.kafka.committed) <= allowed
        one.kafka.refuses = False
        await one.consumer.commit()

        assert one.kafka.committed[-1] == at
        assert one.kafka.committed == sorted(set(one.kafka.committed))

    reading(then)


def test_a_refused_commit_is_tried_again_without_new_traffic() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(100, 109)
        one.consumer.ack(one.chunks[0])
        one.kafka.refuses = True
        await one.consumer.commit()
        one.kafka.refuses = False
        for _ in range(3):
            await one.consumer.commit()

        assert one.kafka.committed == [110]

    reading(then)


def test_a_commit_that_the_broker_refuses_is_no_error() -> None:
    async def refuse(_: object) -> None:
        raise CommitFailedError("rebalancing")

    thread: Any = SimpleNamespace(assignment=lambda: {HERE}, _ensure_consumer=lambda: SimpleNamespace(commit=refuse))

    assert asyncio.run(Thread._commit(thread, {HERE: 1})) is False


def test_what_was_processed_before_a_rebalance_is_not_committed_after_it() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(100, 109)
        before = one.chunks[0]
        await one.consumer.perform_seek()
        await one.fetch(100, 109)
        one.consumer.ack(one.chunks[1])
        await one.consumer.perform_seek()
        await one.consumer.commit()

        assert before.offset == 109
        assert one.kafka.committed == []

    reading(then)


def test_a_gap_is_believed_when_it_is_there_again_after_a_seek() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(103, 105)
        doubted, sought = one.delivered(), list(one.kafka.sought)
        await one.fetch(103, 105)

        assert doubted == []
        assert sought == [100, 100]
        assert one.delivered() == [(100, 103, 105)]

    reading(then)


def test_records_fetched_before_a_rebalance_are_read_again_from_where_the_state_stands() -> None:
    async def then(one: Reading) -> None:
        for _ in range(3):  # each time, what was fetched before comes late; and the doubt of one time is not the next's
            await one.fetch(150, 159)
            await one.fetch(100, 159)
            await one.consumer.perform_seek()

        assert one.delivered() == [(100, 100, 159)] * 3

    reading(then)


def test_a_doubt_from_before_a_rebalance_believes_nothing_after_it() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(150, 159)
        await one.consumer.perform_seek()
        await one.fetch(150, 159)

        assert one.delivered() == []

    reading(then)


def test_records_of_a_partition_that_was_paused_meanwhile_are_delivered() -> None:
    """Their position is past them: whoever dropped them would read a gap, twice, and believe it."""

    async def then(one: Reading) -> None:
        one.consumer._set_active_tps({HERE})
        one.consumer.pause_partitions({HERE})
        await one.fetch(100, 109)

        assert one.delivered() == [(100, 100, 109)]

    reading(then)


def test_records_that_retention_took_are_an_error_and_no_gap() -> None:
    async def then(one: Reading) -> None:
        one.kafka.earliest = 103
        await one.fetch(103, 105)
        with pytest.raises(UserError, match="offsets 100 to 102 were removed by retention"):
            await one.fetch(103, 105)

        assert one.delivered() == []

    reading(then)


def test_a_position_that_was_set_anew_because_records_are_gone_is_an_error_and_passes_nothing() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(100, 109)
        one.kafka.earliest = 115
        with pytest.raises(UserError, match="offsets 110 to 114 were removed by retention"):
            await one.skip(115)

        assert one.delivered() == [(100, 100, 109)]

    reading(then)


def test_what_was_fetched_before_a_seek_passes_nothing_after_it() -> None:
    async def then(one: Reading) -> None:
        one.consumer.resume_flow()
        mark = one.consumer._seeks, one.consumer.app.consumer_generation_id
        await one.consumer.perform_seek()
        one.consumer.resume_flow()
        await one.consumer._skip(HERE, 112, mark)

        assert one.chunks == []

    reading(then)


def test_a_position_past_records_that_were_never_delivered_passes_nothing() -> None:
    async def then(one: Reading) -> None:
        one.consumer.resume_flow()
        mark = one.consumer._seeks, one.consumer.app.consumer_generation_id
        await one.fetch(100, 109)
        await one.consumer._skip(HERE, 120, mark)
        await one.fetch(110, 119)

        assert one.kafka.sought[-1] == 110
        assert one.delivered() == [(100, 100, 109), (110, 110, 119)]

    reading(then)


def test_what_is_ours_no_longer_is_not_delivered() -> None:
    async def then(one: Reading) -> None:
        one.consumer._read_offset.pop(HERE)
        await one.fetch(100, 109)

        assert one.delivered() == []

    reading(then)


def test_markers_at_the_end_are_passed_once_and_committed() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(100, 109)
        await one.skip(112)
        await one.skip(112)
        for chunk in one.chunks:
            one.consumer.ack(chunk)
        await one.consumer.commit()

        assert [(chunk.start, len(chunk.records), chunk.offset) for chunk in one.chunks] == [
            (100, 10, 109),
            (110, 0, 111),
        ]
        assert one.kafka.committed == [112]

    reading(then)


def test_a_seek_waits_for_the_fetch_in_flight_and_none_begins_before_it_is_done() -> None:
    """A fetch that ends after the seek would set the position to its own end, and what lies between is never read."""

    async def then(one: Reading) -> None:
        answer, asked = asyncio.Event(), list[int]()

        async def getmany(*_: object) -> Mapping[TP, list[Any]]:
            asked.append(len(one.kafka.sought))
            await answer.wait()
            return {}

        one.consumer.resume_flow()
        one.consumer._set_active_tps({HERE})
        one.consumer._getmany = getmany
        fetch = asyncio.create_task(one.consumer._fetched())
        await asyncio.sleep(0)
        seek = asyncio.create_task(one.consumer.perform_seek())
        await asyncio.sleep(0)
        late = asyncio.create_task(one.consumer._fetched())
        await asyncio.sleep(0)
        waited = list(one.kafka.sought)
        answer.set()
        await asyncio.gather(fetch, seek)
        one.consumer.resume_flow()
        await late

        assert waited == [100]
        assert asked == [1, 2]

    reading(then)


def test_while_every_agent_is_full_it_looks_again_within_milliseconds_and_asks_the_broker_nothing() -> None:
    async def then(one: Reading) -> None:
        slept = list[float]()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                one.consumer.on_buffer_drop(HERE)

        async def getmany(active: set[TP], _: float) -> Mapping[TP, list[Any]]:
            return {tp: records([100]) for tp in active}

        one.consumer.resume_flow()
        one.consumer._set_active_tps({HERE})
        one.consumer.on_buffer_full(HERE)
        one.consumer.sleep, one.consumer._getmany = sleep, getmany
        found = [await one.consumer._fetched() for _ in range(4)]

        assert slept == [POLL_WHEN_FULL] * 3
        assert POLL_WHEN_FULL < 0.01
        assert [list(some) for some in found] == [[], [], [], [HERE]]

    reading(then)


@pytest.mark.integration
def test_events_between_transaction_markers_are_each_counted_once(kafka: Broker, tmp_path: Path) -> None:
    story = told(tmp_path / "story", day(200))
    topics(kafka.bootstrap, "markers.")

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="markers") as producer:
            for lines in (story.events["predictions"][at : at + 20] for at in range(0, 200, 20)):
                async with producer.transaction():
                    for line in lines:
                        await producer.send("markers.predictions", line, partition=0)

    with Running(story.policy, kafka.bootstrap, "markers.", QUICK) as worker:
        asyncio.run(send())
        until(lambda: lag(worker) == 0 and counted([worker], "predictions") == 200, "all to be counted")
        state = worker.status()["shards"]["0"]

        assert state["positions"]["predictions"] == 200 + 10
        assert counted([worker], "duplicate") == 0
