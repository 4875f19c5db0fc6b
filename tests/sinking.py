"""Sinks as processes of their own, and topics of a real broker that feed them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError

from interlock.streams.topics import Layout
from interlock.streams.topics_admin import create

ROUTING_KEY = "R0123456789012345678901234567890"
PATIENCE = 60.0
"""Seconds in which something that is waited for must hold."""


def wait_until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds; fail with `what` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)  # between two looks


class Topics:
    """The topics of one test: messages are sent in order, and the offset is awaited."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int = 1) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        create(bootstrap, Layout(prefix, partitions, partitions))
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        key: bytes | None = b"k",
        partition: int = 0,
        ts: int | None = None,
    ) -> None:
        """Append messages to a partition, now or at an earlier time (ms)."""
        name = self.prefix + topic
        sent = [self._producer.send(name, value, key, partition=partition, timestamp_ms=ts) for value in values]
        for one in sent:
            one.get(timeout=PATIENCE)

    def date_by_producer(self, topic: str) -> None:
        """Let messages have the times that `send` gives them."""
        settings = {"message.timestamp.type": "CreateTime"}
        self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.prefix + topic, settings)])

    def ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return the end of every partition that holds something."""
        full = self._admin.describe_topics([self.prefix + topic for topic in topics])
        places = [TopicPartition(one["name"], part["partition_index"]) for one in full for part in one["partitions"]]
        found = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return {place: told.offset for place, told in found.items() if told.offset}

    def offsets(self, group: str, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what a group has committed."""
        name = self.prefix + group
        try:
            found = self._admin.list_group_offsets({name: list(places)})[name]
        except KafkaError:  # the first group of a broker has no coordinator at first
            return {}
        return {place: told.offset for place, told in found.items() if told.offset > 0}

    def members(self, group: str) -> int:
        """Return how many share a group's partitions, 0 while they are being shared out."""
        name = self.prefix + group
        found = self._admin.describe_groups([name])[name]
        return len(found["members"]) if found["group_state"] == "Stable" else 0

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """Return the offset that a group has committed, 0 if none."""
        place = TopicPartition(self.prefix + topic, partition)
        return self.offsets(group, [place]).get(place, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close(timeout=5)
        self._admin.close()


class Sink:
    """`interlock sink …` as a process; what it says goes to a file."""

    def __init__(self, log: Path, *arguments: object, **environment: str) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "interlock", "sink", *map(str, arguments)],
                stdout=file,
                stderr=file,
                env=os.environ | {"INTERLOCK_PAGERDUTY_ROUTING_KEY": ROUTING_KEY} | environment,
            )

    @property
    def said(self) -> str:
        """What all processes with this log have said."""
        return self.log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self._process.send_signal(number)
        return self._process.wait(timeout=PATIENCE)

    def ended(self) -> int:
        """Wait for its end; return its exit code."""
        return self._process.wait(timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()


@contextmanager
def running(log: Path, *arguments: object, **environment: Any) -> Iterator[Sink]:
    """Run a sink; at the end it must stop cleanly when asked."""
    with Sink(log, *arguments, **environment) as sink:
        yield sink
        code = sink.stop()
        assert code == 0, sink.said
