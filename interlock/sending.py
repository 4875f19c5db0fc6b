"""What the delivery thread does: place events in partitions, pack them, hand them to Kafka, and try again for ever."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.producer.future import FutureRecordMetadata

from interlock.outbox import Outbox, Returned, Taken
from interlock.packing import HEADERS, Event, Limits, Packed, Packer
from interlock.partitions import partition_of
from interlock.reaching import producer as reach
from interlock.rights import why

LOG = logging.getLogger("interlock.emit")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts: doubled from the first to the longest."""

TOPIC_PAUSE = 1.0
"""Seconds between looks for a topic that does not exist."""

ANSWER_PATIENCE = 10.0
"""Seconds in which a message that is sent alone must be answered, before all is tried again."""

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
REFUSED = (*TOO_LARGE, InvalidRecordError)

SETTINGS: Mapping[str, Any] = {
    "acks": "all",
    "allow_auto_create_topics": False,
    "batch_size": 256 * 1024,
    "bootstrap_timeout_ms": 5000,
    "delivery_timeout_ms": 2**31 - 1,
    "enable_idempotence": True,
    "max_block_ms": 500,
    "metadata_max_age_ms": 60_000,
    "reconnect_backoff_max_ms": 2000,
}


class Sender:
    """Takes events and messages through partition, packing and producer; its methods belong to one thread."""

    def __init__(
        self, outbox: Outbox, settings: Mapping[str, Any], limits: Limits, on_producer: Callable[[], None]
    ) -> None:
        """Begin without a producer; `on_producer` is called whenever there is a new one."""
        self._outbox, self._settings, self._on_producer = outbox, {**SETTINGS, **settings}, on_producer
        self._linger = limits.linger_ms / 1000
        self._packer = Packer(limits)
        self._waiting: dict[str, list[tuple[float, Event]]] = {}
        self._looked: dict[str, float] = {}
        self._back: list[tuple[int, Packed]] = []
        self._suspects: list[tuple[int, Packed]] = []
        self._producer: KafkaProducer | None = None
        self._asked = self._served = self._acknowledged = 0
        self._pause, self._retry_at = FIRST_PAUSE, 0.0

    def until(self) -> float | None:
        """Return when there is something to do though nothing new comes, in monotonic seconds; None for never."""
        moments = [self._looked.get(topic, -inf) + TOPIC_PAUSE for topic in self._waiting]
        if (due := self._packer.next_due) is not None:
            moments.append(due)
        if self._back or self._suspects:
            moments.append(-inf)
        return max(min(moments), self._retry_at) if moments else None

    def handle(self, taken: Taken) -> None:
        """Do what is to be done now."""
        for event in taken.events:
            self._waiting.setdefault(event.topic, []).append((taken.since + self._linger, event))
        self._asked = taken.flush
        self._receive(taken.returned)
        if time.monotonic() < self._retry_at:
            return
        producer = self._producer or self._reach()
        if producer is not None and self._examine(producer):
            self._send(producer)

    def drop_producer(self) -> None:
        """Close the producer; what it has not delivered comes back."""
        if self._producer is not None:
            try:
                self._producer.close(timeout=1)
            except KafkaTimeoutError:  # it gives up when it cannot flush, and would go on sending
                self._producer._sender.force_close()  # noqa: SLF001 - there is no public way
            self._producer = None

    def disown(self) -> None:
        """Forget the producer in a forked process, where its threads are gone."""
        if self._producer is not None:
            self._producer._closed = True  # noqa: SLF001 - else its clean-up waits for those threads
            self._producer = None

    def _receive(self, returned: Iterable[Returned]) -> None:
        """Take back messages: they go again with a new producer, those that are said to be bad one by one.

        A producer that fails once is spoilt: kafka-python then fails every later message with the same error, so that
        one event that is too large for its topic would have all the others refused.
        """
        is_spoilt = False
        for number, packed, error, producer in returned:
            (self._suspects if isinstance(error, REFUSED) else self._back).append((number, packed))
            is_spoilt |= producer is self._producer
        if is_spoilt:
            self._fail()

    def _examine(self, producer: KafkaProducer) -> bool:
        """Send suspects alone: cut in half what is too large, give up what is bad; whether the producer is still good."""
        while self._suspects:
            number, packed = self._suspects[0]
            try:
                self._hand_over(producer, packed).get(timeout=ANSWER_PATIENCE)
            except REFUSED as error:
                self._suspects[:1] = self._condemn(number, packed, error)
                self._outbox.last_error = error
                self.drop_producer()
                return False
            except (KafkaError, ValueError) as error:
                self._outbox.last_error = error
                self._fail()
                return False
            self._suspects.pop(0)
            self._outbox.arrive(number, packed)
        return True

    def _condemn(self, number: int, packed: Packed, error: Exception) -> list[tuple[int, Packed]]:
        """Return what is left of a message that was refused while it was alone."""
        if isinstance(error, TOO_LARGE) and len(packed.events) > 1:
            return [(number, half) for half in self._outbox.split(number, packed)]
        LOG.error("%s: event %r is refused: %s", packed.topic, packed.key, error)
        self._outbox.refuse(number, packed)
        return []

    def _fail(self) -> None:
        """Replace the producer, after a pause that grows until something succeeds."""
        if self._outbox.acknowledged > self._acknowledged:
            self._pause = FIRST_PAUSE
        self._acknowledged = self._outbox.acknowledged
        error = self._outbox.last_error
        LOG.warning("not delivered: %s; trying again in %.1f s", error and why(error, "Write"), self._pause)
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self.drop_producer()

    def _reach(self) -> KafkaProducer | None:
        """Return a new producer, None if no broker answers."""
        try:
            self._producer = reach(**self._settings)
        except (KafkaError, OSError) as error:
            self._outbox.last_error = error
            self._fail()
            return None
        self._on_producer()
        return self._producer

    def _send(self, producer: KafkaProducer) -> None:
        back, self._back = self._back, []
        for number, packed in back:
            self._post(producer, number, packed)
        for topic in list(self._waiting):
            self._place(producer, topic)
        is_flushing = self._asked > self._served
        for packed in self._packer.due(inf if is_flushing else time.monotonic()):
            self._post(producer, self._outbox.depart(packed), packed)
        if is_flushing and not self._waiting:
            self._served = self._asked
            self._outbox.serve(self._served)

    def _place(self, producer: KafkaProducer, topic: str) -> None:
        """Pack what waits for a topic, unless the topic does not exist."""
        if time.monotonic() < self._looked.get(topic, -inf) + TOPIC_PAUSE:
            return
        try:
            partitions = len(producer.partitions_for(topic))
        except KafkaError as error:
            self._outbox.last_error = error
            self._looked[topic] = time.monotonic()
            LOG.warning("topic %s: %s; looking again in %.0f s", topic, why(error, "Write"), TOPIC_PAUSE)
            return
        self._looked.pop(topic, None)
        for due, event in self._waiting.pop(topic):
            full = self._packer.add(event, partition_of(event.key, partitions), due)
            if full is not None:
                self._post(producer, self._outbox.depart(full), full)

    def _post(self, producer: KafkaProducer, number: int, packed: Packed) -> None:
        """Hand a message to the producer, which says later what became of it, from a thread of its own."""
        try:
            sent = self._hand_over(producer, packed)
        except (KafkaError, ValueError) as error:
            self._outbox.come_back(Returned(number, packed, error, producer))
        else:
            sent.add_callback(lambda _: self._outbox.arrive(number, packed))
            sent.add_errback(lambda error: self._outbox.come_back(Returned(number, packed, error, producer)))

    def _hand_over(self, producer: KafkaProducer, packed: Packed) -> FutureRecordMetadata:
        """Return what the producer promises; KafkaError or, if the topic has no such partition, ValueError."""
        topic, partition = packed.topic, packed.partition
        return producer.send(topic, value=packed.value, key=packed.key, headers=HEADERS, partition=partition)
