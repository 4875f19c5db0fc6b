"""The Faust app: agents that hand fetched chunks to the worker, and timers. The only file of ours that imports faust itself."""

import asyncio
import logging
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from shutil import rmtree
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP

from interlock.errors import Unreachable, UserError
from interlock.protocol import INPUTS
from interlock.streams.held import Place
from interlock.streams.patience import lasting
from interlock.streams.restoring import RESTORE, SILENT
from interlock.streams.transport import broker_urls, chunk_of
from interlock.streams.watchdog import Reading, Watchdog
from interlock.streams.worker import Worker

BUFFERED = 16
"""Chunks that wait before an agent; a chunk is one fetch of one partition."""

FETCHED = 2 << 20
"""Bytes of a chunk at most: with Kafka's usual half of it, frames cost a quarter more; with twice as much, memory."""

BEAT, SAVE = 1.0, 0.1
"""Seconds between signs of life, and between looks at which checkpoints are due."""

REBALANCE = 60.0
"""Seconds that a group may take to share its partitions."""

FOREVER = 86_400.0
"""Seconds after which Faust gives up in silence while states are read back; many pending predictions take minutes."""

log = logging.getLogger("interlock.app")


@dataclass(frozen=True, slots=True)
class Group:
    """Where the worker belongs: its consumer group, and how soon it is missed there (seconds)."""

    name: str
    session: float = 10.0


def build(worker: Worker, group: Group) -> Any:
    """Return the app of a worker, ready to start."""
    prefix = worker.clients.prefix
    app: Any = _App(
        group.name,
        broker=broker_urls(worker.clients.consumer["bootstrap_servers"]),
        datadir=tempfile.mkdtemp(prefix="interlock-"),
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        canonical_url=f"http://{uuid.uuid4()}",  # by this the assignor tells the workers of a host apart
        table_standby_replicas=0,  # with standbys, 3 workers would share 4 shards as 2, 2 and 0; transport.py pins the assignor
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=BUFFERED,
        consumer_max_fetch_size=FETCHED,
        stream_wait_empty=False,
        broker_session_timeout=group.session,
        broker_heartbeat_interval=group.session / 5,
        broker_rebalance_timeout=REBALANCE,
        broker_request_timeout=FOREVER,
        broker_commit_interval=1.0,
        consumer_metadata_max_age_ms=30_000,
    )
    app.interlock_consumer = worker.clients.consumer
    app.boot_strategy.enable_kafka_producer = False  # the worker has its own
    _places(app, worker, prefix)
    _agents(app, worker, prefix)
    _timers(app, worker, prefix)
    app.finalize()
    return app


class _App(faust.App):  # type: ignore[misc] # Faust's types are not checked
    """An app that knows where its partitions start."""

    interlock_consumer: Mapping[str, Any]
    interlock_positions: Callable[[set[TP]], Awaitable[Mapping[TP, int]]]


def _places(app: Any, worker: Worker, prefix: str) -> None:
    """Let the worker know what it owns, and Faust where to start reading it."""

    def end(place: Place) -> int | None:
        tp = TP(prefix + place.topic, place.partition)
        found: int | None = app.consumer.end(tp) if tp in app.consumer.assignment() else None
        return found

    async def revoked(_: Any, revoked: set[TP], **__: Any) -> None:
        if revoked:
            await worker.revoked()

    async def given(_: Any, assigned: set[TP], **__: Any) -> None:
        worker.keep({_place(tp, prefix) for tp in assigned})

    worker.ends = end
    app.interlock_positions = lambda assigned: _positions(app, worker, assigned, prefix)
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(given, weak=False)


async def _positions(app: Any, worker: Worker, assigned: set[TP], prefix: str) -> Mapping[TP, int]:
    try:
        restored = _restored(app, worker, {_place(tp, prefix) for tp in assigned})
        found = await lasting(restored, lambda: worker.taken_back, RESTORE)
    except BaseException as error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():  # else another rebalance has begun
            await app.crash(Unreachable(SILENT) if isinstance(error, TimeoutError) else error)
        raise
    return {TP(prefix + place.topic, place.partition): offset for place, offset in found.items()}


async def _restored(app: Any, worker: Worker, places: set[Place]) -> Mapping[Place, int]:
    """Return where to read each place; a broker that goes away meanwhile is waited for."""
    while True:
        try:
            return await worker.assigned(places, app.consumer_generation_id)
        except (KafkaError, OSError) as error:
            log.warning("cannot read states from Kafka (%s); again in %.1f s", error, BEAT)
            await asyncio.sleep(BEAT)


def _agents(app: Any, worker: Worker, prefix: str) -> None:
    inputs = app.topic(*(prefix + topic for topic in INPUTS), value_type=bytes, key_type=bytes)
    tallies = app.topic(prefix + "tallies", value_type=bytes, key_type=bytes)
    commands = app.topic(prefix + "commands", value_type=bytes, key_type=bytes)

    async def follow(stream: Any) -> None:
        """Process chunks for ever: no exception of ours may be taken for an event that was done."""
        async for event in stream.noack().events():
            chunk = chunk_of(event.message)
            place = _place(chunk.tp, prefix)
            if chunk.generation_id != app.consumer_generation_id:
                continue  # from before a rebalance: it is read again from where its state stands
            try:
                await worker.read(place, chunk.records, chunk.start, chunk.offset + 1)
            except Exception as error:
                log.error("%s: %s", place, error, exc_info=not isinstance(error, UserError))  # noqa: TRY400 - a user's mistake is one line
                await app.crash(error)
                raise
            event.ack()
            if place.topic in INPUTS:
                _pace(app, worker, place.partition, prefix)

    app.agent(inputs, name="shard")(follow)
    app.agent(tallies, name="judge")(follow)
    app.agent(commands, name="command")(follow)


def _pace(app: Any, worker: Worker, shard: int, prefix: str) -> None:
    """Pause the topic that has run ahead of its shard's other, and let go what no longer has."""
    ahead = worker.ahead(shard)
    ours = {TP(prefix + topic, shard) for topic in INPUTS}
    paused = ours & app.consumer._paused_partitions  # noqa: SLF001 - Faust tells it nowhere else
    wanted = {TP(prefix + topic, shard) for topic in ahead}
    if wanted - paused:
        app.consumer.pause_partitions(wanted - paused)
    if paused - wanted:
        app.consumer.resume_partitions(paused - wanted)


def _timers(app: Any, worker: Worker, prefix: str) -> None:
    async def beat() -> None:
        if not app.rebalancing:
            worker.tell()
            for kind, number in worker.held:
                if kind == "shard":
                    _pace(app, worker, number, prefix)

    async def save() -> None:
        if not app.rebalancing:
            await worker.save_due()

    async def look() -> None:
        await app.consumer.look()

    app.timer(BEAT)(beat)
    app.timer(BEAT)(look)
    app.timer(SAVE)(save)


def _place(tp: TP, prefix: str) -> Place:
    return Place(tp.topic.removeprefix(prefix), tp.partition)


async def _tell(app: Any, worker: Worker, prefix: str, watchdog: Watchdog) -> None:
    """Tell the watchdog how far all is read; that it does so is the loop's sign of life."""

    def reached(place: Place, at: int) -> int | None:
        found: int | None = app.consumer.reached(TP(prefix + place.topic, place.partition), at)
        return found

    reading = Reading(app, worker, reached, REBALANCE + RESTORE)
    while True:
        watchdog.tell(reading.reached())
        await asyncio.sleep(BEAT)


async def run(worker: Worker, group: Group, stop: asyncio.Event, watchdog: Watchdog) -> None:
    """Run a worker until `stop` is set, or the watchdog ends the process.

    Raises:
        BaseException: what made the app crash.
    """
    app = build(worker, group)
    worker.start()
    waits = asyncio.create_task(stop.wait())
    tells = asyncio.create_task(_tell(app, worker, worker.clients.prefix, watchdog))
    watchdog.start()
    try:
        try:
            await app.start()
        finally:
            rmtree(app.conf.datadir, ignore_errors=True)  # it is for tables, which we have not
        while not (stop.is_set() or app.crashed or app.should_stop or worker.fault):
            await asyncio.wait({waits}, timeout=0.1)
            if tells.done():
                tells.result()
    finally:
        watchdog.stop()
        waits.cancel()
        tells.cancel()
        crash, ended = worker.fault or app.crash_reason, not stop.is_set()
        await worker.stop()
        await app.stop()
        await app.consumer.ended()
    if crash is None and ended:
        crash = RuntimeError("Faust has stopped, and does not say why")
    if crash is not None:
        raise crash
