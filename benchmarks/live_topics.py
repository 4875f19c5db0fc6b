"""Fill input topics before anything is timed: JSON events one per message, or Arrow frames."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
from aiokafka import AIOKafkaProducer

from benchmarks import workload
from interlock.partitions import partition_of
from interlock.streams.topics import Layout
from interlock.streams.topics_admin import create

FRAME = 256
"""Events in a message of Arrow."""

Keyed = tuple[bytes, bytes]
"""Key and value of a message."""


def make_topics(bootstrap: str, prefix: str, partitions: int) -> None:
    """Create the topics of a run, as `interlock topics` does."""
    if lines := create(bootstrap, Layout(prefix, partitions)).differences:
        raise RuntimeError(lines)


def json_messages(batches: Iterable[pa.RecordBatch]) -> Iterator[Keyed]:
    """Yield one message per event, keyed by its id as the protocol says."""
    for batch in batches:
        ids: list[Any] = batch.column("event_id").to_pylist()
        yield from zip(map(str.encode, ids), map(str.encode, workload.json_lines(batch)), strict=True)


def frame_messages(batches: Iterable[pa.RecordBatch], rows: int = FRAME) -> Iterator[Keyed]:
    """Yield one message per frame: an Arrow stream of so many events, schema and all, keyed by the first id."""
    ipc: Any = pa.ipc
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            frame = batch.slice(start, rows)
            sink: Any = pa.BufferOutputStream()
            with ipc.new_stream(sink, frame.schema) as stream:
                stream.write_batch(frame)
            first: Any = frame.column("event_id")[0]
            yield first.as_py().encode(), sink.getvalue().to_pybytes()


def fill(bootstrap: str, topic: str, messages: Iterable[Keyed], partitions: int) -> int:
    """Send messages, in order, each to its key's partition; return how many bytes of values."""
    return asyncio.run(_fill(bootstrap, topic, messages, partitions))


async def _fill(bootstrap: str, topic: str, messages: Iterable[Keyed], partitions: int) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    size, rest = 0, iter(messages)
    try:
        while some := list(islice(rest, 10_000)):
            size += sum(len(value) for _, value in some)
            sent = [await producer.send(topic, value, key, partition_of(key, partitions)) for key, value in some]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return size
