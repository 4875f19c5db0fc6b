"""Records of a topic by a reader of our own, without a group: all of a partition, or those at some offsets."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


@asynccontextmanager
async def _reader(connect: Mapping[str, Any]) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="earliest", **connect)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_all(connect: Mapping[str, Any], topic: str, partitions: list[int]) -> AsyncIterator[Any]:
    """Yield all records of some partitions, from their beginnings to the ends seen at the start."""
    async with _reader(connect) as consumer:
        places = [TopicPartition(topic, number) for number in partitions]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        begins = await consumer.beginning_offsets(places)
        left = {place for place in places if ends[place] > begins[place]}
        while left:
            for records in (await consumer.getmany(*left, timeout_ms=200)).values():
                for record in records:
                    yield record
            left = {place for place in left if await consumer.position(place) < ends[place]}


async def read_at(
    connect: Mapping[str, Any], topic: str, partition: int, offsets: Collection[int]
) -> AsyncIterator[Any]:
    """Yield the records at these offsets, as far as they are still there."""
    if not offsets:
        return
    place, last = TopicPartition(topic, partition), max(offsets)
    async with _reader(connect) as consumer:
        consumer.assign([place])
        consumer.seek(place, min(offsets))
        while await consumer.position(place) <= last:
            for record in (await consumer.getmany(place, timeout_ms=200)).get(place, ()):
                if record.offset in offsets:
                    yield record
