"""Clients of kafka-python that leave nothing behind when the broker cannot be reached.

The constructors ask a broker for its version. When that fails, kafka-python 3.0 leaves sockets behind, and a consumer a
thread too: whoever tries for as long as a broker is away would run out of both. So a plain connection is tried first.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer, codec
from kafka.cluster import collect_hosts
from kafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient

from interlock.connection import Connection
from interlock.errors import UserError
from interlock.oauth import TokenError, TokenProvider, Tokens

CODECS = {"snappy": ("snappy", "python-snappy"), "lz4": ("lz4", "lz4"), "zstd": ("zstd", "zstandard")}
"""What kafka-python calls a compression, and the package that it needs for it."""

PATIENCE = 5.0
"""Seconds in which an address must take a connection."""

Client = TypeVar("Client")


def consumer(**settings: Any) -> KafkaConsumer:
    """Return a consumer; kafka.errors.KafkaError if no broker answers within its `bootstrap_timeout_ms`."""
    return reach(KafkaConsumer, settings)


def producer(**settings: Any) -> KafkaProducer:
    """Return a producer; kafka.errors.KafkaError if no broker answers within its `bootstrap_timeout_ms`."""
    return reach(KafkaProducer, settings)


def settings_of(connection: Connection) -> dict[str, Any]:
    """Return a connection as kafka-python takes it.

    Raises:
        UserError: something is wrong with it, or a file that it names cannot be read; a line each.
    """
    connection.checked()
    settings: dict[str, Any] = {
        "bootstrap_servers": connection.addresses,
        "security_protocol": connection.security_protocol,
        "request_timeout_ms": int(connection.request_timeout * 1000),
    }
    if connection.uses_tls:
        settings["ssl_context"] = connection.ssl_context()
    if connection.uses_sasl:
        settings["sasl_mechanism"] = connection.sasl_mechanism
        if connection.sasl_mechanism == "OAUTHBEARER":
            settings["sasl_oauth_token_provider"] = TokenProvider(Tokens(connection))
        else:
            settings["sasl_plain_username"] = connection.sasl_username
            settings["sasl_plain_password"] = connection.secret("sasl_password")
    return settings


def compression_of(connection: Connection) -> dict[str, Any]:
    """Return how kafka-python's producer compresses.

    Raises:
        UserError: the codec is not installed.
    """
    name = connection.compression
    if name in CODECS and not getattr(codec, f"has_{CODECS[name][0]}")():
        raise UserError(
            f"compression: found {name}, whose codec is missing; expected none, gzip, or `pip install {CODECS[name][1]}`"
        )
    return {} if name == "none" else {"compression_type": name}


def refused(connection: Connection, error: Exception | str) -> str:
    """Return one line about a broker that does not let us in."""
    said = " ".join(str(error).split())
    who = connection.sasl_username or connection.oauth_client_id or "a token"
    how = f"{connection.sasl_mechanism or 'no SASL'} over {connection.security_protocol}"
    return f"Kafka at {connection.bootstrap} does not let {who} in ({how}): {said}"


def reach(kind: Callable[..., Client], settings: Mapping[str, Any]) -> Client:
    """Return a client; kafka.errors.KafkaError if no broker answers within its `bootstrap_timeout_ms`, or lets us in."""
    networks, said = list[KafkaNetClient](), list[Exception]()

    def network(**given: Any) -> KafkaNetClient:
        networks.append(_impatient(KafkaNetClient(**given), said))
        return networks[-1]

    if not settings.get("proxy_url"):
        _knock(settings["bootstrap_servers"])
    try:
        client = kind(kafka_client=network, **settings)
    except BaseException as error:
        for one in networks:
            one.close()
        if said and isinstance(error, KafkaTimeoutError):
            raise said[0] from None
        raise
    for one in networks:
        del one._manager.get_connection  # noqa: SLF001 - it is patient again
    return client


def _impatient(network: KafkaNetClient, said: list[Exception]) -> KafkaNetClient:
    """Return a network that gives up when a broker does not let us in; kafka-python would try until its time is up, and forget why."""
    manager = network._manager  # noqa: SLF001 - it has no public way
    connect = manager.get_connection

    def get_connection(*arguments: Any, **options: Any) -> Any:
        if said:
            raise said[0]
        connection = connect(*arguments, **options)
        connection.init_future.add_errback(lambda error: said.extend(_refusal(error)))
        return connection

    manager.get_connection = get_connection
    return network


def _refusal(error: Exception) -> Iterator[Exception]:
    """Yield what is no use trying again at once."""
    if isinstance(error, TokenError):
        yield KafkaConnectionError(str(error))
    elif isinstance(error, SaslAuthenticationFailedError | UnsupportedSaslMechanismError):
        yield error


def _knock(bootstrap: str | list[str]) -> None:
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
