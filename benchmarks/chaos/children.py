"""The driver's end of the nursery: processes that it bears, by their ids."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.chaos.disk import Disk, mounting
from interlock.commands.broker_process import Running

NUMBERS = itertools.count(1)
"""No two processes share the files of their output."""

GRACE = 60.0
"""Seconds that a process has to stop before it is killed."""

LIMITED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""No library may start threads before the fork."""


class Nursery:
    """A process that bears others; as a context manager none of them outlives it, nor it us."""

    def __init__(self) -> None:
        """Start it; it loads meanwhile."""
        folder = Path(tempfile.mkdtemp(prefix="chaos-disk-"))
        mount = mounting(folder)
        self._process = subprocess.Popen(
            [*mount, sys.executable, "-m", "benchmarks.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | LIMITED,
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )
        self._one = threading.Lock()
        self.disk = Disk(folder, self._process.pid if mount else None)
        """The disk of those it bears."""

    def ask(self, *what: Any) -> int:
        """Return the answer to a line."""
        given, taken = self._process.stdin, self._process.stdout
        if given is None or taken is None:
            raise RuntimeError("it has no pipes")
        with self._one:
            given.write(json.dumps(what) + "\n")
            given.flush()
            return int(taken.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)
        shutil.rmtree(self.disk.folder)


@dataclass
class Child:
    """A process of the group: a program of the nursery, its arguments, and where its output goes."""

    nursery: Nursery
    program: str
    arguments: Sequence[str]
    folder: Path
    pid: int = -1
    name: str = ""
    _held: Running | None = None

    def start(self) -> None:
        """Start it; it is ready later."""
        self.name = f"{self.program}-{next(NUMBERS)}"
        self.pid = self.nursery.ask(self.program, [*self.arguments], str(self.folder), self.name)
        self._held = Running(self.pid)

    @property
    def is_ready(self) -> bool:
        """Whether it has said its first line."""
        return bool(self._line())

    def _line(self) -> str:
        """Return the first line of its output, once it is whole."""
        path = self.folder / f"{self.name}.out"
        line = path.read_text("utf-8").partition("\n") if path.exists() else ("", "", "")
        return line[0] if line[1] else ""

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._held is None or self._held.ended(0)

    def send(self, what: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        if self._held is not None:
            self._held.signal(what)

    def end(self, how: signal.Signals = signal.SIGKILL) -> int | None:
        """Send a signal and wait; return the exit code, None if it had to be killed."""
        self.send(how)
        if self._held is None or self._held.ended(GRACE):
            return self.code()
        self.send(signal.SIGKILL)
        self.code()
        return None

    def code(self) -> int:
        """Return the exit code of what has ended."""
        return self.nursery.ask(self.pid)

    def status(self) -> dict[str, Any]:
        """Return what its page of health says; nothing while it does not answer."""
        try:
            with urllib.request.urlopen(self._line().rpartition(" ")[2], timeout=5) as answer:  # noqa: S310 - our own
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except (OSError, ValueError):
            return {}

    def metric(self, name: str) -> float:
        """Return what its page of metrics says of one; 0 while it does not answer."""
        page = self._line().rpartition(" ")[2].replace("/health", "/metrics")
        try:
            with urllib.request.urlopen(page, timeout=5) as answer:  # noqa: S310 - our own
                lines = answer.read().decode().splitlines()
        except (OSError, ValueError):
            return 0.0
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def said(self) -> str:
        """Return its log."""
        path = self.folder / f"{self.name}.err"
        return path.read_text("utf-8", "replace") if path.exists() else ""
