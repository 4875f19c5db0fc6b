"""Processes of brokers: started on a leash or set free, found again by their pid file, signalled only if they are ours."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from weakref import finalize

from interlock.commands import broker_leash
from interlock.errors import UserError


class Running:
    """A process that lives in a folder. It is held by a descriptor, so a number given anew is never mistaken for it."""

    def __init__(self, pid: int) -> None:
        """Hold a process.

        Raises:
            ProcessLookupError: It is gone.
        """
        self.pid = pid
        self._held = os.pidfd_open(pid)
        finalize(self, os.close, self._held)

    def ended(self, within: float) -> bool:
        """Whether it has ended, or does so within some seconds."""
        end = select.poll()  # not `select`: a process with a thousand files open may ask, too
        end.register(self._held, select.POLLIN)
        return bool(end.poll(within * 1000))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        if not self.ended(0):
            signal.pidfd_send_signal(self._held, number)


def find(folder: Path) -> Running | None:
    """Return the broker of a folder, None if it has none: its command line must name the folder's settings."""
    try:
        running = Running(int((folder / "pid").read_text("utf-8")))
    except (OSError, ValueError, OverflowError):
        return None
    return running if _is_of(running.pid, folder) and not running.ended(0) else None


def _is_of(pid: int, folder: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(folder / "server.properties") in command


def set_free(command: list[str], log: Path) -> int:
    """Start a command that outlives us, its output appended to a file; return its process id."""
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), write, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)


def on_leash(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, subprocess.Popen[str]]:
    """Start a command that never outlives us; return its process id and its leash, which it holds until its end.

    It is in a session of its own, so that a terminal's Ctrl-C reaches only us, who may still need it.
    """
    with log.open("a") as output:
        leash = subprocess.Popen(  # noqa: S603 - the command is ours
            [sys.executable, "-I", "-S", broker_leash.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
            env=None if environment is None else {**environment},
        )
    said = leash.stdout.readline() if leash.stdout else ""
    if not said:
        leash.communicate()
        raise UserError(f"{log.stem}: its process could not be started; {log} says why")
    return int(said), leash
