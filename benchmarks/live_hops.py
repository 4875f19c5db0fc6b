"""The peer of a never-event's way: two bare hops, in a process of their own, from `predictions` over `hop-1` to `hop-2`.

Run as `python -m benchmarks.live_hops BOOTSTRAP PREFIX PARTITIONS`; it ends when its standard input
does.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

HOPS = "hop-1", "hop-2"
MARK = b'"never-'
"""What the ids of never-events begin with."""


async def hop(bootstrap: str, sources: list[TopicPartition], target: str, keep: Callable[[bytes], bool]) -> None:
    """Pass on what is worth keeping, for ever, and wait for the acknowledgement as a worker does."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await consumer.start()
    await producer.start()
    try:
        consumer.assign(sources)
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                kept = [await producer.send(target, r.value, partition=0) for r in records if keep(r.value)]
                await asyncio.gather(*kept)
    finally:
        await producer.stop()
        await consumer.stop()


async def run(bootstrap: str, prefix: str, partitions: int) -> None:
    """Run both hops until standard input ends."""
    first, second = (prefix + name for name in HOPS)
    predictions = [TopicPartition(prefix + "predictions", number) for number in range(partitions)]
    hops: list[asyncio.Task[Any]] = [
        asyncio.create_task(hop(bootstrap, predictions, first, lambda value: MARK in value)),
        asyncio.create_task(hop(bootstrap, [TopicPartition(first, 0)], second, lambda _: True)),
        asyncio.create_task(asyncio.to_thread(sys.stdin.read)),
    ]
    done, waits = await asyncio.wait(hops, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
