"""A live pipeline for tests: real worker processes on a real broker, the census slice, and what stands on the topics."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import pyarrow.parquet as pq
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from interlock.partitions import partition_of
from interlock.protocol import CONTENT_TYPE, JSON_LINES
from interlock.streams.topics import Layout
from interlock.streams.topics_admin import create, partitions_of

SECRET = {"INTERLOCK_AUDIT_SECRET": "interlock-demo"}
PATIENCE = 60.0
PACK = 25

T = TypeVar("T")
Events = Mapping[str, Sequence[bytes]]


def until(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Return what `look` finds once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@dataclass
class Running:
    """A worker process; as a context manager it never outlives the test."""

    policy: Path
    bootstrap: str
    prefix: str
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: SECRET)
    program: Sequence[str] = ("interlock",)
    process: subprocess.Popen[str] | None = None
    address: str = ""
    log: Path | None = None

    def __enter__(self) -> Self:
        number = len(list(self.policy.parent.glob(f"{self.prefix}worker-*.log")))
        self.log = self.policy.parent / f"{self.prefix}worker-{number}.log"
        command = [
            sys.executable, "-m", *self.program, "worker", str(self.policy), "--bootstrap", self.bootstrap,
            "--prefix", self.prefix, "--listen", "127.0.0.1:0", *self.options,
        ]  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | self.environment
            )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rpartition(" ")[2]
        assert self.address.startswith("http"), self.log.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGTERM)
        elif self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait; return the exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def status(self) -> dict[str, Any]:
        """Return what /health says; nothing while it does not answer."""
        try:
            with urllib.request.urlopen(self.address, timeout=5) as answer:  # noqa: S310 - our own
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            refused: dict[str, Any] = json.load(error)
            return refused
        except OSError:
            return {}

    def said(self) -> str:
        """Return the log."""
        assert self.log is not None
        return self.log.read_text()


def topics(bootstrap: str, prefix: str, partitions: int = 1) -> None:
    """Create the topics of a test, under a prefix that no other test on this broker has."""
    assert not partitions_of(bootstrap, prefix), f"{prefix} is another test's"
    assert not create(bootstrap, Layout(prefix, partitions)).differences


def keyed(line: bytes) -> bytes:
    """Return the key of an event."""
    return str(msgspec.json.decode(line)["event_id"]).encode()


def spread(lines: Sequence[bytes], partitions: int) -> list[list[bytes]]:
    """Return the events of each partition, as a keyed producer places them."""
    found: list[list[bytes]] = [[] for _ in range(partitions)]
    for line in lines:
        found[partition_of(keyed(line), partitions)].append(line)
    return found


def send(bootstrap: str, prefix: str, events: Events, partitions: int = 1, pack: int = PACK) -> None:
    """Send events, packed as the SDK packs them; the topics take turns."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    header = [(CONTENT_TYPE, JSON_LINES.encode())]
    for topic, place, lines in interleaved(events, partitions, pack):
        producer.send(prefix + topic, b"\n".join(lines), partition=place, headers=header)
    producer.flush()
    producer.close()


def interleaved(events: Events, partitions: int, pack: int) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield packs of all topics in turns, each topic at the pace of its length."""
    queues = []
    for topic, lines in events.items():
        for place, own in enumerate(spread(lines, partitions)):
            packs = [own[at : at + pack] for at in range(0, len(own), pack)]
            queues += [((n + 0.5) / len(packs), topic, place, some) for n, some in enumerate(packs)]
    for _, topic, place, some in sorted(queues, key=lambda one: one[0]):
        yield topic, place, some


def records(bootstrap: str, topic: str) -> list[Any]:
    """Return everything that stands on a topic now, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        places = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for some in consumer.poll(timeout_ms=500).values():
                found += some
        return found
    finally:
        consumer.close()


def census(folder: Path, spans: Sequence[tuple[float, float]]) -> dict[str, list[bytes]]:
    """Return the census events of some spans of days, made by the example's own script, and the outcomes of just these."""
    made = folder / "events"
    if not made.exists():
        subprocess.run([sys.executable, "examples/census/prepare.py", str(made)], check=True, capture_output=True)
    predictions = [event for event in rows(made / "predictions.parquet") if _within(event["ts"], spans)]
    ids = {event["event_id"] for event in predictions}
    outcomes = [event for event in rows(made / "outcomes.parquet") if event["event_id"] in ids]
    return {
        "predictions": [msgspec.json.encode(event) for event in predictions],
        "outcomes": [msgspec.json.encode(event) for event in outcomes],
    }


FIRST = 1_790_812_800_000
DAY = 86_400_000


def _within(ts: int, spans: Sequence[tuple[float, float]]) -> bool:
    return any(FIRST + start * DAY <= ts < FIRST + end * DAY for start, end in spans)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file, nested as serving systems send them."""
    for batch in pq.ParquetFile(path).iter_batches(4096):
        for row in batch.to_pylist():
            event: dict[str, Any] = {}
            for name, value in row.items():
                group, _, field_name = name.partition(".")
                if value is None:
                    continue
                if field_name:
                    event.setdefault(group, {})[field_name] = value
                else:
                    event[group] = value
            yield event
