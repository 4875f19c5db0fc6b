"""Is anyone there? Asked of an address before a client is made, whose own attempts leave threads and sockets behind."""

import socket
import ssl
import struct
from contextlib import ExitStack

API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""A request that every Kafka answers: its size, what is asked (ApiVersions), in version 0, number 1, by nobody."""


def connects(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something listens at an address; `timeout` is in seconds."""
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True


def answers(host: str, port: int, timeout: float = 2.0, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a Kafka answers at an address, over TLS if a context says how; `timeout` is in seconds."""
    return silence(host, port, timeout, tls) is None


def silence(host: str, port: int, timeout: float = 2.0, tls: ssl.SSLContext | None = None) -> str | None:
    """Return why no Kafka answers at an address, None if one does; `timeout` is in seconds."""
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout))
            if tls is not None:
                connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=host))
            connection.sendall(API_VERSIONS)
            answer = connection.makefile("rb").read(8)  # its size, and the number of our request
    except OSError as error:
        return f"{host}:{port}: {error}"
    return (
        None
        if answer[4:] == struct.pack(">i", 1)
        else f"{host}:{port} is no Kafka, or one that speaks {'no TLS' if tls else 'TLS'}"
    )
