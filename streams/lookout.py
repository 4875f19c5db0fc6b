"""Never-events are noticed while a shard's memory is read back (STREAM.md §4): by the same shard, without that memory.

Nothing else of what it says leaves it. It cannot tell a prediction that came again after long from a new one, so that what
counts must wait; a violation that is told twice, by it and then by the shard itself, is one to the judge.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from interlock.streams.clients import Clients, reading
from interlock.streams.held import message_of
from interlock.streams.live import Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.outbox import Outbox

AGAIN, WAIT_MS = 1.0, 200
"""Seconds until a broker is tried again; how long it waits for more."""

Sure = Callable[[Sequence[Any]], Awaitable[Setup]]
"""Waits until it is known by which policies records count, and returns them."""

log = logging.getLogger("interlock.worker")


class Lookout:
    """Reads the predictions that a shard has yet to count, and notes with it what it tells of them."""

    def __init__(self, shard: LiveShard, clients: Clients, sure: Sure, outbox: Outbox) -> None:
        """Stand where the shard stands, whose memory may be missing."""
        self._shard, self._foreseen, self._connect = shard.forgetful(), shard.foreseen, clients.consumer
        self._place = TopicPartition(clients.prefix + "predictions", shard.number)
        self._sure, self._outbox = sure, outbox

    async def run(self) -> None:
        """Look until another policy follows, or for ever; a broker that goes away is waited for."""
        self._outbox.put(self._shard.greeting())
        goes_on = True
        while goes_on:
            try:
                async with reading(self._connect) as consumer:
                    goes_on = await self._follow(consumer)
            except (KafkaError, OSError) as error:
                log.info("cannot look for violations: %s", error)
                await asyncio.sleep(AGAIN)

    async def _follow(self, consumer: AIOKafkaConsumer) -> bool:
        consumer.assign([self._place])
        consumer.seek(self._place, self._shard.positions["predictions"])
        while True:
            for records in (await consumer.getmany(self._place, timeout_ms=WAIT_MS)).values():
                if await self._sure(records) is not self._shard.setup:
                    return False
                self._outbox.put(self._shard.foresee(list(map(message_of, records)), self._foreseen))
                await self._outbox.room()
