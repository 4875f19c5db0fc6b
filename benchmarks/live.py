"""The live pipeline: one real worker process on a real broker, both on this machine, beside the peers of the same run.

Every round has topics of its own, filled before anything is timed; bare reading, the worker and stock Faust take turns.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import live_latency, live_more, workload
from benchmarks.apart import AbsentError
from benchmarks.live_topics import FRAME, fill, frame_messages, json_messages, make_topics
from benchmarks.live_worker import Taken, taken
from interlock.commands.broker import Broker
from interlock.streams import reference as references

PARTITIONS = 4
MORE = 4
"""Times as many events in frames: they go faster."""

SPACING = 12
"""Milliseconds between events: 50,000 in a pane of ten minutes, 83 a second."""

BARE, JSON = "JSON, bare aiokafka and decoding", "JSON, one event a message"
FRAMES = f"Arrow, {FRAME} events a message"
SPARSE = f"{FRAMES}, 500 in a pane"
QUIX, BYTEWAX = "JSON, Quix Streams, decoded and counted", "JSON, Bytewax, decoded and counted"
PEERS = {QUIX: "quixstreams", BYTEWAX: "bytewax"}
STOCK, STOCK_DECODE = "JSON, stock Faust, same shards", "JSON, stock Faust, decoding alone"
GUARDED, HOPPED = "never-event sent to guard's mode changed", "the same messages, two bare hops"


@dataclass(frozen=True, slots=True)
class Size:
    """How much: events of JSON (frames get more), of them for stock Faust, never-events a round, rounds; with peers installed apart?"""

    events: int
    stock: int
    never: int
    rounds: int
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """A row, medians of the rounds: events per second, their share of the round's bare reading, microseconds of processor.

    The processor's time is that of the process's own threads, an event; others on the machine change it less.
    """

    what: str
    rate: float
    share: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Delay:
    """A row: what ran, and of all its delays (ms) the median and the 99th percentile."""

    what: str
    count: int
    p50: float
    p99: float


def speeds(broker: Broker, size: Size, folder: Path) -> Iterator[Speed]:
    """Yield the rows of throughput."""
    references.save(workload.reference(), folder / "benchmark.ref")
    policy = folder / "policy.yaml"
    policy.write_text(workload.policy_text(reference="benchmark.ref"))
    rounds = [_round(broker.bootstrap, f"speed-{number}.", size, policy) for number in range(size.rounds)]
    for what in rounds[0]:
        if any(what not in found for found in rounds):
            continue
        yield Speed(
            what,
            median(1 / found[what].wall for found in rounds),
            median(found[BARE].wall / found[what].wall for found in rounds),
            median(found[what].cpu * 1e6 for found in rounds),
        )


def _round(bootstrap: str, prefix: str, size: Size, policy: Path) -> dict[str, Taken]:
    """Return what an event of every row takes."""
    events, stock = size.events, size.stock
    more = MORE * events
    found: dict[str, Taken] = {}
    make_topics(bootstrap, prefix, PARTITIONS)
    fill(bootstrap, prefix + "predictions", json_messages(workload.predictions(events, spacing=SPACING)), PARTITIONS)
    found[BARE] = _each(_peer("live_bare", bootstrap, prefix + "predictions", PARTITIONS, events), events)
    found[JSON] = _each(taken(policy, bootstrap, prefix, (events, events)), events)
    for what, name in PEERS.items() if size.peers else ():
        try:
            found[what] = _each(live_more.peer(name, bootstrap, prefix + "predictions", events), events)
        except AbsentError as error:
            print(f"{what}: {error}", file=sys.stderr)
    for what, work in ((STOCK, "shard"), (STOCK_DECODE, "decode")):
        found[what] = _each(_peer("live_stock", work, bootstrap, prefix, policy, stock), stock)
    for what, spacing in ((FRAMES, SPACING), (SPARSE, workload.SPACING)):
        own = f"{prefix}frames-{spacing}."
        make_topics(bootstrap, own, PARTITIONS)
        frames = list(frame_messages(workload.predictions(more, spacing=spacing)))
        fill(bootstrap, own + "predictions", frames, PARTITIONS)
        found[what] = _each(taken(policy, bootstrap, own, (len(frames), more)), more)
    return found


def _each(all_of_them: Taken, events: int) -> Taken:
    return Taken(all_of_them.wall / events, all_of_them.cpu / events)


def _peer(module: str, *arguments: object) -> Taken:
    """Return the two figures that a peer's process prints last."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return Taken(*map(float, done.stdout.split()[-2:]))


def delays(broker: Broker, size: Size, folder: Path) -> Iterator[Delay]:
    """Yield the rows of latency; the two take turns, and all rounds' delays are taken together."""
    ways: dict[str, list[float]] = {GUARDED: [], HOPPED: []}
    load, policy = (size.never, PARTITIONS), folder / "never.yaml"
    for number in range(size.rounds):
        ways[HOPPED] += live_latency.hopped(broker.bootstrap, f"hops-{number}.", load)
        ways[GUARDED] += live_latency.guarded(policy, broker.bootstrap, f"guard-{number}.", load)
    for what, found in ways.items():
        yield Delay(what, len(found), *map(float, np.percentile(found, (50, 99))))
