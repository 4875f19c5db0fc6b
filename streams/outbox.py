"""What a worker sends to Kafka: in order, acknowledged by all replicas, again and again until it is.

Every message that we send is an upsert, so a batch whose fate is unknown is simply sent again, in the same order.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from interlock.rights import why
from interlock.streams.clients import Clients
from interlock.streams.live import Outgoing

AT_ONCE = 500
"""Messages sent before the first of them must be acknowledged."""

FULL, HEAVY = 20_000, 64 << 20
"""Messages waiting, and bytes of them, beyond either of which there is no room."""

LONGEST_PAUSE = 3.0
SLOW = 5.0
"""Seconds without an answer after which it says so."""

MOST_BYTES = 4 << 20
SECONDS = 30.0
"""Within which the broker must acknowledge, or the batch is sent again."""

log = logging.getLogger("interlock.outbox")


class Outbox:
    """A queue in front of a producer. `taken` counts the messages taken in, `sent` those acknowledged."""

    def __init__(self, clients: Clients) -> None:
        """Keep the producer's settings; `start` begins to send."""
        self._connect, self._prefix = clients.producer, clients.prefix
        self._queue: deque[Outgoing] = deque()
        self._more, self._less = asyncio.Event(), asyncio.Condition()
        self._producer: AIOKafkaProducer | None = None
        self._task: asyncio.Task[None] | None = None
        self.sent = self.failures = self._bytes = 0
        self._refused: str | None = None
        self._waits_since: float | None = None

    @property
    def taken(self) -> int:
        """The mark of all that was taken in so far."""
        return self.sent + len(self._queue)

    @property
    def failing(self) -> str | None:
        """What keeps it from sending, at the moment."""
        waited = 0.0 if self._waits_since is None else time.monotonic() - self._waits_since
        return self._refused or (f"no answer for {waited:.0f} s" if waited > SLOW else None)

    @property
    def blocked(self) -> bool:
        """Whether a worker has a reason to read no more: no room, or a broker that does not take what was said."""
        return self._is_full() or self.failing is not None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="outbox")

    def put(self, messages: Iterable[Outgoing]) -> int:
        """Take messages in, at once, so that state and output never part; return the mark that `settled` waits for."""
        for message in messages:
            self._queue.append(message)
            self._bytes += len(message.value or b"")
        self._more.set()
        return self.taken

    async def room(self) -> None:
        """Wait until little enough waits: a worker reads no more than it can tell."""
        async with self._less:
            await self._less.wait_for(lambda: not self._is_full())

    def _is_full(self) -> bool:
        return len(self._queue) >= FULL or self._bytes >= HEAVY

    async def settled(self, mark: int) -> None:
        """Wait until everything up to a mark is acknowledged."""
        async with self._less:
            await self._less.wait_for(lambda: self.sent >= mark)

    async def stop(self, seconds: float) -> bool:
        """Send what waits, for so long at the most; say whether all was acknowledged."""
        try:
            await asyncio.wait_for(self.settled(self.taken), seconds)
        except TimeoutError:
            log.warning("%d messages are not acknowledged; they are made again at the next start", len(self._queue))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()
        return not self._queue

    async def _run(self) -> None:
        pause = 0.0
        while True:
            await self._more.wait()
            batch = [self._queue[place] for place in range(min(AT_ONCE, len(self._queue)))]
            self._waits_since = time.monotonic()
            try:
                await self._deliver(batch)
            except (KafkaError, OSError, TimeoutError) as error:
                pause = min(LONGEST_PAUSE, max(0.1, 2 * pause))
                self.failures, self._refused = self.failures + 1, why(error, "Write")
                log.warning("cannot send to Kafka (%s); again in %.1f s", self._refused, pause)
                await self._disconnect()
                await asyncio.sleep(pause)
            else:
                pause, self._refused, self._waits_since = 0.0, None, None
                await self._done(len(batch))

    async def _deliver(self, batch: list[Outgoing]) -> None:
        if self._producer is None:
            producer = AIOKafkaProducer(
                acks="all", enable_idempotence=True, linger_ms=0, max_request_size=MOST_BYTES, **self._connect
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        async with asyncio.timeout(SECONDS):
            waits = [await self._hand(self._producer, message) for message in batch]
            await asyncio.gather(*waits)

    async def _hand(self, producer: AIOKafkaProducer, message: Outgoing) -> Any:
        topic = self._prefix + message.topic
        return await producer.send(
            topic, message.value, message.key, message.partition, headers=list(message.headers) or None
        )

    async def _done(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._queue.popleft().value or b"")
        self.sent += count
        if not self._queue:
            self._more.clear()
        async with self._less:
            self._less.notify_all()

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), 2.0)
            except (KafkaError, OSError, TimeoutError) as error:
                log.info("closing the producer: %r", error)
