"""From a never-event sent to a guard whose mode has changed, beside two bare hops of the same messages.

Every never-event must engage anew: it is of a model version that was never broken. A model's judge tells 64 versions
apart, so there are several models. Light traffic of harmless events goes on all the time.
"""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from benchmarks import workload
from benchmarks.live_hops import HOPS
from benchmarks.live_topics import make_topics
from benchmarks.live_worker import wait
from interlock.emit import Emitter
from interlock.guard import Guard
from interlock.protocol import ControlRecord
from tests.living import Running

MODELS = "model-a", "model-b"
FINE = "harmless"
"""The version of the harmless events."""

WARM = 4
"""Never-events that go before the measured ones."""

BETWEEN = 0.05, 0.15
"""Seconds between never-events, evenly spread, so that they fall in step with nothing."""

BACKGROUND = 100
"""Harmless events per second."""

PAST = 3_600_000
"""Age (ms) of the first harmless events: what follows closes their panes, by which a judge gets to know the models."""

SLO = '- {name: never_event_violations, objective: "kept", target: "== 0", window: rolling, action_on_breach: kill_switch}\n'
POLICY = workload.HEAD.replace("model: claims\n", "") + workload.NEVER + "slos:\n" + SLO


@dataclass(slots=True)
class Watch:
    """When each never-event was sent, and when its effect was seen, by its id; seconds of one clock."""

    sent: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    def see(self, name: str) -> None:
        """Note that an effect is there; the first time counts."""
        self.seen.setdefault(name, time.perf_counter())

    def delays(self) -> list[float]:
        """Wait for all effects; return milliseconds, and forget what was sent."""
        wait(lambda: self.sent.keys() <= self.seen.keys(), "the effects of all never-events")
        found = [(self.seen[name] - at) * 1e3 for name, at in self.sent.items()]
        self.sent.clear()
        return found


def guarded(policy: Path, bootstrap: str, prefix: str, load: tuple[int, int]) -> list[float]:
    """Return milliseconds from sending to a guard's mode, through a worker; `load`: never-events, partitions."""
    events, partitions = load
    make_topics(bootstrap, prefix, partitions)
    policy.write_text(POLICY)
    watch = Watch()

    def changed(model: str, control: ControlRecord) -> None:
        version = control.scope.get("version", "")
        if guard.mode(model=model, version=version) == "killed":
            watch.see(_name(model, version))

    with (
        Running(policy, bootstrap, prefix, environment={}),
        Guard(bootstrap, prefix=prefix, on_change=changed) as guard,
        traffic(bootstrap, prefix) as emitter,
    ):
        wait(lambda: {guard.mode(model=m, version=FINE) for m in MODELS} == {"normal"}, "leases of all models")
        return timed(emitter, watch, events)


def hopped(bootstrap: str, prefix: str, load: tuple[int, int]) -> list[float]:
    """Return milliseconds from sending to a consumer behind two bare hops; `load`: never-events, partitions."""
    events, partitions = load
    make_topics(bootstrap, prefix, partitions)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({prefix + name: {"num_partitions": 1, "replication_factor": 1} for name in HOPS})
    admin.close()
    watch = Watch()
    command = [sys.executable, "-m", "benchmarks.live_hops", bootstrap, prefix, str(partitions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as hops:
        try:
            with listening(bootstrap, prefix + HOPS[-1], watch), traffic(bootstrap, prefix) as emitter:
                return timed(emitter, watch, events)
        finally:
            hops.communicate()


def timed(emitter: Emitter, watch: Watch, events: int) -> list[float]:
    """Send never-events and return the milliseconds of each; some that are not measured go before them."""
    _send_never(emitter, watch, range(events, events + WARM))
    watch.delays()
    _send_never(emitter, watch, range(events))
    return watch.delays()


def _send_never(emitter: Emitter, watch: Watch, numbers: range) -> None:
    rng = np.random.default_rng(0)
    for number in numbers:
        model, version = MODELS[number % len(MODELS)], f"v{number // len(MODELS)}"
        name = _name(model, version)
        watch.sent[name] = time.perf_counter()
        emitter.prediction(event_id=name, model=model, model_version=version, decision="approve", score=0.0)
        time.sleep(rng.uniform(*BETWEEN))


def _name(model: str, version: str) -> str:
    return f"never-{model}-{version}"


@contextlib.contextmanager
def traffic(bootstrap: str, prefix: str) -> Iterator[Emitter]:
    """Send harmless events all the while, by an emitter that packs nothing; it may be used for others."""
    stop = threading.Event()
    with Emitter(bootstrap, prefix=prefix, linger_ms=0) as emitter:
        thread = threading.Thread(target=_send_harmless, args=(emitter, stop))
        thread.start()
        try:
            yield emitter
        finally:
            stop.set()
            thread.join()


def _send_harmless(emitter: Emitter, stop: threading.Event) -> None:
    start, sent, past = time.monotonic(), 0, time.time_ns() // 1_000_000 - PAST
    while not stop.wait(max(0.0, start + sent / BACKGROUND - time.monotonic())):
        emitter.prediction(
            event_id=f"fine-{sent}",
            ts=past if sent < BACKGROUND else None,
            model=MODELS[sent % len(MODELS)],
            model_version=FINE,
            decision="approve",
            score=0.9,
        )
        sent += 1


@contextlib.contextmanager
def listening(bootstrap: str, topic: str, watch: Watch) -> Iterator[None]:
    """Note what comes out of the last hop, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_listen(bootstrap, topic, watch, stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def _listen(bootstrap: str, topic: str, watch: Watch, stop: threading.Event) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for line in (line for record in records for line in record.value.split(b"\n")):
                    watch.see(str(msgspec.json.decode(line)["event_id"]))
    finally:
        await consumer.stop()
