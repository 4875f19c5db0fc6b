"""The group under test: its members are killed, frozen, sent away and joined by others."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.chaos.children import Child

FEWEST, USUAL, MOST = 2, 3, 4
"""Members that a group has."""


@dataclass
class Group:
    """The members that live; `spawn` makes one that is not started yet."""

    spawn: Callable[[], Child]
    rng: np.random.Generator
    members: list[Child] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)
    """When those go on that are stopped, by the id of the process."""
    exits: Counter[str] = field(default_factory=Counter)
    """How members ended that nobody had told to."""

    def fill(self, count: int = USUAL) -> None:
        """Start members until there are so many; they are ready later."""
        while len(self.members) < count:
            self.join()

    def join(self) -> None:
        """Start a member."""
        member = self.spawn()
        member.start()
        self.members.append(member)

    def kill(self) -> None:
        """Kill a member as a crash would."""
        self._take().end(signal.SIGKILL)

    def leave(self) -> None:
        """Ask a member to go; it is killed if it does not."""
        self._ask(self._take())

    def _ask(self, member: Child) -> None:
        if not member.is_ready:  # it would die of SIGTERM as anything does that loads
            member.end(signal.SIGKILL)
        elif code := member.end(signal.SIGTERM):
            self.exits[f"stopped with {code}: {last_line(member)}"] += 1
        elif code is None:
            self.exits["did not stop in time"] += 1

    def awake(self) -> list[Child]:
        """Return the members that are ready and run."""
        return [member for member in self.members if member.pid not in self.frozen and member.is_ready]

    @property
    def pids(self) -> list[int]:
        """The processes of all members."""
        return [member.pid for member in self.members]

    def _take(self) -> Child:
        awake = self.awake() or self.members
        member = awake[int(self.rng.integers(len(awake)))]
        self.members.remove(member)
        return member

    def freeze(self, seconds: float) -> None:
        """Stop a member in its tracks; it goes on after some seconds, and does not know that it was away."""
        awake = self.awake()
        if len(awake) >= FEWEST:
            member = awake[int(self.rng.integers(len(awake)))]
            member.send(signal.SIGSTOP)
            self.frozen[member.pid] = time.monotonic() + seconds

    def thaw(self, now: float = float("inf")) -> None:
        """Let those go on whose time has come."""
        for member in self.members:
            if self.frozen.get(member.pid, now) < now:
                member.send(signal.SIGCONT)
                del self.frozen[member.pid]

    def tend(self) -> None:
        """Let go on whose time has come, and put others in the place of those that ended by themselves."""
        self.thaw(time.monotonic())
        for member in [member for member in self.members if member.has_ended]:
            self.members.remove(member)
            self._note(member)
        self.fill(FEWEST)

    def _note(self, member: Child) -> None:
        member.send(signal.SIGKILL)
        self.exits[f"ended with {member.code()}: {last_line(member)}"] += 1

    def stop(self) -> None:
        """Ask all members to go."""
        self.thaw()
        while self.members:
            self._ask(self.members.pop())


def last_line(member: Child) -> str:
    """Return the last thing that a member said."""
    lines = member.said().strip().splitlines()
    return lines[-1][:300] if lines else ""
