"""The processes under test: a group whose members are killed, frozen, sent away and joined by others."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

FEWEST, USUAL, MOST = 2, 3, 4
"""Members that a group has."""


class Member(Protocol):
    """A process of the group; it is started by entering it."""

    process: subprocess.Popen[str] | None

    def __enter__(self) -> Any: ...

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait; return the exit code."""
        ...

    def status(self) -> dict[str, Any]:
        """Return what it says of itself; nothing while it does not answer."""
        ...

    def said(self) -> str:
        """Return its log."""
        ...


@dataclass
class Group:
    """The members that live; `spawn` makes one that is not started yet."""

    spawn: Callable[[], Member]
    rng: np.random.Generator
    members: list[Member] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)
    """When those go on that are stopped, by the id of the process."""
    exits: Counter[str] = field(default_factory=Counter)
    """How members ended that nobody had told to."""

    def fill(self, count: int = USUAL) -> None:
        """Start members until there are so many."""
        while len(self.members) < count:
            self.join()

    def join(self) -> None:
        """Start a member; one that cannot be started is noted, and another one tried the next time."""
        member = self.spawn()
        try:
            member.__enter__()
        except AssertionError:
            self._note(member)
        else:
            self.members.append(member)

    def kill(self) -> Member:
        """Kill a member as a crash would."""
        member = self.take()
        member.end(signal.SIGKILL)
        return member

    def leave(self) -> None:
        """Ask a member to go; it is killed if it does not."""
        member = self.take()
        try:
            code = member.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.exits["did not stop in 20 s"] += 1
        else:
            if code:
                self.exits[f"stopped with {code}: {last_line(member)}"] += 1

    def take(self) -> Member:
        """Take a member out of the list, one that runs."""
        if all(pid(member) in self.frozen for member in self.members):
            self.tend_frozen()
        awake = [at for at, member in enumerate(self.members) if pid(member) not in self.frozen]
        member = self.members.pop(awake[int(self.rng.integers(len(awake)))])
        return member

    def freeze(self, seconds: float) -> None:
        """Stop a member in its tracks; it goes on after some seconds, and does not know that it was away."""
        awake = [member for member in self.members if pid(member) not in self.frozen]
        if len(awake) < FEWEST:
            return
        chosen = pid(awake[int(self.rng.integers(len(awake)))])
        self._signal(chosen, signal.SIGSTOP)
        self.frozen[chosen] = time.monotonic() + seconds

    def tend(self) -> None:
        """Let those go on whose time has come, and put others in the place of those that ended by themselves."""
        for one in [one for one, until in self.frozen.items() if time.monotonic() >= until]:
            self._signal(one, signal.SIGCONT)
            del self.frozen[one]
        for member in [member for member in self.members if _has_ended(member)]:
            self.members.remove(member)
            self._note(member)
        self.fill(FEWEST)

    def _note(self, member: Member) -> None:
        code = None if member.process is None else member.process.wait(10)
        self.exits[f"ended with {code}: {last_line(member)}"] += 1
        if member.process is not None and member.process.stdout is not None:
            member.process.stdout.close()

    def _signal(self, number: int, what: signal.Signals) -> None:
        for member in self.members:
            if member.process is not None and pid(member) == number and member.process.poll() is None:
                member.process.send_signal(what)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End all members."""
        self.tend_frozen()
        for member in self.members:
            try:
                member.end(how)
            except subprocess.TimeoutExpired:
                self.exits["did not stop in 20 s"] += 1
        self.members.clear()

    def tend_frozen(self) -> None:
        """Let all go on that are stopped."""
        for one in self.frozen:
            self._signal(one, signal.SIGCONT)
        self.frozen.clear()


def pid(member: Member) -> int:
    """Return the id of a member's process."""
    return -1 if member.process is None else member.process.pid


def _has_ended(member: Member) -> bool:
    return member.process is None or member.process.poll() is not None


def last_line(member: Member) -> str:
    """Return the last thing that a member said."""
    lines = member.said().strip().splitlines()
    return lines[-1][:300] if lines else ""
