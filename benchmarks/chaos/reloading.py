"""Policies that follow in mid-stream: in which rounds they are published, and from which event time they count."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.chaos import interlock_group
from benchmarks.chaos.field import Field
from benchmarks.chaos.stream import CHANGES, POLICY, Packet
from interlock.policies.changes import grid, when
from interlock.policies.load import load_policy
from tests.replaying import command

BETWEEN = ((0.1, 0.35), (0.4, 0.6))
"""Between which shares of the rounds each policy is published."""

TRIES = 10


@dataclass(frozen=True)
class Reload:
    """A policy's file, how many stood before, the round in which it is published, the event time (ms) from which it counts."""

    policy: Path
    known: int
    number: int
    since: int

    @property
    def change(self) -> str:
        """The same, as `interlock replay --policy-change` takes it."""
        return f"{self.policy}@{when(self.since)}"

    def apply(self, run: Field) -> None:
        """Publish it, as an operator does, to whom `/health` says when all have heard of it: the next round waits for that.

        Raises:
            RuntimeError: it is refused, again and again.
        """
        where = ("--bootstrap", run.cluster.bootstrap, "--prefix", run.prefix, "--from", when(self.since))
        for left in reversed(range(TRIES)):  # a broker may be away just now
            code, _, err = command("policy", "apply", self.policy, *where)
            if code == 0 or "runs it already" in err:
                break
            if not left:
                raise RuntimeError(f"interlock policy apply ended with {code}: {err}")
            run.wait(1)
        run.awaited = partial(interlock_group.know, run, self.known + 1)


def planned(rounds: Sequence[Sequence[Packet]], folder: Path, rng: np.random.Generator) -> Iterator[Reload]:
    """Yield the reloads of a run: every event of a policy's time is sent after the round in which it is published."""
    last, number = load_policy(POLICY.encode(), "policy"), 0
    for n, (text, (low, high)) in enumerate(zip(CHANGES, BETWEEN, strict=True), 1):
        path, number = folder / f"policy{n}.yaml", max(number + 1, int(len(rounds) * rng.uniform(low, high)))
        path.write_text(text, "utf-8")
        new = load_policy(text.encode(), path.name)
        step = grid(last, new)
        yield Reload(path, n, number, (_latest(rounds[: number + 1]) // step + 1) * step)
        last = new


def _latest(rounds: Iterable[Iterable[Packet]]) -> int:
    """Return the latest time (ms) of what can be read."""
    lines = (line for packets in rounds for packet in packets for line in packet.lines)
    return max(line.ts for line in lines if line.kind != "ahead")
