"""More events than a worker can take: what becomes of its memory, its lag, and of never-events among them.

All is sent as fast as one producer can, by frames, while the worker reads; the two and the broker share this machine.
"""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import workload
from benchmarks.live_topics import Keyed, fill, frame_messages, make_topics
from benchmarks.live_worker import taken, wait
from interlock.commands.broker import Broker
from tests.living import Running, records

PARTITIONS, NEVER = 4, 10
"""Partitions of the inputs, and never-events, evenly spread."""

SPACING = 12
"""Milliseconds between events: 50,000 in a pane."""


@dataclass(frozen=True, slots=True)
class Overload:
    """What happened; all was counted, and every never-event acted on.

    Events a second that a worker takes alone, that came, and that it took meanwhile; the most records waiting; the most
    memory (bytes) once a tenth was counted, and of all; seconds from the last event sent until all was counted.
    """

    alone: float
    offered: float
    meanwhile: float
    lag: int
    early: int
    most: int
    drained: float


def overloaded(broker: Broker, events: int, folder: Path) -> Overload:
    """Return what happened to so many events.

    Raises:
        RuntimeError: one was not counted, or not acted on, in ten minutes.
    """
    policy = folder / "overload.yaml"
    policy.write_text(workload.policy_text())
    messages = list(_messages(events))
    make_topics(broker.bootstrap, "alone.", PARTITIONS)
    fill(broker.bootstrap, "alone.predictions", messages, PARTITIONS)
    alone = taken(policy, broker.bootstrap, "alone.", (len(messages), events + NEVER))
    make_topics(broker.bootstrap, "over.", PARTITIONS)
    with Running(policy, broker.bootstrap, "over.", environment={}) as worker:
        wait(lambda: bool(worker.status().get("shards")), "the worker's partitions")
        return _measured(worker, messages, events, events / alone.wall)


def _measured(worker: Running, messages: list[Keyed], events: int, alone: float) -> Overload:
    topic, early, lags = worker.prefix + "predictions", 0, list[int]()
    sending = threading.Thread(target=fill, args=(worker.bootstrap, topic, messages, PARTITIONS))
    start = time.perf_counter()
    sending.start()
    while sending.is_alive():
        status = worker.status()
        lags.append(sum(status.get("lag", {}).values()))
        early = early or (_most_memory(worker) if _counted(status) > events / 10 else 0)
        time.sleep(0.1)
    sent, meanwhile = time.perf_counter() - start, _counted(worker.status())
    wait(lambda: _counted(worker.status()) == events + NEVER, "all events to be counted")
    drained = time.perf_counter() - start - sent
    wait(lambda: len(_versions(worker)) == NEVER, "all never-events to be acted on")
    return Overload(
        alone, events / sent, meanwhile / sent, max(lags), early or _most_memory(worker), _most_memory(worker), drained
    )


def _messages(events: int) -> Iterator[Keyed]:
    """Yield frames, and never-events among them, each of a model version of its own."""
    batches = list(workload.predictions(events, spacing=SPACING))
    frames = list(frame_messages(batches))
    first: Any = batches[0].column("ts")[0]
    for place, frame in enumerate(frames):
        yield frame
        number, turn = divmod(place * NEVER, len(frames))
        if turn < NEVER:
            yield _never(number, first.as_py() + place * events // len(frames) * SPACING)


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


def _most_memory(worker: Running) -> int:
    if worker.process is None:
        raise RuntimeError("it does not run")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.process.pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
