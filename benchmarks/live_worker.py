"""How long a worker process takes for what lies on its topics."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from tests.living import Running

LOOK = 0.05
"""Seconds between looks at /health: one costs the worker about a millisecond."""

PATIENCE = 600.0


class Taken(NamedTuple):
    """Seconds by the clock, and of a processor."""

    wall: float
    cpu: float


def taken(policy: Path, bootstrap: str, prefix: str, load: tuple[int, int]) -> Taken:
    """Return what passes from a worker's assignment until all is read, counted and judged; `load`: records, events.

    Raises:
        RuntimeError: an event was not counted.
    """
    records, events = load
    tick = tick_of(policy)
    with Running(policy, bootstrap, prefix, environment={}) as worker:
        wait(lambda: bool(worker.status().get("shards")), "the worker's partitions")
        start, before = time.perf_counter(), _processor_seconds(worker)
        wait(lambda: is_done([worker], records, tick), "the end of the topic")
        found = Taken(time.perf_counter() - start, _processor_seconds(worker) - before)
        counted = sum(shard["counted"]["predictions"] for shard in worker.status()["shards"].values())
    if counted != events:
        raise RuntimeError(f"counted {counted} of {events} events: {worker.said()}")
    return found


def _processor_seconds(worker: Running) -> float:
    """Return what a worker's threads have taken so far; Linux tells it in ticks of 10 ms."""
    if worker.process is None:
        raise RuntimeError("it does not run")
    words = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def is_done(group: Sequence[Running], records: int, tick: int) -> bool:
    """Return whether all records are read, and every judge has come as far as the slowest shard's watermark."""
    found = [worker.status() for worker in group]
    shards = [shard for status in found for shard in status.get("shards", {}).values()]
    if sum(shard["positions"]["predictions"] for shard in shards) < records:
        return False
    closed = min(shard["watermarks"]["predictions"] for shard in shards) // tick * tick
    return all((judge["judged"] or 0) >= closed for status in found for judge in status["judges"].values())


def positions(group: Sequence[Running]) -> int:
    """Return how many records of predictions a group has read."""
    return sum(s["positions"]["predictions"] for one in group for s in one.status().get("shards", {}).values())


def tick_of(policy: Path) -> int:
    """Return the tick (ms) of a policy."""
    return make_plan(load_policy(policy.read_bytes(), str(policy))).tick


def wait(look: Callable[[], bool], what: str) -> None:
    """Wait until something is so.

    Raises:
        RuntimeError: it is not, for ten minutes.
    """
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(LOOK)
