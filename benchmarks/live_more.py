"""More of the live pipeline: peers on the same topic, two workers, a kill with a backlog, memory over hours of event time."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import workload
from benchmarks.apart import AbsentError, python
from benchmarks.live_pending import resident
from benchmarks.live_topics import FRAME, fill, frame_messages, make_topics
from benchmarks.live_worker import Taken, is_done, positions, tick_of, wait
from tests.living import Running

PEERS = Path(__file__).resolve().parent / "peers"
PARTITIONS = 4
SPACING = 12
HOUR_SPACING = 1
"""Milliseconds between events where memory is watched: ten million are nearly three hours."""
MARKS = 4


@dataclass(frozen=True, slots=True)
class Caught:
    """After a kill with a backlog: events that were left, seconds until another worker had read and judged them all."""

    left: int
    seconds: float


def peer(name: str, bootstrap: str, topic: str, events: int) -> Taken:
    """Return what a peer takes for a topic of so many events.

    Raises:
        AbsentError: it cannot be installed, or fails.
    """
    command: list[str | Path] = [python(PEERS / f"requirements-{name}.txt"), PEERS / f"{name}_peer.py"]
    done = subprocess.run([*command, bootstrap, topic, str(events)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise AbsentError((done.stderr.strip().splitlines() or ["without a word"])[-1])
    return Taken(*map(float, done.stdout.split()[-2:]))


def filled(bootstrap: str, prefix: str, events: int, spacing: int = SPACING) -> int:
    """Make topics, fill the predictions with frames; return how many records."""
    make_topics(bootstrap, prefix, PARTITIONS)
    fill(bootstrap, prefix + "predictions", frame_messages(workload.predictions(events, spacing=spacing)), PARTITIONS)
    whole, rest = divmod(events, workload.BATCH)
    return whole * (workload.BATCH // FRAME) + -(-rest // FRAME)


def together(policy: Path, bootstrap: str, prefix: str, load: tuple[int, int], workers: int) -> float:
    """Return events per second of so many workers in one group, from the last one's assignment on."""
    records, events = load
    with ExitStack() as stack:
        group = [stack.enter_context(Running(policy, bootstrap, prefix, environment={})) for _ in range(workers)]
        wait(lambda: all(one.status().get("shards") for one in group), "every worker's partitions")
        before, start = positions(group), time.perf_counter()
        wait(lambda: is_done(group, records, tick_of(policy)), "the end of the topic")
        return (records - before) * events / records / (time.perf_counter() - start)


def scaling(policy: Path, bootstrap: str, events: int, rounds: int) -> Iterator[tuple[int, float]]:
    """Yield a number of workers and the median of their events per second, on topics of their own."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers, rates in found.items():
            prefix = f"scale-{workers}-{number}."
            records = filled(bootstrap, prefix, events)
            rates.append(together(policy, bootstrap, prefix, (records, events), workers))
    yield from ((workers, median(rates)) for workers, rates in found.items())


def killed(policy: Path, bootstrap: str, prefix: str, events: int, options: Sequence[str] = ()) -> Caught:
    """Kill a worker early in a backlog; another, which starts at once, must wait for its session to end."""
    records, tick = filled(bootstrap, prefix, events), tick_of(policy)
    with Running(policy, bootstrap, prefix, options, {}) as first:
        wait(lambda: positions([first]) > records // 20, "the first records")
        read = positions([first])
        first.end()
    start = time.perf_counter()
    with Running(policy, bootstrap, prefix, options, {}) as second:
        wait(lambda: is_done([second], records, tick), "the end of the topic")
        return Caught(round(events * (1 - read / records)), time.perf_counter() - start)


def sizes(policy: Path, bootstrap: str, prefix: str, events: int) -> list[float]:
    """Return the resident MiB of a worker after every quarter of so many events."""
    records, found = filled(bootstrap, prefix, events, HOUR_SPACING), list[float]()
    with Running(policy, bootstrap, prefix, environment={}) as worker:
        for mark in range(1, MARKS + 1):
            wait(lambda mark=mark: positions([worker]) >= records * mark // MARKS, "a quarter of the topic")  # type: ignore[misc]
            found.append(resident(worker))
        wait(lambda: is_done([worker], records, tick_of(policy)), "the end of the topic")
    return found
