"""A producer on a thread of its own: sends what it is given, at its pace, whatever happens to the brokers meanwhile."""

import queue
import threading
from collections.abc import Sequence

from kafka import KafkaProducer

from benchmarks.chaos.stream import HEADERS, Packet

PATIENCE = 300_000
"""Milliseconds within which a message must be acknowledged."""


class Sender:
    """Sends packets in order, acknowledged by all replicas in sync, each once (idempotence)."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        """Start."""
        self._prefix = prefix
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            delivery_timeout_ms=PATIENCE,
            max_block_ms=PATIENCE,
        )
        self._waiting: queue.Queue[tuple[Sequence[Packet], float] | None] = queue.Queue()
        self._go_on = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, packets: Sequence[Packet], seconds: float) -> None:
        """Send packets in the background, spread over some seconds."""
        self._waiting.put((packets, seconds))

    def until_sent(self) -> None:
        """Wait until all was acknowledged.

        Raises:
            RuntimeError: something was not.
        """
        self._waiting.join()
        if self.error is not None:
            raise RuntimeError(f"the producer: {self.error!r}")

    def _run(self) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                if self.error is None:
                    self._send(*taken)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                self.error = error
            finally:
                self._waiting.task_done()

    def _send(self, packets: Sequence[Packet], seconds: float) -> None:
        sent = []
        for packet in packets:
            sent.append(
                self._producer.send(
                    self._prefix + packet.topic, packet.value, partition=packet.partition, headers=HEADERS
                )
            )
            self._go_on.wait(seconds / len(packets))
        self._producer.flush()
        for one in sent:
            one.get(timeout=PATIENCE / 1000)

    def close(self) -> None:
        """End the thread and the producer; what waits is not sent."""
        self._go_on.set()
        self._waiting.put(None)
        self._thread.join(timeout=30)
        self._producer.close(timeout=5)
