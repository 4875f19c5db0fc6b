"""A connection as aiokafka takes it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, codec
from aiokafka.abc import AbstractTokenProvider

from interlock.connection import Connection
from interlock.errors import UserError
from interlock.oauth import Tokens

LAST_WORDS = 5.0
"""Seconds that a consumer may take to end."""

log = logging.getLogger("interlock.worker")


class Clients:
    """What consumers and producers of a worker are made with; all of them share one source of tokens."""

    def __init__(self, connection: Connection) -> None:
        """Read the files that it names.

        Raises:
            UserError: one cannot be read, or the codec of the compression is not installed.
        """
        self.prefix = connection.prefix
        common = {
            "bootstrap_servers": connection.addresses,
            "request_timeout_ms": int(connection.request_timeout * 1000),
            **_security(connection),
        }
        self.consumer: Mapping[str, Any] = {**common, "isolation_level": connection.isolation_level}
        self.producer: Mapping[str, Any] = {**common, **_compression(connection)}

    async def reach(self) -> None:
        """See that a broker answers.

        Raises:
            KafkaConnectionError: none does.
        """
        client = AIOKafkaProducer(**self.producer)
        try:
            await client.start()
        finally:
            await client.stop()


@asynccontextmanager
async def reading(connect: Mapping[str, Any]) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer of no group, started; `connect` is aiokafka's.

    Raises:
        KafkaError: no broker answers.
    """
    consumer = AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="earliest", **connect)
    try:
        await consumer.start()
        yield consumer
    finally:
        await _end(consumer)


async def _end(consumer: AIOKafkaConsumer) -> None:
    """Let a consumer go: when a broker is away, its `stop` ends as a cancelled task does, and its caller would, too."""
    ends = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({ends}, timeout=LAST_WORDS)
    if not ends.done():
        ends.cancel()
    elif not ends.cancelled() and (error := ends.exception()) is not None:
        log.info("closing a consumer: %r", error)


def _security(connection: Connection) -> dict[str, Any]:
    found: dict[str, Any] = {"security_protocol": connection.security_protocol}
    if connection.uses_tls:
        found["ssl_context"] = connection.ssl_context()
    if connection.uses_sasl:
        found["sasl_mechanism"] = connection.sasl_mechanism
        if connection.sasl_mechanism == "OAUTHBEARER":
            found["sasl_oauth_token_provider"] = _Provider(Tokens(connection))
        else:
            found["sasl_plain_username"] = connection.sasl_username
            found["sasl_plain_password"] = connection.secret("sasl_password")
    return found


def _compression(connection: Connection) -> dict[str, Any]:
    name = connection.compression
    if name == "none":
        return {}
    if not getattr(codec, f"has_{name}")():
        raise UserError(
            f"compression: found {name}, whose codec is missing; expected none, gzip, or `pip install cramjam`"
        )
    return {"compression_type": name}


class _Provider(AbstractTokenProvider):  # type: ignore[misc] # aiokafka's types are not checked
    """Tokens as aiokafka asks for them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def token(self) -> str:
        """Return a token, without keeping the loop from anything else."""
        return await asyncio.to_thread(self._tokens.token)
