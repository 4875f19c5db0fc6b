"""A run of the stock app under faults, and what its Table says beside what was sent."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from benchmarks.chaos import stock
from benchmarks.chaos.campaign import PARTITIONS, Report, field
from benchmarks.chaos.children import Child, Nursery
from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.driver import Schedule, drive, finish
from benchmarks.chaos.field import Field
from benchmarks.chaos.judging import Findings
from benchmarks.chaos.stream import Line, Packet, Stream
from tests.living import records

PER_KILL, KEYS = 500, 50
QUIET = 20.0
"""Seconds without a change of the Table after which the app has come to its end."""


def run(under: tuple[Cluster, Nursery], folder: Path, seed: int, kills: int) -> Report:
    """Drive the stock app through so many kills."""
    (cluster, nursery), began, prefix = under, time.monotonic(), f"stock{seed}."
    folder.mkdir(parents=True)
    _topics(cluster, prefix)
    stream = Stream([*_events(seed, kills)], [], 0)
    spawn = partial(Child, nursery, "stock", (cluster.bootstrap, prefix), folder)
    with field(cluster, seed, (prefix, prefix + stock.GROUP), spawn) as driven:
        driven.tell = partial(print, flush=True)
        drive(driven, stream, Schedule(kills, seed, knows_state=False), lambda _: True)
        finish(driven, stream, Quiet(cluster.bootstrap, prefix + stock.CHANGELOG))
        driven.group.stop()
        cluster.until_whole()
    found = _judge(cluster.bootstrap, prefix, stream)
    return Report(seed, driven.done, driven.group.exits, found, time.monotonic() - began)


def _topics(cluster: Cluster, prefix: str) -> None:
    wanted = {prefix + stock.TOPIC: "delete", prefix + stock.CHANGELOG: "compact"}
    with cluster.admin() as admin:
        admin.create_topics(
            {
                name: {"num_partitions": PARTITIONS, "replication_factor": 3, "configs": {"cleanup.policy": policy}}
                for name, policy in wanted.items()
            }
        )
        admin.wait_for_topics(list(wanted))


def _events(seed: int, kills: int) -> Iterator[Packet]:
    rng = np.random.default_rng(seed)
    for key in rng.integers(KEYS, size=PER_KILL * kills).tolist():
        yield Packet(stock.TOPIC, key % PARTITIONS, (Line("event", 0, b"key-%d" % key),))


class Quiet:
    """Whether a topic has had no new records for a while."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Look for the first time."""
        self._bootstrap, self._topic = bootstrap, topic
        self._end, self._since = -1, time.monotonic()

    def __call__(self, _: Field) -> bool:
        """Look again."""
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap.split(","))
        try:
            end = sum(consumer.end_offsets([TopicPartition(self._topic, n) for n in range(PARTITIONS)]).values())
        finally:
            consumer.close()
        if end != self._end:
            self._end, self._since = end, time.monotonic()
        return time.monotonic() - self._since > QUIET


def _judge(bootstrap: str, prefix: str, stream: Stream) -> Findings:
    """Compare the last value of every key in the changelog with the events that stand on the topic."""
    there = records(bootstrap, prefix + stock.TOPIC)
    sent = Counter((record.partition, record.value.decode()) for record in there)
    last: dict[tuple[int, str], int] = {}
    for record in records(bootstrap, prefix + stock.CHANGELOG):
        last[record.partition, json.loads(record.key)] = json.loads(record.value)
    lost, doubled = stock.compared(sent, Counter(last))
    return Findings(events=len(there), unsent=len(stream.packets) - len(there), lost=lost, doubled=doubled)
