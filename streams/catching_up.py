"""Reading a topic up to where it ended when one began, whatever stands there: also where no record does.

Offsets have gaps: markers of transactions, what these took back, what compaction removed. A client's position passes most
of them, but not a gap at the very end of a partition: there a broker has nothing to answer with, for ever.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from interlock.streams.clients import reading

QUIET = 2
"""Answers in a row, of every partition that is left, that must have brought nothing before there is nothing."""


async def read_all(
    connect: Mapping[str, Any], topic: str, partitions: list[int], newest: int | None = None
) -> AsyncIterator[Any]:
    """Yield all records of some partitions, from their beginnings to the ends seen at the start, or the `newest` of each.

    `connect` is aiokafka's.
    """
    places = [TopicPartition(topic, number) for number in partitions]
    async with reading(connect) as consumer:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        begins = await consumer.beginning_offsets(places)
        left = {place for place in places if ends[place] > begins[place]}
        for place in left if newest else ():
            consumer.seek(place, max(begins[place], ends[place] - (newest or 0)))
        async for record in _up_to(consumer, {place: ends[place] for place in left}):
            yield record


async def read_at(
    connect: Mapping[str, Any], topic: str, partition: int, offsets: Collection[int]
) -> AsyncIterator[Any]:
    """Yield the records at these offsets, as far as they are still there."""
    if not offsets:
        return
    place = TopicPartition(topic, partition)
    async with reading(connect) as consumer:
        consumer.assign([place])
        consumer.seek(place, min(offsets))
        async for record in _up_to(consumer, {place: max(offsets) + 1}):
            if record.offset in offsets:
                yield record


async def _up_to(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Any]:
    """Yield what comes until every partition has passed its end, or nothing more can come."""
    left, answers = set(ends), Answers(consumer)
    while left:
        found = await consumer.getmany(*left, timeout_ms=200)
        for records in found.values():
            for record in records:
                yield record
        positions = {place: await consumer.position(place) for place in left}
        left = {place for place in left if positions[place] < ends[place]}
        if answers.were_empty({place: positions[place] for place in left}, brought=bool(found)):
            return


class Answers:
    """Counts how often a broker has answered for every one of some partitions, and had nothing."""

    def __init__(self, consumer: Any) -> None:
        """Begin with none."""
        self._consumer = consumer
        self._positions: Mapping[TopicPartition, int] = {}
        self._heard: dict[TopicPartition, int] = {}
        self._empty = 0

    def were_empty(self, positions: Mapping[TopicPartition, int], *, brought: bool) -> bool:
        """Whether nothing more can come from these positions on; `brought` says whether any records have just come."""
        now = {place: self._consumer.last_poll_timestamp(place) or 0 for place in positions}
        if brought or positions != self._positions:
            self._positions, self._heard, self._empty = positions, now, 0
        elif all(now[place] > self._heard[place] for place in positions):
            self._heard, self._empty = now, self._empty + 1
        return self._empty >= QUIET
