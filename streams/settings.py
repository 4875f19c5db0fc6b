"""The settings of all commands that speak to Kafka: what each means and what it must be. Typed and strict, as policies are."""

from dataclasses import fields
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from interlock.connection import Compression, Connection, Isolation, Mechanism, Protocol, read_secret
from interlock.policies.model_base import Part

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, BeforeValidator(lambda value: SecretStr(value) if isinstance(value, str) else value)]


def _address(value: object) -> object:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not host or not port.isascii() or not port.isdigit() or int(port) >= 1 << 16:
        raise ValueError("host:port")
    return value


class Settings(Part):
    """One field per setting; a setting NAME is `NAME:` in a file, `INTERLOCK_NAME` in the environment, `--set NAME=…`."""

    bootstrap: str = Field("", description="Brokers, `host:port`, several by commas.")
    prefix: str = Field("", description="Stands before every topic's name.")
    security_protocol: Protocol = Field("PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.")
    sasl_mechanism: Mechanism | None = Field(
        None, description="`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`."
    )
    sasl_username: Text | None = Field(None, description="User of PLAIN and SCRAM.")
    sasl_password: Secret | None = Field(None, description="Its password.")
    sasl_password_file: Text | None = Field(None, description="A file with the password.")
    oauth_token_url: Text | None = Field(
        None, description="OAUTHBEARER: where a token is asked for by client credentials; https."
    )
    oauth_client_id: Text | None = Field(None, description="The client's name there.")
    oauth_client_secret: Secret | None = Field(None, description="The client's secret.")
    oauth_client_secret_file: Text | None = Field(None, description="A file with the client's secret.")
    oauth_scope: Text | None = Field(None, description="The scope that is asked for.")
    oauth_token_file: Text | None = Field(
        None, description="OAUTHBEARER: a file with the token, read anew for each connection; instead of the URL."
    )
    ssl_ca_file: Text | None = Field(
        None, description="Authorities that may vouch for brokers (PEM); the system's if not set."
    )
    ssl_cert_file: Text | None = Field(None, description="Our own certificate (PEM), for brokers that ask for one.")
    ssl_key_file: Text | None = Field(None, description="Its key (PEM), if it is not in the same file.")
    ssl_key_password: Secret | None = Field(None, description="The key's password.")
    ssl_key_password_file: Text | None = Field(None, description="A file with the key's password.")
    ssl_check_hostname: bool = Field(default=True, description="Whether a broker's certificate must be of its name.")
    compression: Compression = Field("none", description="Of what is sent: `none`, `gzip`, `snappy`, `lz4` or `zstd`.")
    isolation_level: Isolation = Field(
        "read_committed",
        description="Whether events of open and aborted transactions are left out; or `read_uncommitted`.",
    )
    request_timeout: Annotated[float, Field(ge=1, le=500)] = Field(
        30.0, description="Seconds in which a broker must answer."
    )
    group: Text | None = Field(None, description="Worker: its consumer group; `interlock-MODEL` if not set.")
    session_timeout: Seconds = Field(10.0, description="Worker: seconds of silence after which others take its place.")
    checkpoint_every: Seconds = Field(
        1.0, description="Worker: seconds between checkpoints, which a kill makes it read again."
    )
    checkpoint_bytes: Annotated[int, Field(ge=1)] = Field(
        16 << 20, description="Worker: bytes of new events after which a checkpoint is due before its time."
    )
    state_dir: Text | None = Field(
        None,
        description="Worker: a folder of its own, on a local disk, for pending events that `memory` has no room for.",
    )
    memory: Annotated[int, Field(ge=1)] = Field(
        512, description="Worker: MiB of pending events in memory, where there is a `state_dir`; indexes come on top."
    )
    idle_after: Seconds = Field(
        60.0, description="Worker: seconds of silence after which a source partition is waited for no longer."
    )
    stall_after: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60.0,
        description="Worker: seconds of standing still with records to read that end it with exit code 75; 0: never.",
    )
    listen: Annotated[str, BeforeValidator(_address)] = Field(
        "127.0.0.1:6066",
        description="Worker: `host:port` of `/health` and `/metrics`; port 0 takes any free one.",
    )
    allow_create_time: bool = Field(
        default=False,
        description="Worker: take topics whose producers set the append time; a wrong clock is then believed.",
    )
    accept_unsigned_commands: bool = Field(
        default=False,
        description="Worker: obey releases on `commands`, and take up policies, although signatures are not checked yet.",
    )
    audit_secret: Secret | None = Field(
        None,
        description="Worker: keys the choice of audits; the same for all workers, and for a replay that is to be equal.",
    )
    audit_secret_file: Text | None = Field(None, description="Worker: a file with the audit secret.")

    def secret(self, name: str) -> bytes:
        """Return a secret, from its file if one is named; empty if there is none. Raises UserError as `read_secret`."""
        file, value = getattr(self, f"{name}_file"), getattr(self, name)
        if file is not None:
            return read_secret(f"{name}_file", file).encode()
        return b"" if value is None else str(_plain(value)).encode()

    @property
    def connection(self) -> Connection:
        """How Kafka is reached; it is not checked."""
        told: dict[str, Any] = {one.name: _plain(getattr(self, one.name)) for one in fields(Connection)}
        return Connection(**told)


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


SECRETS = tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))
"""Settings that are never shown, nor taken from flags or settings files."""


def table() -> list[str]:
    """Return the settings as the rows of a table in Markdown."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, one in Settings.model_fields.items():
        default = str(one.default).lower() if isinstance(one.default, bool) else one.default
        shown = "" if default in {None, ""} else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        rows.append(f"| `{name}` | {shown} | {one.description} |")
    return rows
