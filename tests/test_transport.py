"""The transport: names of Faust and aiokafka that it rests on, what it commits, and which gaps it believes."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import Assignment, TopicPartitionState
from aiokafka.errors import CommitFailedError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from faust.app.base import App
from faust.tables.recovery import Recovery
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.threads import ServiceThread

from interlock.commands.broker import Broker
from interlock.connection import plain
from interlock.errors import UserError
from interlock.policies.load import load_policy
from interlock.streams import lenient
from interlock.streams.app import Group, build
from interlock.streams.clients import Clients
from interlock.streams.live import Layout, Setup
from interlock.streams.transport import Chunk, Consumer, Thread
from interlock.streams.worker import Worker
from tests.living import Running, topics, until
from tests.story import POLICY, QUICK, counted, day, lag, told

HERE = TP("predictions", 0)

TRIED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

CALLED: dict[tuple[Any, str], list[str]] = {
    (base.Consumer, "_reset_state"): ["self"],
    (base.Consumer, "_new_offset"): ["self", "tp"],
    (base.Consumer, "_commit_offsets"): ["self", "offsets", "start_new_transaction"],
    (base.Consumer, "on_partitions_revoked"): ["self", "revoked"],
    (base.Consumer, "perform_seek"): ["self"],
    (base.Consumer, "pause_partitions"): ["self", "tps"],
    (base.Consumer, "resume_partitions"): ["self", "tps"],
    (base.Consumer, "_get_active_partitions"): ["self"],
    (base.Consumer, "stop_flow"): ["self"],
    (base.Consumer, "resume_flow"): ["self"],
    (base.Consumer, "_set_active_tps"): ["self", "tps"],
    (base.ThreadDelegateConsumer, "_getmany"): ["self", "active_partitions", "timeout"],
    (Assignment, "state_value"): ["self", "tp"],
    (base.Consumer, "_drain_messages"): ["self", "fetcher"],
    (base.ThreadDelegateConsumer, "_new_consumer_thread"): ["self"],
    (base.ThreadDelegateConsumer, "_seek"): ["self", "partition", "offset"],
    (base.ThreadDelegateConsumer, "earliest_offsets"): ["self", "partitions"],
    (base.ThreadDelegateConsumer, "highwater"): ["self", "tp"],
    (base.ThreadDelegateConsumer, "assignment"): ["self"],
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"): ["self", "transport"],
    (driver.AIOKafkaConsumerThread, "_commit"): ["self", "offsets"],
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"): ["self"],
    (AIOKafkaConsumer, "last_stable_offset"): ["self", "partition"],
    (AIOKafkaConsumer, "last_poll_timestamp"): ["self", "partition"],
    (driver.AIOKafkaConsumerThread, "on_crash"): ["self", "msg", "fmt", "kwargs"],
    (App, "crash"): ["self", "reason"],
    (AIOKafkaConsumer, "commit"): ["self", "offsets"],
    (fetcher.Fetcher, "fetched_records"): ["self", "partitions", "timeout", "max_records"],
    (_MemoryRecordsPy, "next_batch"): ["self", "_min_slice", "_magic_offset"],
    (_DefaultRecordBatchPy, "_maybe_uncompress"): ["self"],
}
"""What we override or call, where it is defined, and its parameters."""

USED: dict[Callable[..., Any], tuple[str, ...]] = {
    base.Consumer.__init__: ("_acked = default", "_acked_index = default", "_read_offset =", "_committed_offset ="),
    base.Consumer._reset_state: ("_active_partitions", "_paused_partitions", "suspend_flow", "flow_active"),
    base.Consumer.stop_flow: ("self.flow_active = False", "self.can_resume_flow.clear()", "self.suspend_flow.set()"),
    Recovery._resume_streams: ("consumer.perform_seek(), timeout=", "consumer.resume_flow()"),
    ServiceThread.start: ("self._thread = self.Worker(self)",),
    AIOKafkaConsumer.highwater: ("self._subscription.subscription.assignment", "state_value(partition).highwater"),
    base.Consumer.commit: ("self.force_commit(",),
    base.Consumer._filter_committable_offsets: ("self._new_offset(tp)", "self._should_commit(tp, offset)"),
    base.Consumer._should_commit: ("self._committed_offset[tp]",),
    base.Consumer._commit_offsets: ("self._commit(committable_offsets)", "self._committed_offset.update("),
    base.Consumer.ack: ("self._acked_index[tp]", "self._acked[tp]", "self._committed_offset[tp]"),
    base.ThreadDelegateConsumer._commit: ("self._thread.commit(",),
    driver.AIOKafkaConsumerThread.getmany: ("_consumer._max_poll_records",),
    driver.AIOKafkaConsumerThread._fetch_records: ("flow_active", "fetched_records("),
    fetcher.Fetcher._proc_fetch_request: ("MemoryRecords(part_data[-1])",),
    _MemoryRecordsPy.next_batch: ("self._next_slice",),
    _DefaultRecordBatchPy._read_msg: ("self._buffer", '.decode("utf-8")'),
}
"""Code of theirs between ours: each must still hold these texts."""


@pytest.mark.parametrize(("where", "name"), CALLED, ids=[f"{at.__name__}.{name}" for at, name in CALLED])
def test_what_we_override_and_call_is_there_with_its_parameters(where: Any, name: str) -> None:
    found = getattr(where, name, None)
    about = f"{where.__name__}.{name}, with {TRIED} tried and {_installed()} installed: see streams/transport.py, lenient.py"

    assert found is not None, f"gone: {about}"
    assert list(inspect.signature(found).parameters) == CALLED[where, name], f"other parameters: {about}"


@pytest.mark.parametrize("code", USED, ids=lambda code: code.__qualname__)
def test_their_code_between_ours_still_uses_the_names_that_we_set(code: Callable[..., Any]) -> None:
    source = inspect.getsource(code)
    missing = [text for text in USED[code] if text not in source]

    assert missing == [], f"{code.__qualname__} has changed ({_installed()}): read it beside streams/transport.py"


def test_our_classes_define_only_what_theirs_have_or_what_is_new_under_an_own_name() -> None:
    own = {"_deliver", "_bridges", "_fetched", "_flows", "_hand_on", "_skip", "end", "ended", "positions"}
    for ours, theirs in ((Consumer, driver.Consumer), (Thread, driver.AIOKafkaConsumerThread)):
        names = {name for name in vars(ours) if not name.startswith("__")} - {"_abc_impl", "abstract", "logger"}
        taken = own & set(dir(theirs))

        assert {name for name in names - own if not hasattr(theirs, name)} == set()
        assert taken == set(), f"Faust has these names of its own now: {taken}"


def test_a_chunk_is_a_message_to_faust() -> None:
    parameters = list(inspect.signature(ConsumerMessage.__init__).parameters)[1:]

    assert parameters[:12] == [
        "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
        "serialized_key_size", "serialized_value_size", "tp",
    ]  # fmt: skip
    assert issubclass(Chunk, ConsumerMessage)
    assert "generation_id" in parameters


def test_a_partitions_state_has_its_position() -> None:
    assert {"position", "has_valid_position"} <= set(dir(TopicPartitionState))
    assert "self.highwater" in inspect.getsource(TopicPartitionState)


def test_every_consumer_of_a_worker_reads_leniently() -> None:
    assert fetcher.MemoryRecords is lenient.Records


def _installed() -> str:
    return ", ".join(f"{name} {version(name)}" for name in TRIED)


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


@dataclass
class Reading:
    """A consumer at an offset of one partition, and the chunks that it has delivered."""

    consumer: Any
    kafka: Kafka
    chunks: list[Any] = field(default_factory=list)

    async def fetch(self, first: int, last: int) -> None:
        """Bring records, as a fetch does."""
        records = [SimpleNamespace(offset=n, timestamp=0, timestamp_type=1) for n in range(first, last + 1)]
        await self.consumer._deliver(HERE, records, 1)

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


def test_what_is_ours_no_longer_is_not_delivered() -> None:
    async def then(one: Reading) -> None:
        one.consumer._read_offset.pop(HERE)
        await one.fetch(100, 109)

        assert one.delivered() == []

    reading(then)


def test_markers_at_the_end_are_passed_once_and_committed() -> None:
    async def then(one: Reading) -> None:
        await one.fetch(100, 109)
        await one.consumer._skip(HERE, 112, 1)
        await one.consumer._skip(HERE, 112, 1)
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
