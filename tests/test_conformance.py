"""What Interlock rests on in Faust and aiokafka that neither promises: one test each.

A newer version breaks a line here before it breaks a worker. Each failure names the file of ours, and what to look at.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState, TopicPartitionState
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from faust.app.base import App
from faust.assignor.copartitioned_assignor import CopartitionedAssignor
from faust.assignor.partition_assignor import PartitionAssignor
from faust.events import Event
from faust.streams import Stream
from faust.tables.recovery import Recovery
from faust.transport import consumer as base
from faust.transport.conductor import ConductorCompiler
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.services import Service
from mode.threads import ServiceThread

from interlock.connection import plain
from interlock.policies.load import load_policy
from interlock.streams import lenient
from interlock.streams.app import Group, build
from interlock.streams.clients import Clients
from interlock.streams.consumer_thread import FETCH_WAIT_MS, Thread
from interlock.streams.live import Layout, Setup
from interlock.streams.transport import Chunk, Consumer
from interlock.streams.worker import Worker
from tests.story import POLICY

TRIED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}

TRANSPORT, THREAD = "streams/transport.py", "streams/consumer_thread.py"
APP, LENIENT = "streams/app.py", "streams/lenient.py"


class Called(NamedTuple):
    """A function of theirs that a file of ours overrides or calls, its parameters, and what to look at."""

    ours: str
    where: Any
    name: str
    parameters: str
    look: str


COMMITS = "Consumer._new_offset and _commit_offsets: commits never pass a chunk in flight, refused ones come again"
SEEKS = "Consumer.perform_seek: partitions start at their checkpoints, and nothing fetched before it is delivered"
FLOW = "app._pace and Consumer._fetched: which partitions are fetched while others wait"
FETCHES = "Consumer._drain_messages, _fetched and _deliver: one message per fetched chunk"
BUILDS = "Thread._create_worker_consumer: the consumer is built our way"
ASKED = "Thread.look: the lag of partitions that are not fetched"
ENDS = "Consumer.end and _bridges: lag, and gaps that retention left"
STOPS = "app.run and Thread.on_crash: what a crash says, and that nothing outlives the loop"
READS = "Records and _Batch: records whose header names are no UTF-8"

CALLED = [
    Called(TRANSPORT, base.Consumer, "_reset_state", "self", SEEKS),
    Called(TRANSPORT, base.Consumer, "_new_offset", "self tp", COMMITS),
    Called(TRANSPORT, base.Consumer, "_commit_offsets", "self offsets start_new_transaction", COMMITS),
    Called(THREAD, driver.AIOKafkaConsumerThread, "_commit", "self offsets", COMMITS),
    Called(THREAD, AIOKafkaConsumer, "commit", "self offsets", COMMITS),
    Called(TRANSPORT, base.Consumer, "on_partitions_revoked", "self revoked", SEEKS),
    Called(TRANSPORT, base.Consumer, "perform_seek", "self", SEEKS),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "_seek", "self partition offset", SEEKS),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "assignment", "self", SEEKS),
    Called(TRANSPORT, base.Consumer, "stop_flow", "self", SEEKS),
    Called(TRANSPORT, base.Consumer, "resume_flow", "self", SEEKS),
    Called(APP, base.Consumer, "pause_partitions", "self tps", FLOW),
    Called(APP, base.Consumer, "resume_partitions", "self tps", FLOW),
    Called(TRANSPORT, base.Consumer, "_get_active_partitions", "self", FLOW),
    Called(TRANSPORT, base.Consumer, "_set_active_tps", "self tps", FLOW),
    Called(TRANSPORT, base.Consumer, "on_buffer_full", "self tp", FLOW),
    Called(TRANSPORT, base.Consumer, "on_buffer_drop", "self tp", FLOW),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "_getmany", "self active_partitions timeout", FETCHES),
    Called(TRANSPORT, base.Consumer, "_drain_messages", "self fetcher", FETCHES),
    Called(TRANSPORT, fetcher.Fetcher, "fetched_records", "self partitions timeout max_records", FETCHES),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "_new_consumer_thread", "self", BUILDS),
    Called(THREAD, driver.AIOKafkaConsumerThread, "_create_worker_consumer", "self transport", BUILDS),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "earliest_offsets", "self partitions", ENDS),
    Called(TRANSPORT, base.ThreadDelegateConsumer, "highwater", "self tp", ENDS),
    Called(THREAD, driver.AIOKafkaConsumerThread, "_ensure_consumer", "self", ENDS),
    Called(THREAD, Assignment, "state_value", "self tp", ENDS),
    Called(THREAD, driver.AIOKafkaConsumerThread, "call_thread", "self fun args kwargs", ASKED),
    Called(THREAD, driver.AIOKafkaConsumerThread, "on_crash", "self msg fmt kwargs", STOPS),
    Called(APP, App, "crash", "self reason", STOPS),
    Called(APP, Stream, "noack", "self", "app._agents: chunks are acknowledged by us, after they are processed"),
    Called(APP, Stream, "events", "self", "app._agents: chunks come as events, each with its message"),
    Called(APP, Event, "ack", "self", "app._agents: chunks are acknowledged by us, after they are processed"),
    Called(APP, App, "timer", "self interval on_leader traced name max_drift_correction", "app._timers: beats, saves"),
    Called(LENIENT, _MemoryRecordsPy, "next_batch", "self _min_slice _magic_offset", READS),
    Called(LENIENT, _DefaultRecordBatchPy, "_maybe_uncompress", "self", READS),
]


class Between(NamedTuple):
    """Code of theirs that runs between ours, texts that it must hold, and what of ours rests on them."""

    ours: str
    code: Callable[..., Any]
    texts: tuple[str, ...]
    look: str


BETWEEN = [
    Between(TRANSPORT, base.Consumer.commit, ("self.force_commit(",), COMMITS),
    Between(
        TRANSPORT,
        base.Consumer._filter_committable_offsets,
        ("self._new_offset(tp)", "self._should_commit(tp, offset)"),
        COMMITS,
    ),
    Between(TRANSPORT, base.Consumer._should_commit, ("self._committed_offset[tp]",), COMMITS),
    Between(
        TRANSPORT,
        base.Consumer._commit_offsets,
        ("self._commit(committable_offsets)", "self._committed_offset.update("),
        COMMITS,
    ),
    Between(
        TRANSPORT,
        base.Consumer.ack,
        ("self._acked_index[tp]", "self._acked[tp]", "self._committed_offset[tp]"),
        COMMITS,
    ),
    Between(TRANSPORT, base.ThreadDelegateConsumer._commit, ("self._thread.commit(",), COMMITS),
    Between(
        TRANSPORT,
        base.Consumer.__init__,
        ("_acked = default", "_acked_index = default", "_read_offset =", "_committed_offset ="),
        SEEKS,
    ),
    Between(
        TRANSPORT,
        base.Consumer._reset_state,
        ("_active_partitions", "_paused_partitions", "suspend_flow", "flow_active"),
        SEEKS,
    ),
    Between(
        TRANSPORT,
        base.Consumer.stop_flow,
        ("self.flow_active = False", "self.can_resume_flow.clear()", "self.suspend_flow.set()"),
        SEEKS,
    ),
    Between(
        TRANSPORT, Recovery._resume_streams, ("consumer.perform_seek(), timeout=", "consumer.resume_flow()"), SEEKS
    ),
    Between(
        TRANSPORT,
        ConductorCompiler.build,
        ("on_pressure_high=on_pressure_high", "consumer_on_buffer_full(tp)", "consumer_on_buffer_drop(tp)"),
        "Consumer._fetched and app.BUFFERED: a full agent stops the fetching of its partition",
    ),
    Between(THREAD, driver.AIOKafkaConsumerThread.getmany, ("_consumer._max_poll_records",), FETCHES),
    Between(THREAD, driver.AIOKafkaConsumerThread._fetch_records, ("flow_active", "fetched_records("), FETCHES),
    Between(
        TRANSPORT,
        AIOKafkaConsumer.highwater,
        ("self._subscription.subscription.assignment", "state_value(partition).highwater"),
        ENDS,
    ),
    Between(THREAD, ServiceThread.start, ("self._thread = self.Worker(self)",), STOPS),
    Between(APP, Service.crash, ("self._crash(reason)",), STOPS),
    Between(
        APP,
        CopartitionedAssignor.get_assignment,
        ("self.replicas == 0", "unassign_extras(capacity"),
        "app.build: without standbys the shares of workers differ by at most one",
    ),
    Between(LENIENT, fetcher.Fetcher._proc_fetch_request, ("MemoryRecords(part_data[-1])",), READS),
    Between(LENIENT, _MemoryRecordsPy.next_batch, ("self._next_slice",), READS),
    Between(LENIENT, _DefaultRecordBatchPy._read_msg, ("self._buffer", '.decode("utf-8")'), READS),
]


def about(ours: str, name: str, look: str) -> str:
    installed = ", ".join(f"{package} {version(package)} ({tried} tried)" for package, tried in TRIED.items())
    return f"{ours} rests on {name}; installed: {installed}. Look at {look}."


@pytest.mark.parametrize("one", CALLED, ids=lambda one: f"{one.where.__name__.rpartition('.')[2]}.{one.name}")
def test_what_we_override_and_call_is_there_with_its_parameters(one: Called) -> None:
    found = getattr(one.where, one.name, None)
    said = about(one.ours, f"{one.where.__name__}.{one.name}({one.parameters})", one.look)

    assert found is not None, said
    assert " ".join(inspect.signature(found).parameters) == one.parameters, said


@pytest.mark.parametrize("one", BETWEEN, ids=lambda one: one.code.__qualname__)
def test_their_code_between_ours_still_uses_the_names_that_we_set(one: Between) -> None:
    source = inspect.getsource(one.code)
    missing = [text for text in one.texts if text not in source]

    assert missing == [], about(one.ours, one.code.__qualname__, one.look)


def test_our_classes_define_only_what_theirs_have_or_what_is_new_under_an_own_name() -> None:
    own = {
        "_deliver",
        "_bridges",
        "_forget_fetched",
        "_fetched",
        "_flows",
        "_hand_on",
        "_keeps",
        "_skip",
        "end",
        "ended",
        "look",
        "positions",
        "reached",
    }
    for ours, theirs in ((Consumer, driver.Consumer), (Thread, driver.AIOKafkaConsumerThread)):
        names = {name for name in vars(ours) if not name.startswith("__")} - {"_abc_impl", "abstract", "logger"}
        taken = own & set(dir(theirs))

        assert {name for name in names - own if not hasattr(theirs, name)} == set()
        assert taken == set(), f"Faust has these names of its own now: {taken}; rename ours in {TRANSPORT}"


def test_a_chunk_is_a_message_to_faust() -> None:
    parameters = list(inspect.signature(ConsumerMessage.__init__).parameters)[1:]
    said = about(TRANSPORT, "ConsumerMessage", "_message: a chunk is built by position")

    assert parameters[:12] == [
        "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
        "serialized_key_size", "serialized_value_size", "tp",
    ], said  # fmt: skip
    assert issubclass(Chunk, ConsumerMessage), said
    assert "generation_id" in parameters, said


def test_a_partitions_state_has_its_position() -> None:
    said = about(THREAD, "TopicPartitionState", ENDS)

    assert {"position", "has_valid_position"} <= set(dir(TopicPartitionState)), said
    assert "self.highwater" in inspect.getsource(TopicPartitionState), said
    assert isinstance(inspect.getattr_static(SubscriptionState, "subscription"), property), said


def test_every_consumer_of_a_worker_reads_leniently() -> None:
    assert fetcher.MemoryRecords is lenient.Records, about(LENIENT, "aiokafka.consumer.fetcher.MemoryRecords", READS)


# -- what they do, in an app as a worker builds it ---------------------------------------------------------------------


def built(then: Callable[[Any], Awaitable[None]]) -> None:
    """Run a test with the app of a worker, which is not started."""

    async def run() -> None:
        setup = Setup(load_policy(POLICY.encode(), "story"), None, Layout(1))
        app = build(Worker(setup, Clients(plain("127.0.0.1:9"))), Group("g"))
        app.finalize()
        app.conf.datadir.rmdir()
        await then(app)

    asyncio.run(run())


def test_a_workers_consumer_is_assigned_by_the_co_partitioning_assignor_and_fetches_soon() -> None:
    async def then(app: Any) -> None:
        thread = app.consumer._new_consumer_thread()
        made = thread._create_worker_consumer(app.transport)
        said = about(THREAD, "AIOKafkaConsumer's settings", BUILDS)

        assert made._coordinator is None, said
        assert made._partition_assignment_strategy == [app.assignor], said
        assert isinstance(app.assignor, PartitionAssignor), said
        assert (made._fetch_max_wait_ms, made._enable_auto_commit) == (FETCH_WAIT_MS, False), said
        await made.stop()

    built(then)


def test_a_stream_without_acks_acknowledges_nothing_by_itself() -> None:
    async def then(app: Any) -> None:
        stream = app.stream(app.channel()).noack()

        assert stream.enable_acks is False, about(APP, "Stream.noack", "app._agents")

    built(then)


def test_an_app_has_the_states_that_a_worker_asks_for() -> None:
    async def then(app: Any) -> None:
        said = about(APP, "App's attributes", "app.run, app._timers and watchdog.Reading: what they ask the app")
        states = (app.rebalancing, app.crashed, app.should_stop, app.in_recovery)

        assert states == (False, False, False, False), said
        assert app.crash_reason is None, said
        assert (app.consumer_generation_id, app.rebalancing_count) == (0, 0), said
        assert {"flow_active", "_paused_partitions", "_buffered_partitions"} <= set(vars(app.consumer)), said

    built(then)


def test_a_crash_of_an_app_is_seen_with_its_reason() -> None:
    async def then(app: Any) -> None:
        reason = RuntimeError("a bug")
        await app.crash(reason)

        assert app.crashed, about(APP, "App.crash", STOPS)
        assert app.crash_reason is reason, about(APP, "App.crash", STOPS)

    built(then)


def test_a_partition_whose_agent_is_full_is_fetched_no_more_until_it_has_room() -> None:
    async def then(app: Any) -> None:
        consumer, here, there = app.consumer, TP("predictions", 0), TP("outcomes", 0)
        consumer._set_active_tps({here, there})
        consumer.on_buffer_full(here)
        full = set(consumer._get_active_partitions())
        consumer.on_buffer_drop(here)
        said = about(TRANSPORT, "Consumer.on_buffer_full", FLOW)

        assert full == {there}, said
        assert consumer._get_active_partitions() == {here, there}, said

    built(then)


def test_a_queue_says_that_it_is_full_before_it_holds_more_than_the_buffer() -> None:
    async def then(app: Any) -> None:
        queue, said = app.FlowControlQueue(maxsize=app.conf.stream_buffer_maxsize), list[str]()
        app.flow_control.resume()
        for number in range(app.conf.stream_buffer_maxsize):
            queue.put_nowait_enhanced(
                number, on_pressure_high=lambda: said.append("full"), on_pressure_drop=lambda: said.append("room")
            )
        high = list(said)
        while not queue.empty():
            queue.get_nowait()

        assert high[:1] == ["full"], about(APP, "FlowControlQueue.put_nowait_enhanced", FLOW)
        assert "room" in said, about(APP, "FlowControlQueue.put_nowait_enhanced", FLOW)

    built(then)
