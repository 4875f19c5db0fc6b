"""A run while it goes on: the cluster, the group, the producer, and what was done to them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.chaos.cluster import PATIENCE, Cluster
from benchmarks.chaos.disk import Disk
from benchmarks.chaos.members import Group
from benchmarks.chaos.sending import Sender

LOOK = 0.05
REFUSED = "interlock_store_spill_failures_total"
READY = 60.0
"""Seconds in which a member should be ready; after them one is hit that is not."""


@dataclass
class Field:
    """What faults act on; `run` is the name under which the group's states are kept."""

    cluster: Cluster
    group: Group
    sender: Sender
    rng: np.random.Generator
    prefix: str
    group_name: str
    partitions: int
    run: str = ""
    disk: Disk | None = None
    """Of members that keep something on one."""
    refused: dict[int, float] = field(default_factory=dict)
    """How many writes a full disk has refused each process."""
    awaited: Callable[[], bool] | None = None
    """What must be so before the next round is sent."""
    done: Counter[str] = field(default_factory=Counter)
    tell: Callable[[str], None] = lambda _: None
    began: float = field(default_factory=time.monotonic)

    def wait(self, seconds: float) -> None:
        """Let the run go on for some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._tend()
            time.sleep(min(LOOK, left))

    def _tend(self) -> None:
        self.group.tend()
        if self.disk is not None and self.disk.full_until is not None:
            if time.monotonic() < self.disk.full_until:
                self.disk.keep_full(self.group.pids)
            else:
                self.make_room()

    def make_room(self) -> None:
        """Let there be room on the disk, if it was full; remember whether anyone has met its end."""
        if self.disk is not None and self.disk.full_until is not None:
            for member in self.group.awake():
                self.refused[member.pid] = member.metric(REFUSED)
            self.disk.free(self.group.pids)

    def until_whole(self) -> None:
        """Wait until the brokers are whole, while members and the disk come back when their time has come.

        Raises:
            RuntimeError: they are not, for three minutes.
        """
        end = time.monotonic() + PATIENCE
        while not self.cluster.is_whole():
            if time.monotonic() > end:
                raise RuntimeError(f"the cluster is not whole in {PATIENCE:.0f} s")
            self.wait(LOOK)

    def until_ready(self) -> None:
        """Wait until a member is ready to be hit."""
        end = time.monotonic() + READY
        while not self.group.awake() and time.monotonic() < end:
            self.wait(LOOK)

    def say(self, what: str) -> None:
        """Tell whoever watches."""
        self.tell(f"{time.monotonic() - self.began:7.1f} s  {self.kills:3d} kills  {what}")

    def uniform(self, low: float, high: float) -> float:
        """Return a number of seconds."""
        return float(self.rng.uniform(low, high))

    def note(self, name: str) -> None:
        """Remember that something was done."""
        self.done[name] += 1

    @property
    def kills(self) -> int:
        """How often something was killed."""
        return sum(
            count for name, count in self.done.items() if name in {"kill worker", "kill leader", "kill coordinator"}
        )
