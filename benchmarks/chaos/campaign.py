"""One run of Interlock under faults, from an empty topic to its judge's findings."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.chaos import interlock_group
from benchmarks.chaos.children import Child, Nursery
from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.driver import Schedule, drive, finish, parts
from benchmarks.chaos.faults import Fault
from benchmarks.chaos.field import Field
from benchmarks.chaos.judging import INPUTS, Findings, Place, judge
from benchmarks.chaos.members import Group
from benchmarks.chaos.reloading import planned
from benchmarks.chaos.sending import Sender
from benchmarks.chaos.stream import POLICY, Maker, Packet, Stream
from interlock.policies.load import load_policy
from interlock.streams.live import Layout, Setup
from interlock.streams.topics import Layout as Topics
from interlock.streams.topics_admin import create

PARTITIONS = 4
PER_KILL, FEWEST, MOST = 3_000, 80_000, 160_000
"""Predictions for a kill, and bounds of a run's: so many that pending ones do not fit into memory, and fill blocks."""


@dataclass(frozen=True)
class Report:
    """What a run was, and what was found."""

    seed: int
    done: Counter[str]
    exits: Counter[str]
    findings: Findings
    seconds: float

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(self.done[name] for name in ("kill worker", "kill leader", "kill coordinator"))


def stream_of(seed: int, kills: int) -> Stream:
    """Return the events of a run; their times end some hours before now."""
    now = int(time.time() * 1000)  # noqa: TID251 - a driver: producers' clocks go by the wall
    return Maker(seed, min(MOST, max(FEWEST, PER_KILL * kills)), PARTITIONS, now).stream()


@contextmanager
def field(cluster: Cluster, seed: int, names: tuple[str, str], spawn: partial[Child]) -> Iterator[Field]:
    """Yield a run that can be driven; `names` are the topics' prefix and the group's name. All ends with it."""
    rng = np.random.default_rng([seed, 1])
    sender, group = Sender(cluster.bootstrap, names[0]), Group(spawn, rng)
    try:
        yield Field(cluster, group, sender, rng, *names, PARTITIONS)
    finally:
        group.stop()
        sender.close()


def run(under: tuple[Cluster, Nursery], folder: Path, seed: int, kills: int) -> Report:
    """Drive Interlock through so many kills, and judge what it left."""
    (cluster, nursery), began = under, time.monotonic()
    stream, prefix = stream_of(seed, kills), f"chaos{seed}."
    folder.mkdir(parents=True)
    reloads = list(planned(parts(stream, kills), folder, np.random.default_rng([seed, 4])))
    place = Place(cluster.bootstrap, prefix, PARTITIONS, folder, [one.change for one in reloads])
    place.policy.write_text(POLICY, "utf-8")
    cluster.until_whole()
    if lines := create(cluster.bootstrap, Topics(prefix, PARTITIONS, 1, 3)).differences:
        raise RuntimeError(lines)
    name = Setup(load_policy(POLICY.encode(), "policy"), None, Layout(PARTITIONS)).run
    spawn = partial(interlock_group.worker, nursery, place, {})
    schedule = Schedule(kills, seed, {one.number: Fault("reload policy", 1, one.apply) for one in reloads})
    with field(cluster, seed, (prefix, interlock_group.GROUP), spawn) as driven:
        driven.run, driven.tell, driven.disk = name, partial(print, flush=True), nursery.disk
        drive(driven, stream, schedule, interlock_group.rests)
        finish(driven, stream, partial(interlock_group.is_done, end=stream.end, ends=_ends(stream)))
        driven.say("all is judged")
        driven.group.stop()
        driven.say("all have stopped")
        cluster.until_whole()
    refused = Counter({"writes that a full disk refused": int(sum(driven.refused.values()))})
    done = driven.done + _disturbances(stream) + refused
    return Report(seed, done, driven.group.exits, judge(place, stream, name), time.monotonic() - began)


def _ends(stream: Stream) -> dict[str, list[int]]:
    """Return how many messages every partition of the inputs has in the end."""
    count = Counter((packet.topic, packet.partition) for packet in (*stream.packets, *stream.flush))
    return {topic: [count[topic, n] for n in range(PARTITIONS)] for topic in INPUTS}


def _disturbances(stream: Stream) -> Counter[str]:
    """Return what was wrong with the input, by kind; events count as reordered that come after a later one."""
    kinds = stream.expected()
    named = {"sent again": "again", "poison": "poison", "a day ahead": "ahead", "orphan outcomes": "orphan"}
    return Counter({name: kinds[kind] for name, kind in named.items()} | {"reordered": reordered(stream.packets)})


def reordered(packets: Sequence[Packet]) -> int:
    """Return how many events come after one of their partition that is later than they are."""
    reached: dict[tuple[str, int], int] = {}
    count = 0
    for packet in packets:
        key = packet.topic, packet.partition
        for line in packet.lines:
            if line.kind in {"prediction", "outcome", "orphan"}:
                count += line.ts < reached.get(key, 0)
                reached[key] = max(reached.get(key, 0), line.ts)
    return count
