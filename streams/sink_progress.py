"""How far a sink has come: what its health page tells, noted as it goes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from interlock.streams.patience import Patience


@dataclass
class Progress:
    """Noted by the loop of a sink, read by whoever asks; `services` says of each by name how often it was away."""

    services: Mapping[str, Patience]
    lags: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Messages of each partition that are not delivered yet, as last seen."""
    last_sent: float | None = None
    """When the target last took something, in seconds since 1970 UTC."""

    @property
    def failing(self) -> str | None:
        """What keeps it from delivering, at the moment."""
        return next((service.failing for service in self.services.values() if service.failing), None)

    def gathered(self, consumer: KafkaConsumer, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Note what is still to be delivered: what is in hand, and what the broker has behind it."""
        lags: dict[TopicPartition, int] = {}
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is not None:
                some = found.get(partition, ())
                lags[partition] = len(some) + (max(0, end - some[-1].offset - 1) if some else 0)
        self.lags = lags

    def delivered(self, partition: TopicPartition, count: int) -> None:
        """Note that the target took messages."""
        self.last_sent = time.time()  # noqa: TID251 - for people who look at it
        self.lags = {**self.lags, partition: max(0, self.lags.get(partition, 0) - count)}
