"""The loop of a sink that runs apart: messages of Kafka to a target, at least once, in order, however long it is away.

Offsets are committed after the target has taken what lies before them, so a sink that is killed sends a part of it again;
targets know again what they have taken. While the target or the broker is away the loop waits, and stays in its group.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError
from kafka.structs import OffsetAndMetadata

from interlock.connection import Connection
from interlock.ends import Ends
from interlock.errors import Unreachable
from interlock.reaching import consumer, settings_of
from interlock.rights import SINK_GROUP, why
from interlock.streams.patience import Patience
from interlock.streams.preflight import check_rights
from interlock.streams.reach import answers, silence
from interlock.streams.sink_progress import Progress
from interlock.streams.sink_target import Message, Target

POLL = 0.5
"""Seconds that a quiet loop waits for messages before it looks up."""

START_PATIENCE, PROBE = 15.0, 5.0
"""Seconds until a broker must answer at the start; seconds of silence after which it is asked whether it is there."""

CONNECT_TIMEOUT, COMMIT_TIMEOUT, LEAVE_TIMEOUT = 5_000, 5_000, 5_000
HISTORY_TIMEOUT = 10.0

log = logging.getLogger("interlock.sink")


@dataclass
class KafkaSink:
    """Reads a target's topics until `stop` is set."""

    target: Target
    connection: Connection
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Start with nothing heard."""
        self._consumer: KafkaConsumer
        self._settings = settings_of(self.connection)
        self._heard: dict[TopicPartition, int] = {}
        self._quiet_since = time.monotonic()
        self._patience, self._broker = Patience(log), Patience(log)
        self.progress = Progress({self.target.name: self._patience, "kafka": self._broker})

    def run(self) -> None:
        """Deliver until stopped; what is in hand then is delivered if the target is there.

        Raises:
            Unreachable: no broker answers at the start.
        UserError: it does not let us in, or lacks us a right.
        """
        reached = self._reach()
        if reached is None:
            return
        self._consumer = reached
        with closing(self.target):
            try:
                while not self.stop.is_set():
                    for partition, records in self._gather().items():
                        self._deliver(partition, records)
            finally:
                self._consumer.close(timeout_ms=LEAVE_TIMEOUT)

    @property
    def _answers(self) -> bool:
        """Whether any broker answers."""
        return any(answers(*server, tls=self._settings.get("ssl_context")) for server in self.connection.servers)

    @property
    def _silence(self) -> str:
        """The address, and with TLS why nobody answers."""
        tls, servers = self._settings.get("ssl_context"), self.connection.servers
        said = [silence(*server, tls=tls) for server in servers] if tls else []
        return ": ".join([self.connection.bootstrap, *[one for one in said[:1] if one]])

    # -- the broker --------------------------------------------------------------------------------------------------

    def _reach(self) -> KafkaConsumer | None:
        """Return a member of the sink's group, as soon as a broker answers; None if it is stopped before."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            if self._answers:
                with suppress(KafkaError, Unreachable):
                    check_rights(self.connection, self.target.name, "")
                    return self._join()
            left = deadline - time.monotonic()
            if self.stop.wait(min(max(left, 0.0), POLL)):
                return None
            if left <= 0:
                raise Unreachable(f"no Kafka broker answers at {self._silence} (tried for {START_PATIENCE:.0f} s)")

    def _join(self) -> KafkaConsumer:
        joined = self._client(
            group_id=f"{self.connection.prefix}{SINK_GROUP}{self.target.name}",
            session_timeout_ms=6_000,  # after a crash its successor waits this long for its partitions
            heartbeat_interval_ms=2_000,
            max_poll_records=self.target.most,
        )
        joined.subscribe([self.connection.prefix + topic for topic in self.target.topics])
        return joined

    def _client(self, **options: object) -> KafkaConsumer:
        settings = {**self._settings, **options}
        return consumer(
            **settings,
            bootstrap_timeout_ms=CONNECT_TIMEOUT,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            metadata_max_age_ms=10_000,  # topics that come later are found
            isolation_level=self.connection.isolation_level,
        )

    def _gather(self) -> dict[TopicPartition, list[Message]]:
        """Return messages by partition: as many as the target takes at a time, or what came in its `linger`."""
        found: dict[TopicPartition, list[Message]] = {}
        deadline = time.monotonic() + POLL
        while not self.stop.is_set():
            left = max(0.0, deadline - time.monotonic())
            polled = self._poll(left)
            if polled and not found:
                deadline = time.monotonic() + self.target.linger
            for partition, records in polled.items():
                _append(found.setdefault(partition, []), map(_message, records))
            if sum(map(len, found.values())) >= self.target.most or time.monotonic() >= deadline:
                break
        self._listen(heard=bool(found))
        self.progress.gathered(self._consumer, found)
        return found

    def _poll(self, seconds: float) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=int(seconds * 1000))
        except KafkaError as error:
            self.stop.wait(self._broker.failed(self._told(error)))
            return {}
        return polled

    def _listen(self, *, heard: bool) -> None:
        """Say once that the broker is away, when nothing has come for a while and none answers."""
        now = time.monotonic()
        if heard:
            self._quiet_since = now
            self._broker.succeeded()
        elif now - self._quiet_since >= PROBE:
            self._quiet_since = now
            if self._answers:
                self._broker.succeeded()
            else:
                self._wait(self._broker.failed(self._told()))

    def _told(self, error: KafkaError | None = None) -> str:
        if error is not None and self._answers:
            return f"Kafka: {why(error, 'Read')[:300]}"
        return f"no Kafka broker answers at {self.connection.bootstrap}"

    # -- the target --------------------------------------------------------------------------------------------------

    def _deliver(self, partition: TopicPartition, messages: list[Message]) -> None:
        """Give a partition's messages; stop short when the partition is no longer ours, or the loop is stopped."""
        if not self._insist(partition, partial(self._remember, partition, messages[0].offset)):
            return
        for start in range(0, len(messages), self.target.most):
            part = messages[start : start + self.target.most]
            through = part[-1].offset + 1
            if not self._insist(partition, partial(self.target.take, part)):
                return
            self.progress.delivered(partition, len(part))
            self._heard[partition] = max(through, self._heard.get(partition, 0))
            if not self._insist(partition, partial(self._commit, partition, through)):
                return

    def _insist(self, partition: TopicPartition, do: Callable[[], None]) -> bool:
        """Do it, again and again while a service is away; return whether it was done."""
        while partition in self._consumer.assignment():
            try:
                do()
            except CommitFailedError:
                return False  # the group has moved on: whoever has the partition now is given these again
            except (Unreachable, KafkaError) as error:
                reason = str(error) if isinstance(error, Unreachable) else self._told(error)
                if self.stop.is_set():
                    log.warning("stopped before it was delivered: %s", reason)
                    return False
                self._wait(self._patience.failed(reason))
            else:
                self._patience.succeeded()
                return True
        return False

    def _wait(self, seconds: float) -> None:
        """Wait, in the group and without reading on; a stop ends it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.stop.is_set():
            self._consumer.pause(*self._consumer.assignment())
            for partition, records in self._poll(min(left, POLL)).items():
                self._consumer.seek(partition, records[0].offset)  # assigned meanwhile: it is not its turn
        self._consumer.resume(*self._consumer.paused())

    def _commit(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.commit({partition: OffsetAndMetadata(offset, "", -1)}, timeout_ms=COMMIT_TIMEOUT)

    def _remember(self, partition: TopicPartition, first: int) -> None:
        """Tell the target of everything in a partition before `first` that it has not heard of."""
        heard = self._heard.get(partition, 0)
        if not self.target.recalls or heard >= first:
            return
        with closing(self._client(group_id=None)) as reader:
            reader.assign([partition])
            reader.seek(partition, heard)
            unread, records = Ends(lambda: self._client(group_id=None)), list[Any]()
            unread.ends, quiet = {partition: first}, time.monotonic()
            while not unread.reached(reader, brought=bool(records)):
                records = reader.poll(timeout_ms=int(POLL * 1000)).get(partition, [])
                for record in records:
                    quiet = time.monotonic()
                    if record.offset < first:
                        self.target.recall(_message(record))
                if time.monotonic() - quiet > HISTORY_TIMEOUT:
                    raise Unreachable(f"what was taken before on {partition.topic} cannot be read")
        self._heard[partition] = first


def _append(found: list[Message], more: Iterable[Message]) -> None:
    """Add messages that follow; after a rebalance reading begins anew, and so does what was found."""
    new = list(more)
    if found and new and new[0].offset <= found[-1].offset:
        found.clear()
    found += new


def _message(record: Any) -> Message:
    return Message(record.topic, record.partition, record.offset, record.key, record.value, record.timestamp)
