"""Mutated messages through a real worker: none stops it, each is counted or a dead letter, and how its speed holds."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from aiokafka import AIOKafkaProducer
from kafka import KafkaConsumer, TopicPartition

from benchmarks.chaos.mutating import TOPICS, Mutant, Mutator
from benchmarks.chaos.stream import POLICY
from interlock.policies.load import load_policy
from interlock.streams.batch import Message
from interlock.streams.live import Layout, Setup
from interlock.streams.topics import Layout as Topics
from interlock.streams.topics_admin import create
from tests.living import Running, until
from tests.replaying import ENDS

PATIENCE = 3600.0
"""Seconds that a worker may take for all messages."""

AT_ONCE = 5_000

NOW = 1_800_000_000_000
"""An append time (ms) for what is only counted here: not before any event's time that can be read."""


@dataclass(frozen=True)
class Taken:
    """What a worker made of messages: its counters, the dead letters by reason, and the seconds it took."""

    messages: int
    events: int
    """What they hold: one each, but for frames of Arrow."""
    counters: Counter[str]
    letters: Counter[str]
    wall: float
    processor: float
    exit_code: int

    @property
    def unaccounted(self) -> int:
        """How many events are neither counted nor dead letters, or are both."""
        ended = sum(self.counters[name] for name in ENDS)
        return abs(self.events - ended) + abs(self.letters.total() - self.counters["dead_letters"])


@dataclass(frozen=True)
class Compared:
    """Messages as they were and mutated, through workers of their own."""

    good: Taken
    mutated: Taken

    @property
    def held(self) -> bool:
        """Whether nothing stopped the worker, and every event is accounted for."""
        return not (self.good.unaccounted or self.mutated.unaccounted or self.good.exit_code or self.mutated.exit_code)

    @property
    def ratio(self) -> float:
        """Return the speed on mutated messages beside that on good ones, by the processor's time."""
        return self.good.processor / self.mutated.processor


def compare(bootstrap: str, folder: Path, seed: int, count: int) -> Compared:
    """Send good and mutated messages through a worker each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    good = take(bootstrap, folder / "policy.yaml", f"good{seed}.", Mutator(seed).good(count))
    return Compared(good, take(bootstrap, folder / "policy.yaml", f"mutated{seed}.", Mutator(seed).mutants(count)))


def take(bootstrap: str, policy: Path, prefix: str, messages: Iterable[Mutant]) -> Taken:
    """Send messages, then let a worker read them."""
    if lines := create(bootstrap, Topics(prefix)).differences:
        raise RuntimeError(lines)
    sent = asyncio.run(_send(bootstrap, prefix, messages, decoded(policy)))
    with Running(policy, bootstrap, prefix, ("--idle-after", "3600"), {}) as worker:
        until(lambda: worker.status().get("shards"), "the worker's partition")
        began, before = time.perf_counter(), processor_seconds(worker)
        until(lambda: _has_read(worker, sent.messages), "all to be read", PATIENCE)
        wall, processor = time.perf_counter() - began, processor_seconds(worker) - before
        counters = Counter(worker.status()["shards"]["0"]["counted"])
        code = worker.end(signal.SIGTERM)
    letters = Counter(json.loads(value)["reason"] for value in _values(bootstrap, prefix + "dead-letters"))
    return Taken(sent.messages.total(), sent.events, counters, letters, wall, processor, code)


@dataclass
class Sent:
    """How many messages went to each topic, and how many events they hold."""

    messages: Counter[str] = field(default_factory=Counter)
    events: int = 0


async def _send(bootstrap: str, prefix: str, messages: Iterable[Mutant], events: Callable[[Mutant], int]) -> Sent:
    sent, rest = Sent(), iter(messages)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5) as producer:
        while some := list(islice(rest, AT_ONCE)):
            waits = [
                await producer.send(prefix + one.topic, one.value, b"k", 0, headers=list(one.headers)) for one in some
            ]
            sent.messages.update(one.topic for one in some)
            sent.events += sum(map(events, some))
            await asyncio.gather(*waits)
    return sent


def decoded(policy: Path) -> Callable[[Mutant], int]:
    """Return what says how many events a message holds: one, but for frames, of which the decoder alone can say."""
    decoders = Setup(load_policy(policy.read_bytes(), "policy"), None, Layout(1)).decoders

    def events(one: Mutant) -> int:
        if not one.is_frame:
            return 1
        kind = next((value.decode() for _, value in one.headers), None)
        batch, dead = decoders[one.topic]([Message(one.value or b"", 0, NOW, kind)])
        return batch.rows() + len(dead)

    return events


def _has_read(worker: Running, messages: Counter[str]) -> bool:
    if worker.process is None or worker.process.poll() is not None:
        raise RuntimeError(f"the worker has ended: {worker.said()[-2000:]}")
    shards = worker.status().get("shards", {})
    return bool(shards) and all(shards["0"]["positions"][topic] == messages[topic] for topic in TOPICS)


def processor_seconds(worker: Running) -> float:
    """Return what a worker's threads have taken so far; Linux tells it in ticks."""
    if worker.process is None:
        raise RuntimeError("it does not run")
    words = Path(f"/proc/{worker.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _values(bootstrap: str, topic: str) -> Iterator[bytes]:
    """Yield the values of partition 0 of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), enable_auto_commit=False)
    place = TopicPartition(topic, 0)
    try:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        while consumer.position(place) < end:
            for some in consumer.poll(timeout_ms=500).values():
                yield from (record.value for record in some)
    finally:
        consumer.close()
