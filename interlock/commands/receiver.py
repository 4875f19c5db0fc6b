"""A receiver of pages on loopback that speaks PagerDuty's Events API over TLS: for tests, drills and the demo.

It answers as it is told: a status, or nothing. What it has accepted can be read, in order.
"""

import ipaddress
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from interlock.errors import UserError

Answer = int | Literal["hang", "drop"]
"""A status; `hang`: no answer while the receiver lives; `drop`: the connection is closed without one."""

VALID = timedelta(days=30)
PATH = "/v2/enqueue"
ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it came, and what was answered."""

    body: dict[str, Any]
    answer: Answer


class Receiver:
    """Listens at `url` with a certificate of its own, `ca`; use it as a context manager."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        """Write the certificate into a folder and listen; port 0 takes a free one.

        Raises:
            UserError: the package for certificates is missing, or the port is taken.
        """
        self.ca = folder / "receiver-ca.pem"
        self.port = port
        self.received: list[Received] = []
        self._answers: deque[Answer] = deque()
        self._news, self._over = threading.Condition(), threading.Event()
        self._context = _context(self.ca)
        self.open()

    def open(self) -> None:
        """Listen, again after `close`: on the same port, with the same certificate."""
        try:
            self._server = _Server(("127.0.0.1", self.port), _Handler)
        except OSError as error:
            raise UserError(f"port {self.port}: {error.strerror}") from error
        self._over.clear()
        self.port, self._server.receiver = int(self._server.server_port), self
        # Without a handshake at accept, which one mute client could make all others wait for.
        listening = self._server.socket
        self._server.socket = self._context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; what hangs is let go."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What `--base-url` takes."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The events that were taken, in order."""
        return [one.body for one in self.received if one.answer == ACCEPTED]

    def script(self, answers: Iterable[Answer]) -> None:
        """Say what the next events are answered; later ones are accepted."""
        self._answers.extend(answers)

    def wait(self, enough: Callable[["Receiver"], bool], seconds: float = 30.0) -> bool:
        """Wait until something holds of what was received; return whether it does."""
        deadline = time.monotonic() + seconds
        with self._news:
            return self._news.wait_for(lambda: enough(self), max(0.0, deadline - time.monotonic()))

    def take(self, body: dict[str, Any]) -> Answer:
        """Note an event and return what it is to be answered."""
        with self._news:
            answer = self._answers.popleft() if self._answers else ACCEPTED
            self.received.append(Received(body, answer))
            self._news.notify_all()
        return answer

    def hang(self) -> None:
        """Return when the receiver closes."""
        self._over.wait()


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what it is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Answer one event."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if self.path != PATH or not isinstance(body, dict):
            self._say(404 if self.path != PATH else 400, {"status": "invalid event"})
            return
        answer = self.server.receiver.take(body)
        if answer == "hang":
            self.server.receiver.hang()
        if isinstance(answer, str):
            self.close_connection = True
            return
        told = "success" if answer == ACCEPTED else "invalid event"
        self._say(
            answer, {"status": told, "message": HTTPStatus(answer).phrase, "dedup_key": body.get("dedup_key", "")}
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: what came is in `received`."""

    def _say(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def _context(ca: Path) -> ssl.SSLContext:
    """Return a TLS context with a new self-signed certificate; its key is not kept."""
    certificate, key = _certificate()
    ca.parent.mkdir(parents=True, exist_ok=True)
    secret = ca.with_suffix(".key")
    secret.touch(mode=0o600)
    try:
        secret.write_bytes(key)
        ca.write_bytes(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca, secret)
    finally:
        secret.unlink()
    return context


def _certificate() -> tuple[bytes, bytes]:
    """Return a certificate for 127.0.0.1 and its key, as PEM."""
    try:
        from cryptography import x509  # noqa: PLC0415 - optional dependency
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.x509.oid import NameOID  # noqa: PLC0415
    except ImportError as error:
        raise UserError("a receiver needs: pip install cryptography") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "interlock receiver")])
    now = datetime.now(UTC)  # noqa: TID251 - validity is by wall clock
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + VALID,
    )
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), secret
