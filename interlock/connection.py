"""How to reach a Kafka: its address, the prefix of our topics, TLS, SASL, compression. Light: the SDK and all commands share it.

A `Connection` is plain values. `interlock.oauth` and the drivers make of it what their client takes.
"""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from interlock.errors import UserError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
Isolation = Literal["read_committed", "read_uncommitted"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "security_protocol": get_args(Protocol),
    "sasl_mechanism": get_args(Mechanism),
    "compression": get_args(Compression),
    "isolation_level": get_args(Isolation),
}
SECRETS = ("sasl_password", "oauth_client_secret", "ssl_key_password")
"""Each may stand in a file instead, which `…_file` names."""

VARIABLE = "INTERLOCK_"
"""A setting's name in capitals after it is its variable."""

ADDRESSES = "host:port, several by commas"
_LEGAL = re.compile(r"[A-Za-z0-9._-]{0,200}")
_TOKEN_URL = re.compile(r"https://[^/@\s]+(/\S*)?|http://(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(/\S*)?")

Problem = tuple[str, str]
"""A setting's name, and what was found and expected of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where Kafka is and how it is spoken to; what each field means is in docs/worker.md. Secrets are never shown."""

    bootstrap: str = ""
    prefix: str = ""
    security_protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: Mechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    sasl_password_file: str | None = None
    oauth_token_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = field(default=None, repr=False)
    oauth_client_secret_file: str | None = None
    oauth_scope: str | None = None
    oauth_token_file: str | None = None
    ssl_ca_file: str | None = None
    ssl_cert_file: str | None = None
    ssl_key_file: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    ssl_key_password_file: str | None = None
    ssl_check_hostname: bool = True
    compression: Compression = "none"
    isolation_level: Isolation = "read_committed"
    request_timeout: float = 30.0

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ, **given: str | None) -> Self:
        """Return what INTERLOCK_… variables say, and in place of it what is given and not None.

        Raises:
            UserError: a variable is not what it must be; the connection is not checked otherwise.
        """
        values = {one.name: environment.get(VARIABLE + one.name.upper(), "") for one in fields(cls)}
        told: dict[str, Any] = {name: _typed(name, text) for name, text in values.items() if text}
        return cls(**told | {name: value for name, value in given.items() if value is not None})

    @property
    def servers(self) -> list[tuple[str, int]]:
        """The hosts and ports of `bootstrap`; those that are none are left out."""
        pairs = [one.strip().rpartition(":") for one in self.bootstrap.split(",")]
        return [
            (host.removeprefix("[").removesuffix("]"), int(port)) for host, _, port in pairs if _is_port(host, port)
        ]

    @property
    def addresses(self) -> list[str]:
        """The same as clients of Kafka take them."""
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers]

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether we must say who we are."""
        return self.security_protocol.startswith("SASL")

    def checked(self) -> Self:
        """Return it.

        Raises:
            UserError: something is wrong with it, a line for each.
        """
        if found := list(problems(self)):
            raise UserError("\n".join(f"{name}: {said}" for name, said in found))
        return self

    def secret(self, name: str) -> str | None:
        """Return a secret, from its file if one is named; None if there is none.

        Raises:
            UserError: the file cannot be read, or is empty.
        """
        file: str | None = getattr(self, f"{name}_file")
        value: str | None = getattr(self, name)
        return value if file is None else read_secret(f"{name}_file", file)

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how TLS is spoken; None without.

        Raises:
            UserError: a file cannot be read, or holds something else.
        """
        if not self.uses_tls:
            return None
        with _reading("ssl_ca_file", self.ssl_ca_file or "the system's", "certificates of authorities (PEM)"):
            context = ssl.create_default_context(cafile=self.ssl_ca_file)  # None: the system's
        context.check_hostname = self.ssl_check_hostname
        if self.ssl_cert_file is not None:
            with _reading("ssl_cert_file", self.ssl_cert_file, "a certificate and its key (PEM)"):
                context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file, self.secret("ssl_key_password") or "")
        return context


def plain(where: "str | Connection") -> Connection:
    """Return a connection as it is, and an address as one without security."""
    return Connection(bootstrap=where) if isinstance(where, str) else where


def problems(connection: Connection) -> Iterator[Problem]:
    """Yield what is wrong with a connection, by setting."""
    yield from _address(connection)
    for name, choices in CHOICES.items():
        if (value := getattr(connection, name)) is not None and value not in choices:
            yield name, f"found {value!r}; expected {_one_of(choices)}"
    for name in SECRETS:
        if getattr(connection, name) is not None and getattr(connection, f"{name}_file") is not None:
            yield f"{name}_file", f"found beside {name}; expected one of the two"
    yield from _sasl(connection)
    yield from _tls(connection)


def _address(connection: Connection) -> Iterator[Problem]:
    bootstrap = connection.bootstrap
    if not bootstrap:
        yield "bootstrap", f"found nothing; expected {ADDRESSES}"
    elif len(connection.servers) != bootstrap.count(",") + 1:
        yield "bootstrap", f"found {bootstrap!r}; expected {ADDRESSES}"
    if not _LEGAL.fullmatch(connection.prefix):
        yield "prefix", f"found {connection.prefix!r}; expected up to 200 of A-Z a-z 0-9 . _ -"


def _sasl(connection: Connection) -> Iterator[Problem]:
    mechanism = connection.sasl_mechanism
    if not connection.uses_sasl:
        if mechanism is not None:
            protocol = connection.security_protocol
            yield "security_protocol", f"found {protocol} beside a sasl_mechanism; expected SASL_SSL or SASL_PLAINTEXT"
    elif mechanism is None:
        yield "sasl_mechanism", f"found nothing; expected {_one_of(CHOICES['sasl_mechanism'])}"
    elif mechanism == "OAUTHBEARER":
        yield from _oauth(connection)
    else:
        if not connection.sasl_username:
            yield "sasl_username", f"found nothing; {mechanism} expects one"
        if connection.sasl_password is None and connection.sasl_password_file is None:
            yield "sasl_password", f"found nothing; {mechanism} expects it, or sasl_password_file"


def _oauth(connection: Connection) -> Iterator[Problem]:
    url, file = connection.oauth_token_url, connection.oauth_token_file
    if (url is None) == (file is None):
        yield "oauth_token_url", f"found {_both(url)}; OAUTHBEARER expects either it or oauth_token_file"
    elif url is not None:
        if not _TOKEN_URL.fullmatch(url):
            yield (
                "oauth_token_url",
                "expected an address that starts with https:// (http:// to this machine only), without a user",
            )
        if not connection.oauth_client_id:
            yield "oauth_client_id", "found nothing; oauth_token_url expects it"
        if connection.oauth_client_secret is None and connection.oauth_client_secret_file is None:
            yield "oauth_client_secret", "found nothing; oauth_token_url expects it, or oauth_client_secret_file"


def _tls(connection: Connection) -> Iterator[Problem]:
    for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        if getattr(connection, name) is not None and not connection.uses_tls:
            yield "security_protocol", f"found {connection.security_protocol} beside {name}; expected SSL or SASL_SSL"
    if connection.ssl_key_file is not None and connection.ssl_cert_file is None:
        yield "ssl_cert_file", "found nothing; ssl_key_file expects it"


def read_secret(name: str, file: str) -> str:
    """Return what a secret's file holds, without the line end; `name` is the setting's, for messages.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    with _reading(name, file, "a secret (UTF-8)"):
        text = Path(file).read_text("utf-8").strip()
    if not text:
        raise UserError(f"{name}: {file} is empty; expected a secret")
    return text


@contextmanager
def _reading(name: str, file: str, expected: str) -> Iterator[None]:
    """Turn what goes wrong with a setting's file into one line that shows nothing of it."""
    try:
        yield
    except (ssl.SSLError, UnicodeDecodeError):
        raise UserError(f"{name}: {file} holds something else; expected {expected}") from None
    except OSError as error:
        raise UserError(f"{name}: {file}: {error.strerror or error}; expected {expected}") from None


def _typed(name: str, text: str) -> str | bool | float:
    if name == "ssl_check_hostname":
        if text not in {"true", "false"}:
            raise UserError(f"{VARIABLE}{name.upper()}: found {text!r}; expected true or false")
        return text == "true"
    if name == "request_timeout":
        try:
            return float(text)
        except ValueError:
            raise UserError(f"{VARIABLE}{name.upper()}: found {text!r}; expected seconds") from None
    return text


def _is_port(host: str, port: str) -> bool:
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def _one_of(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def _both(url: str | None) -> str:
    return "none of them" if url is None else "both"
