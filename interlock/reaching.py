"""Clients of kafka-python that leave nothing behind when the broker cannot be reached.

The constructors ask a broker for its version. When that fails, kafka-python 3.0 leaves sockets behind, and a consumer a
thread too: whoever tries for as long as a broker is away would run out of both. So a plain connection is tried first.
"""

import socket
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.cluster import collect_hosts
from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient

PATIENCE = 5.0
"""Seconds in which an address must take a connection."""

Client = TypeVar("Client")


def consumer(**settings: Any) -> KafkaConsumer:
    """Return a consumer; kafka.errors.KafkaError if no broker answers within its `bootstrap_timeout_ms`."""
    return _reach(KafkaConsumer, settings)


def producer(**settings: Any) -> KafkaProducer:
    """Return a producer; kafka.errors.KafkaError if no broker answers within its `bootstrap_timeout_ms`."""
    return _reach(KafkaProducer, settings)


def _reach(kind: Callable[..., Client], settings: dict[str, Any]) -> Client:
    networks: list[KafkaNetClient] = []

    def network(**given: Any) -> KafkaNetClient:
        networks.append(KafkaNetClient(**given))
        return networks[-1]

    if not settings.get("proxy_url"):
        _knock(settings["bootstrap_servers"])
    try:
        return kind(kafka_client=network, **settings)
    except BaseException:
        for one in networks:
            one.close()
        raise


def _knock(bootstrap: str) -> None:
    """Raise KafkaConnectionError unless one of the addresses takes a connection."""
    said = []
    for host, port, _ in collect_hosts(bootstrap):
        try:
            socket.create_connection((host, port), PATIENCE).close()
        except OSError as error:
            said.append(f"{host}:{port}: {error}")
        else:
            return
    raise KafkaConnectionError(f"no broker answers: {'; '.join(said)}")
