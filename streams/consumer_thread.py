"""The thread that holds the aiokafka consumer, as Faust's drivers run it; like the transport it reaches into both."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from interlock.streams.latest import Latest

FETCH_WAIT_MS = 50
"""How long the broker waits for more; Faust's own 1500 ms would delay chunks beside a silent topic by as much."""

LAST_WORDS = 5.0
"""Seconds that the consumer's thread may take to end."""

log = logging.getLogger("interlock.transport")


class Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Holds the aiokafka consumer, built our way."""

    def _create_worker_consumer(self, _: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._latest = Latest()
        self._assignor = self.app.assignor  # co-partitioned: the topics of a shard stay together; Faust's own is not
        return aiokafka.AIOKafkaConsumer(
            **{name: value for name, value in self.app.interlock_consumer.items() if name != "request_timeout_ms"},
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # "none" would raise before we seek; _bridges sees what retention took
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_rebalance_timeout * 1000)
            + 10_000,  # who joins is answered after all have
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:
        """Say nothing: what it crashed of is raised by whoever runs the app."""

    async def ended(self) -> None:
        """Wait until the thread is gone, for a while: it must not outlive the loop that it reports to."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, LAST_WORDS)

    def end(self, tp: TP) -> int | None:
        """Return up to where a partition can be read, as the broker said last; None before it did."""
        consumer, name = self._ensure_consumer(), aiokafka.TopicPartition(*tp)
        if name not in consumer.assignment():
            return None
        is_committed = self.app.interlock_consumer.get("isolation_level") == "read_committed"
        return self._latest.end(name, consumer.last_stable_offset(name) if is_committed else consumer.highwater(name))

    async def look(self) -> None:
        """Ask the broker where those partitions end that are not fetched."""
        await self.call_thread(self._latest.look, self._ensure_consumer())

    def positions(self) -> dict[TP, int]:
        """Return up to where each assigned partition was fetched, transactions' markers included."""
        subscription = self._ensure_consumer()._subscription.subscription  # noqa: SLF001 - `position` would wait
        assignment = None if subscription is None else subscription.assignment
        states = {} if assignment is None else {tp: assignment.state_value(tp) for tp in assignment.tps}
        return {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit for lag monitors; what the broker refuses now is tried again at the next interval."""
        ours = {tp: aiokafka.structs.OffsetAndMetadata(n, "") for tp, n in offsets.items() if tp in self.assignment()}
        try:
            await self._ensure_consumer().commit({aiokafka.TopicPartition(*tp): at for tp, at in ours.items()})
        except (KafkaError, OSError) as error:
            log.info("the broker takes no commit: %s", error)
            return False
        return True
