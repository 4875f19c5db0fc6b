"""A real broker that lets nobody in who does not say who he is, and nobody do what no ACL grants: TLS, SASL, KRaft's authorizer."""

import argparse
import base64
import datetime as dt
import json
import shlex
import signal
import ssl
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from interlock.commands.broker import _format, free_port
from interlock.commands.broker_jars import jars, java
from interlock.commands.broker_process import Running, on_leash
from interlock.commands.broker_settings import LOG4J, SETTINGS, java_command
from interlock.connection import Connection
from interlock.rights import PARTS
from interlock.streams.reach import answers
from tests.processes import eventually
from tests.servers import needed

PASSWORD = "open-sesame-7f3a"  # noqa: S105 - of a broker that lives for a minute
"""Of every user; no test may find it in what is shown."""

OPERATIONS = {
    "Read": "READ",
    "Write": "WRITE",
    "Create": "CREATE",
    "Alter": "ALTER",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
}
KINDS = ("topic", "group", "transactional-id")
SASL = "org.apache.kafka.common.security"
OAUTH = f"{SASL}.oauthbearer"
BROKER = 'unsecuredLoginStringClaim_sub="broker"'
PROTOCOLS = "SECURE:SASL_SSL,OPEN:SASL_PLAINTEXT,INNER:PLAINTEXT,MUTUAL:SSL,CONTROLLER:PLAINTEXT"
PEM = serialization.Encoding.PEM
VALIDATOR = f"{OAUTH}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"


@dataclass
class Secured:
    """The broker: `tls` and `clear` are where SASL is spoken, `inner` where we may do everything; `ca` vouches for it.

    `mutual` is where parts say who they are by their certificates, `folder / "PART.pem"`, whose keys PASSWORD opens.
    """

    folder: Path
    tls: str
    clear: str
    inner: str
    mutual: str
    ca: Path

    def user(self, part: str, mechanism: str = "SCRAM-SHA-512", prefix: str = "") -> dict[str, str]:
        """Return the settings of a part's user, as INTERLOCK_… variables."""
        told = {
            "bootstrap": self.tls, "prefix": prefix, "security_protocol": "SASL_SSL", "sasl_mechanism": mechanism,
            "sasl_username": f"interlock-{part}", "sasl_password": PASSWORD, "ssl_ca_file": str(self.ca),
        }  # fmt: skip
        return {f"INTERLOCK_{name.upper()}": value for name, value in told.items()}

    def bearer(self, part: str, prefix: str = "") -> dict[str, str]:
        """Return the settings of a part that says by its certificate who it is, as INTERLOCK_… variables."""
        told = {
            "bootstrap": self.mutual, "prefix": prefix, "security_protocol": "SSL", "ssl_ca_file": str(self.ca),
            "ssl_cert_file": str(self.folder / f"{part}.pem"), "ssl_key_password": PASSWORD,
        }  # fmt: skip
        return {f"INTERLOCK_{name.upper()}": value for name, value in told.items()}

    def connection(self, part: str, mechanism: str = "SCRAM-SHA-512", prefix: str = "") -> Connection:
        """Return the same as a value."""
        return Connection.of_environment(self.user(part, mechanism, prefix))

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Open a client that may do everything."""
        client = KafkaAdminClient(bootstrap_servers=self.inner)
        try:
            yield client
        finally:
            client.close()

    def grant(self, commands: Iterable[str]) -> None:
        """Create the ACLs that commands of Kafka would create."""
        with self.admin() as admin:
            admin.create_acls(list(acls(commands)))

    @contextmanager
    def without(self, part: str, operation: str, kind: str, name: str) -> Iterator[None]:
        """Take a right away for a while."""
        one = acl(f"User:interlock-{part}", operation, kind, name)
        with self.admin() as admin:
            filtered = ACLFilter(one.principal, "*", one.operation, one.permission_type, one.resource_pattern)
            admin.delete_acls([filtered])
            try:
                yield
            finally:
                admin.create_acls([one])


def acls(commands: Iterable[str]) -> Iterator[ACL]:
    """Yield the ACLs of `kafka-acls.sh` commands; comments are passed over."""
    parser = argparse.ArgumentParser()
    for option in ("--bootstrap-server", "--command-config", "--allow-principal", "--operation"):
        parser.add_argument(option, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", action="append", default=[])
    for command in commands:
        words = shlex.split(command, comments=True)
        if words:
            assert words[0] == "kafka-acls.sh"
            told = parser.parse_args(words[1:])
            for kind in KINDS:
                for name in getattr(told, kind.replace("-", "_")):
                    yield acl(told.allow_principal, told.operation, kind, name)


def acl(principal: str, operation: str, kind: str, name: str) -> ACL:
    pattern = ResourcePattern(ResourceType[kind.upper().replace("-", "_")], name)
    return ACL(principal, "*", ACLOperation[OPERATIONS[operation]], ACLPermissionType.ALLOW, pattern)


def unsecured_token(subject: str) -> str:
    """Return a token that Kafka's validator for development takes: a JWS that nobody has signed."""
    now = dt.datetime.now(dt.UTC).timestamp()  # noqa: TID251 - what a token's life is counted by
    parts = [{"alg": "none"}, {"sub": subject, "iat": now, "exp": now + 3600}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + "."


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Run it on a folder; it never outlives this process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir()
    command = java_command(needed(java), needed(jars), folder)
    ports = [free_port() for _ in range(5)]
    ca = certify(folder)
    settings = folder / "server.properties"
    settings.write_text(properties(folder, ports))
    (folder / "log4j2.properties").write_text(LOG4J)
    _format(command, settings)
    pid, leash = on_leash([*command, "kafka.Kafka", str(settings)], folder / "kafka.log")
    tls, clear, inner, mutual = (f"127.0.0.1:{port}" for port in ports[:4])
    broker = Secured(folder, tls, clear, inner, mutual, ca)
    process = Running(pid)
    try:
        context = ssl.create_default_context(cafile=ca)
        assert eventually(lambda: answers("127.0.0.1", ports[0], tls=context)), (folder / "kafka.log").read_text()[
            -3000:
        ]
        _users(broker)
        yield broker
    finally:
        process.signal(signal.SIGTERM)
        if not process.ended(30):
            process.signal(signal.SIGKILL)
        leash.communicate(timeout=30)


def properties(folder: Path, ports: list[int]) -> str:
    """Return the broker's settings; its own listeners are trusted, the others ask who one is."""
    plain = " ".join(f'user_interlock-{part}="{PASSWORD}"' for part in PARTS)
    names = ("SECURE", "OPEN", "INNER", "MUTUAL", "CONTROLLER")
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True))
    lines = [line for line in SETTINGS.splitlines() if not line.startswith(("listener", "inter.broker"))]
    for listener in ("secure", "open"):
        lines += [
            f"listener.name.{listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"listener.name.{listener}.plain.sasl.jaas.config={SASL}.plain.PlainLoginModule required {plain};",
            f"listener.name.{listener}.scram-sha-256.sasl.jaas.config={SASL}.scram.ScramLoginModule required;",
            f"listener.name.{listener}.scram-sha-512.sasl.jaas.config={SASL}.scram.ScramLoginModule required;",
            f"listener.name.{listener}.oauthbearer.sasl.jaas.config={OAUTH}.OAuthBearerLoginModule required {BROKER};",
            f"listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class={VALIDATOR}",
        ]
    return "\n".join(
        [
            *lines,
            f"listener.security.protocol.map={PROTOCOLS}",
            "listener.name.mutual.ssl.client.auth=required",
            "listener.name.mutual.ssl.principal.mapping.rules=RULE:^CN=([a-z-]+)$/$1/",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={folder / 'ca.pem'}",
            "inter.broker.listener.name=INNER",
            f"listeners={listeners}",
            f"advertised.listeners={listeners.rpartition(',')[0]}",
            f"controller.quorum.voters=1@127.0.0.1:{ports[4]}",
            f"log.dirs={folder / 'data'}",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={folder / 'broker.pem'}",
            "",
        ]
    )


def _users(broker: Secured) -> None:
    with broker.admin() as admin:
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # a request takes each user once
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(f"interlock-{part}", mechanism, PASSWORD) for part in PARTS]
            )


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    def begun(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        """Return what a certificate begins with."""
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates are of today
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public)
        serial = builder.serial_number(x509.random_serial_number())
        return serial.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=2))

    def own(self) -> bytes:
        """Return its own certificate."""
        top = self.begun(self.name, self.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        top = top.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        return top.sign(self.key, hashes.SHA256()).public_bytes(PEM)

    def issued(self, name: str, password: str | None = None) -> bytes:
        """Return a key and its certificate, for a broker on this machine or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self.begun(named(name), key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            locked = serialization.BestAvailableEncryption(password.encode())
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked)
        return private + builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def authority() -> Authority:
    """Return a new one."""
    return Authority(named(f"test authority {uuid.uuid4()}"), ec.generate_private_key(ec.SECP256R1()))


def certify(folder: Path) -> Path:
    """Make an authority and the certificates of the broker and of all parts; return the authority's file."""
    ours = authority()
    signed = ours.own()
    (folder / "broker.pem").write_bytes(ours.issued("broker") + signed)
    (folder / "ca.pem").write_bytes(signed)
    for part in PARTS:
        (folder / f"{part}.pem").write_bytes(ours.issued(f"interlock-{part}", PASSWORD))
    (folder / "stranger.pem").write_bytes(authority().issued("interlock-worker", PASSWORD))
    return folder / "ca.pem"
