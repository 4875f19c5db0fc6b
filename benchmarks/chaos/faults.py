"""What is done to a run: each fault by its name, and how often it is chosen."""

import signal
from collections.abc import Callable
from typing import NamedTuple

from kafka import KafkaProducer

from benchmarks.chaos.field import Field
from benchmarks.chaos.members import FEWEST, MOST
from interlock.streams.checkpoints import TOPIC, Found, Owner, Saved, pieces
from tests.living import records

SHORT, LONG = 0.5, 6.0
"""Seconds for which something is stopped: shorter and longer than a session."""


class Fault(NamedTuple):
    """A fault: `weight` is how often it is chosen beside others of its kind."""

    name: str
    weight: float
    do: Callable[[Field], None]


def kill_worker(run: Field) -> None:
    """SIGKILL a worker; another one comes at once, or a little later."""
    run.until_ready()
    run.group.kill()
    run.wait(run.uniform(0, 1))
    run.group.fill()


def kill_all(run: Field) -> None:
    """SIGKILL every worker in the same moment, as a machine would that goes down."""
    run.group.thaw()
    count = len(run.group.members)
    while run.group.members:
        run.group.kill()
        run.note("kill worker")
    run.group.fill(count)


def kill_leader(run: Field) -> None:
    """SIGKILL the broker that leads a partition of a topic that workers write or read."""
    topic = ("predictions", "outcomes", "tallies", "checkpoints", "control", "verdicts")[int(run.rng.integers(6))]
    partition = int(run.rng.integers(run.partitions)) if topic in {"predictions", "outcomes", "checkpoints"} else 0
    _kill_node(run, run.cluster.leader(run.prefix + topic, partition))


def kill_coordinator(run: Field) -> None:
    """SIGKILL the broker that coordinates the workers' group."""
    _kill_node(run, run.cluster.coordinator(run.group_name))


def _kill_node(run: Field, number: int | None) -> None:
    node = run.cluster.node(number or 1 + int(run.rng.integers(3)))
    run.cluster.until_whole()
    node.kill()
    run.wait(run.uniform(SHORT, LONG))
    run.cluster.restart(node)


def pause_broker(run: Field) -> None:
    """SIGSTOP a broker: its connections stay, and nobody answers."""
    run.cluster.until_whole()
    node = run.cluster.node(1 + int(run.rng.integers(3)))
    node.signal(signal.SIGSTOP)
    run.wait(run.uniform(SHORT, LONG))
    node.signal(signal.SIGCONT)


def freeze_worker(run: Field) -> None:
    """SIGSTOP a worker, for shorter or longer than its session: it may come back as a zombie."""
    run.group.freeze(run.uniform(SHORT, LONG))


def join(run: Field) -> None:
    """Start one more worker."""
    if len(run.group.members) < MOST:
        run.group.join()


def leave(run: Field) -> None:
    """SIGTERM a worker."""
    if len(run.group.awake()) > FEWEST:
        run.group.leave()


def corrupt_checkpoint(run: Field) -> None:
    """Kill a worker, and damage the newest state of a shard or judge before others read it."""
    run.until_ready()
    run.group.kill()
    run.note("kill worker")
    found = Found()
    for record in records(run.cluster.bootstrap, run.prefix + TOPIC):
        found.put(record.key, record.value)
    kind, number = ("judge", 0) if run.rng.random() < 0.3 else ("shard", int(run.rng.integers(run.partitions)))
    owner = Owner(run.run, kind, number)
    saved = found.furthest(owner)
    if saved is not None:
        _damage(run, owner, saved)
    run.group.fill()


def _damage(run: Field, owner: Owner, saved: Saved) -> None:
    """Write over the first piece of a state: some bytes wrong, half of it gone, or junk."""
    whole = pieces(owner, saved.place, saved.state, owner.number)[0]
    value = whole.value or b""
    flipped = value[:-9] + bytes(byte ^ 0xFF for byte in value[-9:])
    damaged = (flipped, value[: len(value) // 2], b"junk")[int(run.rng.integers(3))]
    producer = KafkaProducer(bootstrap_servers=run.cluster.bootstrap.split(","), acks="all")
    try:
        producer.send(run.prefix + TOPIC, damaged, whole.key, partition=owner.number).get(timeout=60)
    finally:
        producer.close()


KILLS = (
    Fault("kill worker", 0.8, kill_worker),
    Fault("kill leader", 0.1, kill_leader),
    Fault("kill coordinator", 0.1, kill_coordinator),
)
"""One of them in every round."""

OTHERS = (
    Fault("nothing", 0.2, lambda _: None),
    Fault("freeze worker", 0.2, freeze_worker),
    Fault("join", 0.15, join),
    Fault("leave", 0.15, leave),
    Fault("pause broker", 0.1, pause_broker),
    Fault("corrupt checkpoint", 0.15, corrupt_checkpoint),
    Fault("kill all workers", 0.05, kill_all),
)
"""One of them beside it."""

OF_STATE = frozenset({"corrupt checkpoint"})
"""Those that know how Interlock keeps its state."""
