"""The same work by stock Faust: its own transport, one event at a time, in a process of its own.

Run as `python -m benchmarks.live_stock WORK BOOTSTRAP PREFIX POLICY EVENTS`; prints the seconds from the assignment on, by the
clock and of a processor.
WORK is `shard`: the worker's own shards, each fed one event at a time, and what they say sent on; nobody judges. Or it is
`decode`: msgspec into one typed object an event, and nothing else, the most that could be had this way.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import msgspec

from interlock.commands.inputs import read_policy
from interlock.streams.batch import Message
from interlock.streams.live import Layout, Outgoing, Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.replay import load_reference
from interlock.streams.topics_admin import partitions_of


class Event(msgspec.Struct):
    """What a typed consumer would read of an event."""

    event_id: str
    ts: int
    model: str
    model_version: str
    segment: dict[str, str]
    features: dict[str, float | str]
    score: float
    decision: str


def decoded() -> Callable[[Any], list[Outgoing]]:
    """Return what decodes an event, and says nothing."""
    decode = msgspec.json.Decoder(Event).decode

    def work(event: Any) -> list[Outgoing]:
        decode(event.value)
        return []

    return work


def sharded(policy: Path, partitions: int) -> Callable[[Any], list[Outgoing]]:
    """Return what hands an event to its shard, and returns what that says."""
    loaded = read_policy(policy)
    setup = Setup(loaded, load_reference(loaded, policy.parent), Layout(partitions))
    shards = [LiveShard(number, setup) for number in range(partitions)]

    def work(event: Any) -> list[Outgoing]:
        message = event.message
        text = Message(event.value, message.offset, int(message.timestamp * 1000))
        said: list[Outgoing] = shards[message.partition].read("predictions", [text])
        return said

    return work


async def read(work: Callable[[Any], list[Outgoing]], bootstrap: str, prefix: str, events: int) -> tuple[float, float]:
    """Run an app until it has seen so many events; return seconds by the clock and of a processor."""
    app: Any = faust.App(
        f"stock-{time.time_ns()}",
        broker=f"kafka://{bootstrap}",
        datadir=tempfile.mkdtemp(prefix="stock-"),
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    predictions = app.topic(prefix + "predictions", value_type=bytes, key_type=bytes)
    tallies = app.topic(prefix + "tallies", value_type=bytes, key_type=bytes)
    times: list[tuple[float, float]] = []
    done = asyncio.Event()

    async def given(*_: Any, **__: Any) -> None:
        times.append((time.perf_counter(), time.process_time()))

    async def follow(stream: Any) -> None:
        seen = 0
        async for event in stream.events():
            for said in work(event):
                await tallies.send(key=said.key, value=said.value, partition=said.partition)
            seen += 1
            if seen == events:
                times.append((time.perf_counter(), time.process_time()))
                done.set()

    app.on_partitions_assigned.connect(given, weak=False)
    app.agent(predictions)(follow)
    app.finalize()
    try:
        await app.start()
        await done.wait()
    finally:
        await app.stop()
    return times[-1][0] - times[0][0], times[-1][1] - times[0][1]


def main(kind: str, bootstrap: str, prefix: str, policy: str, events: str) -> None:
    """Read, and print seconds."""
    partitions = partitions_of(bootstrap, prefix)[prefix + "predictions"]
    work = decoded() if kind == "decode" else sharded(Path(policy), partitions)
    print(*asyncio.run(read(work, bootstrap, prefix, int(events))))


if __name__ == "__main__":
    main(*sys.argv[1:])
