"""A real Apache Kafka on this machine, from pip packages alone: one node, loopback only, in a folder."""

import base64
import random
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from interlock.commands.broker_jars import jars, java
from interlock.commands.broker_process import Running, find, on_leash, set_free
from interlock.commands.broker_settings import java_command, read_port, write_settings
from interlock.errors import UserError
from interlock.streams.reach import answers

PATIENCE = 120.0
"""Seconds in which a broker must answer after its start; 3 are usual."""

GRACE = 30.0
"""Seconds that a broker has to stop before it is killed."""

PORT_ATTEMPTS = 3


class Broker:
    """A broker in a folder, listening at `bootstrap`; as a context manager it never outlives this process."""

    def __init__(self, folder: Path, port: int, process: Running, leash: subprocess.Popen[str] | None) -> None:
        """Take over a running one; `Broker.start` and `Broker.find` make them."""
        self.folder = folder
        self.port = port
        self._process = process
        self._leash = leash
        self._is_detached = leash is None

    @classmethod
    def start(cls, folder: Path, port: int | None = None, *, detached: bool = False) -> Self:
        """Start a broker on the data of a folder, which is made if need be, and wait until it answers.

        It ends with this process, unless it is `detached`. Without a port, a free one is taken.

        Raises:
            UserError: One runs there already, the port is taken, a package is missing, or it died: the last lines of its
                log say why.
            Unreachable: Kafka could not be downloaded.
        """
        folder = folder.absolute()
        if (there := cls.find(folder)) is not None:
            raise UserError(f"kafka: a broker runs in {folder} already, at {there.bootstrap} (pid {there.pid})")
        if port is not None and not _is_free(port):
            raise UserError(f"kafka: port {port} is taken; name another, or none for one that is free")
        for _ in range(PORT_ATTEMPTS - 1):
            try:
                return cls._launch(folder, port or free_port(), detached=detached)
            except UserError as error:
                if port is not None or "Address already in use" not in str(error):
                    raise
        return cls._launch(folder, port or free_port(), detached=detached)

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """Return the broker that runs in a folder, whoever started it; None if none does."""
        folder = folder.absolute()
        process, port = find(folder), read_port(folder)
        return None if process is None or port is None else cls(folder, port, process, None)

    @classmethod
    def _launch(cls, folder: Path, port: int, *, detached: bool) -> Self:
        broker = cls(folder, port, *_spawn(folder, port, detached=detached))
        broker._wait_until_it_answers()
        return broker

    @property
    def bootstrap(self) -> str:
        """Its address, as clients take it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return not self._process.ended(0)

    def stop(self) -> None:
        """End it and wait: asked first, killed if it does not listen. Nothing if it has ended."""
        self._process.signal(signal.SIGTERM)
        if self._process.ended(GRACE):
            self._clear()
        else:
            self.kill()

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would, and wait until it is gone."""
        self._process.signal(signal.SIGKILL)
        self._process.ended(GRACE)
        self._clear()

    def restart(self) -> None:
        """Start it on the same port and data, after stopping it if it runs; `pid` changes."""
        self.stop()
        self._process, self._leash = _spawn(self.folder, self.port, detached=self._is_detached)
        self._wait_until_it_answers()

    def _clear(self) -> None:
        """Forget what has ended: its pid file, unless another broker has come since, and its leash."""
        noted = self.folder / "pid"
        if noted.exists() and noted.read_text("utf-8").strip() == str(self.pid):
            noted.unlink()
        if self._leash is not None:
            self._leash.communicate(timeout=GRACE)
            self._leash = None

    def _wait_until_it_answers(self) -> None:
        """Wait for it; if it does not come up, or nobody wants to wait, nothing of it stays."""
        deadline = time.monotonic() + PATIENCE
        try:
            while not answers("127.0.0.1", self.port):
                self._check_that_it_comes(deadline)
        except BaseException:
            self.kill()
            raise

    def _check_that_it_comes(self, deadline: float) -> None:
        if self._process.ended(0.05):
            raise UserError(f"kafka: the broker ended before it answered; {_last_lines(self.folder)}")
        if time.monotonic() > deadline:
            raise UserError(f"kafka: no answer in {PATIENCE:.0f} s; {_last_lines(self.folder)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """Return a port of loopback that nothing holds, below those that the system lends to outgoing connections.

    Those would be taken while a killed broker is away; a client that calls at one of them may even reach itself.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("utf-8").split()[0])
    except OSError:
        first = 32768
    choice = random.SystemRandom()
    candidates = (choice.randrange(10_000, first) for _ in range(1000) if first > 10_000)  # noqa: PLR2004
    return next((port for port in candidates if _is_free(port)), 0) or _lent_port()


def _is_free(port: int) -> bool:
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not hold it
        try:
            asked.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _lent_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _spawn(folder: Path, port: int, *, detached: bool) -> tuple[Running, subprocess.Popen[str] | None]:
    """Start a broker's process, and note its id in the folder; return it with its leash, if it is on one."""
    command = _prepare(folder, port)
    log = folder / "kafka.log"
    pid, leash = (set_free(command, log), None) if detached else on_leash(command, log)
    (folder / "pid").write_text(f"{pid}\n", "utf-8")
    try:
        return Running(pid), leash
    except ProcessLookupError:
        raise UserError(f"kafka: the broker ended at once; {_last_lines(folder)}") from None


def _prepare(folder: Path, port: int) -> list[str]:
    """Write the settings, format the data if they are new, and return the broker's command."""
    if "," in str(folder):
        raise UserError(f"kafka: {folder}: has a comma in its name, at which Kafka would cut it; name another folder")
    command = java_command(java(), jars(), folder)
    try:
        settings = write_settings(folder, port, free_port())
        if (log := folder / "kafka.log").exists():
            log.replace(folder / "kafka.log.1")
    except OSError as error:
        raise UserError(f"kafka: {folder}: cannot be written: {error.strerror}") from error
    if not (folder / "data" / "meta.properties").exists():
        _format(command, settings)
    return [*command, "kafka.Kafka", str(settings)]


def _format(command: list[str], settings: Path) -> None:
    """Make the folder of data, with a cluster's identity."""
    cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")  # never begins with "-"
    done = subprocess.run(  # noqa: S603 - the command is ours
        [*command, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"kafka: {settings.parent} cannot be formatted: {said[-1]}")


def _last_lines(folder: Path, count: int = 8) -> str:
    """Return the end of a broker's log."""
    log = folder / "kafka.log"
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return f"{log} ends with:\n" + "\n".join(lines[-count:]) if lines else f"{log} is empty"
