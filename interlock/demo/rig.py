"""All that the live demo runs: a broker, the pipeline, two sinks, a serving process, a sender, and who plays PagerDuty."""

import json
import os
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from interlock.commands.broker import Broker
from interlock.commands.receiver import Receiver
from interlock.commands.replay import SECRET
from interlock.commands.sink import ROUTING_KEY
from interlock.demo.processes import Child, Children, last_lines, undisturbed
from interlock.demo.serving import Slice, Task
from interlock.errors import UserError
from interlock.streams.topics import Layout
from interlock.streams.topics_admin import create

PARTITIONS = 4

IDLE_AFTER = "600"
"""Seconds: a machine that is slow is not a source that is silent."""

DEMO_KEY = "0" * 32
"""The routing key where the receiver plays PagerDuty; it takes any."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent and by which policy it is judged; `logs` is a folder, `seconds` how long sending takes."""

    policy: Path
    predictions: Path
    outcomes: Path
    clickhouse: Path
    logs: Path
    secret: str
    model: str
    slices: Sequence[Slice]
    seconds: float


@dataclass
class Rig:
    """What runs, by name."""

    stream: Stream
    broker: Broker
    children: Children
    receiver: Receiver | None
    running: dict[str, Child] = field(default_factory=dict)

    def start(self, name: str, *arguments: str, **environment: str) -> Child:
        """Start one of our processes."""
        self.running[name] = self.children.start(name, *arguments, **environment)
        return self.running[name]

    def command(self, name: str, *arguments: str, **environment: str) -> Child:
        """Start one of our commands, on the demo's broker."""
        place = ("--bootstrap", self.broker.bootstrap, "--prefix", "")
        return self.start(name, "interlock", *arguments, *place, **environment)

    def send(self) -> Child:
        """Begin to send."""
        files = (str(self.stream.predictions), str(self.stream.outcomes))
        module = "interlock.demo.sender"
        return self.start("sender", module, self.broker.bootstrap, *files, str(self.stream.seconds))

    def check(self) -> None:
        """Raise UserError if anything has ended that should run; a sender that has sent all may end."""
        for name, child in self.running.items():
            if name != "sender" or not child.finished():
                child.check()
        if not self.broker.is_running:
            raise UserError(f"demo: the broker ended by itself; {last_lines(self.broker.folder / 'kafka.log')}")

    def stop(self, *names: str) -> None:
        """Let these end in order, and wait for each."""
        for name in names:
            self.running.pop(name).stop()


@contextmanager
def rigged(stream: Stream, folder: Path) -> Iterator[Rig]:
    """Run everything but the sender, with what is temporary in a folder; nothing outlives the context."""
    with ExitStack() as stack:
        put_off = stack.enter_context(undisturbed())
        receiver = None if os.environ.get(ROUTING_KEY) else stack.enter_context(Receiver(folder))
        broker = stack.enter_context(Broker.start(folder / "kafka"))
        create(broker.bootstrap, Layout(partitions=PARTITIONS))
        environment = {"TMPDIR": str(folder), SECRET: stream.secret}
        children = stack.enter_context(Children(stream.logs, environment))
        stack.callback(put_off)
        rig = Rig(stream, broker, children, receiver)
        _start(rig)
        yield rig


def _start(rig: Rig) -> None:
    stream = rig.stream
    listen = ("--listen", "127.0.0.1:0", "--idle-after", IDLE_AFTER)
    rig.command("worker", "worker", str(stream.policy), *listen)
    rig.command("ClickHouse sink", "sink", "clickhouse", "--directory", str(stream.clickhouse))
    if rig.receiver is None:
        rig.command("PagerDuty sink", "sink", "pagerduty")
    else:
        place = ("--base-url", rig.receiver.url, "--ca", str(rig.receiver.ca))
        rig.command("PagerDuty sink", "sink", "pagerduty", *place, **{ROUTING_KEY: DEMO_KEY})
    task = msgspec.json.encode(Task(stream.model, list(stream.slices))).decode()
    rig.start("serving process", "interlock.demo.serving", rig.broker.bootstrap, task)


class Health:
    """Asks the worker every second how it is, in a thread of its own; `status` is what it said last."""

    def __init__(self, address: str) -> None:
        """Begin to ask."""
        self.status: dict[str, Any] = {}
        self._address, self._over = address, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def counted(self) -> int:
        """Events that the shards have read."""
        counters = [shard["counted"] for shard in self.status.get("shards", {}).values()]
        return sum(one.get("predictions", 0) + one.get("outcomes", 0) for one in counters)

    @property
    def watermark(self) -> int:
        """Event time (ms) before which no shard expects a prediction; 0 while nobody knows."""
        marks = [shard["watermarks"].get("predictions", 0) for shard in self.status.get("shards", {}).values()]
        return min(marks, default=0)

    @property
    def judged(self) -> int:
        """Event time (ms) up to which everything is judged; 0 before anything is."""
        return max((judge["judged"] or 0 for judge in self.status.get("judges", {}).values()), default=0)

    def close(self) -> None:
        """Ask no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            try:
                with urllib.request.urlopen(self._address, timeout=5) as answer:  # noqa: S310 - our own worker
                    self.status = json.load(answer)
            except OSError:
                continue  # it is busy, or ends; whether it lives, its process says
