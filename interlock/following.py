"""Follow a topic from its beginning for ever: all partitions, no group, through every failure of the broker."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from threading import Event, Thread
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from interlock.ends import Ends
from interlock.reaching import consumer as reach
from interlock.rights import lacks, why

LOG = logging.getLogger("interlock.guard")

POLL_MS = 250
"""How long a poll waits for records; closing waits for it."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts to reach the broker: doubled from the first to the longest."""

PARTITIONS_S = 10.0
"""Seconds between looks at how many partitions the topic has."""

SETTINGS: Mapping[str, Any] = {
    "allow_auto_create_topics": False,
    "auto_offset_reset": "earliest",
    "bootstrap_timeout_ms": 5000,
    "enable_auto_commit": False,
    "group_id": None,
    "metadata_max_age_ms": 30_000,
    "reconnect_backoff_max_ms": 2000,
}

Pairs = Iterable[tuple[bytes | None, bytes | None]]


class Follower:
    """A thread that hands every record of a topic to `take`, in the order of its partition, as (key, value).

    After a failure it begins anew at the beginning: what takes the records must bear that. `ready` is set once it has
    read what was there when it began.
    """

    def __init__(
        self, topic: str, take: Callable[[Pairs], None], tick: Callable[[], None], settings: Mapping[str, Any]
    ) -> None:
        """Begin with `start`. `tick` is called after every poll; `settings` are kafka-python's, with `bootstrap_servers`."""
        self.ready = Event()
        self._topic, self._take, self._tick = topic, take, tick
        self._settings = {**SETTINGS, **settings}
        self._stop = Event()
        self._ends = Ends(lambda: reach(**self._settings))
        self._thread = Thread()

    def start(self) -> None:
        """Begin; also in a forked process, where the thread is gone."""
        self._stop = Event()
        self._thread = Thread(target=self._run, name="interlock-guard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                if self._attempt():
                    pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - a guard goes on, whatever the client raises
                LOG.warning("control topic %s: %s; trying again in %.1f s", self._topic, _said(error), pause)
            self._tick()
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self) -> bool:
        """Follow the topic until told to stop; False if it does not exist."""
        with closing(reach(**self._settings)) as consumer:
            exists = self._assign(consumer)
            if exists:
                self._follow(consumer)
            return exists

    def _follow(self, consumer: KafkaConsumer) -> None:
        looked = time.monotonic()
        while not self._stop.is_set():
            polled = consumer.poll(timeout_ms=POLL_MS)
            for records in polled.values():
                self._take((record.key, record.value) for record in records)
            if not self.ready.is_set() and self._ends.reached(consumer, brought=bool(polled)):
                self.ready.set()
            self._tick()
            if time.monotonic() - looked > PARTITIONS_S:
                looked = time.monotonic()
                self._assign(consumer)

    def _assign(self, consumer: KafkaConsumer) -> bool:
        """Read all partitions there are, new ones from their beginning; whether there is any."""
        there = {TopicPartition(self._topic, number) for number in consumer.partitions_for_topic(self._topic)}
        new = there - consumer.assignment()
        if not there:
            LOG.warning("control topic %s does not exist, or: %s", self._topic, lacks("Read", "topic", self._topic))
        if new:
            consumer.assign(sorted(there | consumer.assignment()))
            consumer.seek_to_beginning(*new)
            self._ends.ends.update(consumer.end_offsets(list(new)))
        return bool(there)


def _said(error: Exception) -> str:
    return why(error, "Read") if isinstance(error, KafkaError) else repr(error)
