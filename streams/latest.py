"""Where partitions end: as the last fetch of each told, and as the broker says of those that are not fetched meanwhile.

A worker that reads no more, since what it has waits for room, learns nothing by fetching: its lag would stand still.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

ANSWER = 5.0
"""Seconds in which the broker must say it; else the next look asks again."""

log = logging.getLogger("interlock.latest")


class Latest:
    """Looks at a consumer now and then; a partition that was not fetched between two looks is asked about."""

    def __init__(self) -> None:
        """Know nothing."""
        self._fetched: Mapping[TopicPartition, Any] = {}
        self._asked: Mapping[TopicPartition, int] = {}

    async def look(self, consumer: AIOKafkaConsumer) -> None:
        """Ask where those partitions end that nothing was fetched of since the last look; what fails is asked again."""
        fetched = {name: consumer.last_poll_timestamp(name) for name in consumer.assignment()}
        old = [name for name, at in fetched.items() if name in self._fetched and self._fetched[name] == at]
        self._fetched = fetched
        try:
            async with asyncio.timeout(ANSWER):
                self._asked = await consumer.end_offsets(old) if old else {}
        except (KafkaError, OSError) as error:
            log.debug("the broker does not say where partitions end: %s", error)

    def end(self, name: TopicPartition, fetched: int | None) -> int | None:
        """Return the offset after the last record, by what a fetch told and what was asked; None if by neither."""
        return max((end for end in (fetched, self._asked.get(name)) if end is not None), default=None)
