"""What tests of processes share: the command line in a process of its own, waiting with a deadline, Kafka's client."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka.admin import KafkaAdminClient

ROOT = Path(__file__).resolve().parents[1]

PATIENCE = 60.0
"""Seconds in which what must happen has happened, on a machine that has other things to do."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that runs what is in this clone."""
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | more


def interlock(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `more` are variables of its environment."""
    command = [sys.executable, "-m", "interlock", *map(str, arguments)]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False, timeout=300)


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until something holds, and return whether it does."""
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        select.select([], [], [], 0.02)
    return held


def ends(pid: int) -> bool:
    """Wait until a process is gone, and return whether it is; it need not be our child."""

    def gone() -> bool:
        try:
            return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True

    return eventually(gone)


@contextmanager
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Open a client that administers a broker."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield client
    finally:
        client.close()
