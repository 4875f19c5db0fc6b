"""The peer of a worker that reads JSON: aiokafka and the bare decoder, nothing else, in a process of its own.

Run as `python -m benchmarks.live_bare BOOTSTRAP TOPIC PARTITIONS EVENTS`; prints seconds by the clock and of a processor.
"""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.decode import BARE_CHUNK, Bare


async def read(bootstrap: str, topic: str, partitions: int, events: int) -> tuple[float, float]:
    """Decode so many events into columns; return the seconds from the assignment on, by the clock and of a processor."""
    decode, seen = Bare(), 0
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        start, before = time.perf_counter(), time.process_time()
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        while seen < events:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for at in range(0, len(records), BARE_CHUNK):
                    seen += len(decode([record.value for record in records[at : at + BARE_CHUNK]])[0])
        return time.perf_counter() - start, time.process_time() - before
    finally:
        await consumer.stop()


if __name__ == "__main__":
    print(*asyncio.run(read(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
