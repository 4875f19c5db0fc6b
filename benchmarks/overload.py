"""More events than a worker can take: what becomes of its memory, its lag, and of never-events among them.

Frames are sent as fast as one producer can, while the worker reads; the two and the broker share this machine. So few
events stand in a pane that judging is most of a worker's work: that is what makes the producer so much faster.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import workload
from benchmarks.live_topics import Keyed, fill, frame_messages, make_topics
from benchmarks.live_worker import positions, taken
from interlock.commands.broker import Broker
from tests.living import Running, records

PARTITIONS, NEVER, ALONE = 4, 10, 4
"""Partitions of the inputs; never-events, evenly spread; the part of the events by which the worker's own rate is told."""

SPACING = 60_000
"""Milliseconds between events: 10 in a pane."""

LOOK, PATIENCE = 0.1, 900.0
"""Seconds between looks, and until it gives up."""


@dataclass(frozen=True, slots=True)
class Overload:
    """What happened; all was counted, and every never-event acted on.

    Events a second that a worker takes alone, that came, and that it took meanwhile; the most records waiting, as it told
    and as there were; memory (bytes) when a tenth was counted, and the most of all; seconds from the last event sent until
    all was counted.
    """

    alone: float
    offered: float
    meanwhile: float
    told: int
    waiting: int
    early: int
    most: int
    drained: float


@dataclass
class Watch:
    """Looks at a worker now and then."""

    worker: Running
    early_at: float
    lags: list[int] = field(default_factory=list)
    early: int = 0

    def until(self, enough: Callable[[int], bool]) -> int:
        """Look until what was counted is enough; return it.

        Raises:
            RuntimeError: it is not, for a long time.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status = self.worker.status()
            counted = _counted(status)
            self.lags.append(sum(status.get("lag", {}).values()))
            self.early = self.early or (most_memory(self.worker) if counted >= self.early_at else 0)
            if enough(counted):
                return counted
            time.sleep(LOOK)
        raise RuntimeError(f"waited {PATIENCE:.0f} s: {self.worker.said()}")


def overloaded(broker: Broker, events: int, folder: Path) -> Overload:
    """Return what happened to so many events.

    Raises:
        RuntimeError: one was not counted, or not acted on.
    """
    policy = folder / "overload.yaml"
    policy.write_text(workload.policy_text())
    alone = _alone(policy, broker.bootstrap, events // ALONE)
    messages = _messages(events)
    make_topics(broker.bootstrap, "over.", PARTITIONS)
    with Running(policy, broker.bootstrap, "over.", environment={}) as worker:
        watch = Watch(worker, events / 10)
        watch.until(lambda _: bool(worker.status().get("shards")))
        return _measured(watch, messages, events, alone)


def _alone(policy: Path, bootstrap: str, events: int) -> float:
    """Return the events per second of a worker to which nothing comes meanwhile."""
    messages = list(frame_messages(workload.predictions(events, spacing=SPACING)))
    make_topics(bootstrap, "alone.", PARTITIONS)
    fill(bootstrap, "alone.predictions", messages, PARTITIONS)
    return events / taken(policy, bootstrap, "alone.", (len(messages), events)).wall


def _measured(watch: Watch, messages: Sequence[Keyed], events: int, alone: float) -> Overload:
    worker = watch.worker
    sending = threading.Thread(
        target=fill, args=(worker.bootstrap, worker.prefix + "predictions", messages, PARTITIONS)
    )
    start = time.perf_counter()
    sending.start()
    meanwhile = watch.until(lambda _: not sending.is_alive())
    sent, waiting = time.perf_counter() - start, len(messages) - positions([worker])
    watch.until(lambda counted: counted == events + NEVER)
    drained = time.perf_counter() - start - sent
    watch.until(lambda _: len(_versions(worker)) == NEVER)
    told, most = max(watch.lags), most_memory(worker)
    return Overload(alone, events / sent, meanwhile / sent, told, waiting, watch.early, most, drained)


def _messages(events: int) -> list[Keyed]:
    """Return frames, and never-events among them, each of a model version of its own."""
    batches = list(workload.predictions(events, spacing=SPACING))
    frames = list(frame_messages(batches))
    first: Any = batches[0].column("ts")[0]
    found = list[Keyed]()
    for place, frame in enumerate(frames):
        found.append(frame)
        for number in range(place * NEVER // len(frames), (place + 1) * NEVER // len(frames)):
            found.append(_never(number, first.as_py() + place * events // len(frames) * SPACING))
    return found


def _never(number: int, ts: int) -> Keyed:
    name = f"never-{number}"
    event = {"event_id": name, "ts": ts, "model": "claims", "model_version": name, "segment": {"tenant": "t0"}}
    return name.encode(), msgspec.json.encode(event | {"decision": "approve", "score": 0.0})


def _counted(status: dict[str, Any]) -> int:
    return sum(shard["counted"].get("predictions", 0) for shard in status.get("shards", {}).values())


def _versions(worker: Running) -> set[str]:
    """Return the model versions of never-events for which a control stands on the topic."""
    found = [record.value or b"" for record in records(worker.bootstrap, worker.prefix + "control")]
    return {name.decode() for value in found for name in re.findall(rb"never-\d+", value)}


def most_memory(worker: Running) -> int:
    """Return the most memory that a worker has had at a time, in bytes.

    Raises:
        RuntimeError: it does not run.
    """
    if worker.process is None:
        raise RuntimeError("it does not run")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.process.pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
