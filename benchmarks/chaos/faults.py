"""What is done to a run: each fault by its name, and how often it is chosen."""

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from kafka import KafkaProducer
from kafka.errors import KafkaError

from benchmarks.chaos.field import Field
from benchmarks.chaos.members import FEWEST, MOST
from interlock.streams.checkpoints import TOPIC, Found, Owner, Saved, block_key, key
from tests.living import records

SHORT, LONG = 0.5, 6.0
"""Seconds for which something is stopped: shorter and longer than a session."""


PATIENCE = 20.0
"""Seconds in which there should be a state to be damaged."""

ANSWERS = 180.0
"""Seconds in which brokers should answer; a client's own attempt takes up to 30."""

T = TypeVar("T")


class Fault(NamedTuple):
    """A fault: `weight` is how often it is chosen beside others of its kind, before all begin anew."""

    name: str
    weight: int
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
    run.until_whole()
    node.kill()
    run.wait(run.uniform(SHORT, LONG))
    run.cluster.restart(node)


def pause_broker(run: Field) -> None:
    """SIGSTOP a broker: its connections stay, and nobody answers."""
    run.until_whole()
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


def fill_disk(run: Field) -> None:
    """Leave no room on the disk that workers keep pending events on, for some seconds in which other things happen."""
    if run.disk is not None:
        run.make_room()
        run.disk.fill(time.monotonic() + run.uniform(LONG, 2 * LONG))
        run.disk.keep_full(run.group.pids)


def corrupt(run: Field, *, block: bool) -> None:
    """Kill a worker, and damage the newest state before others read it: a block that it names, or what names the blocks."""
    run.until_ready()
    run.group.kill()
    run.note("kill worker")
    end = time.monotonic() + PATIENCE
    while not (damaged := _corrupted(run, block=block)) and not block and time.monotonic() < end:
        run.wait(0.5)
    if damaged:
        run.note(f"a damaged {'block' if block else 'state'}")
    run.group.fill()


def _corrupted(run: Field, *, block: bool) -> bool:
    """Damage a state, of a shard or a judge, or a shard's block; return whether there was one."""
    found, values = Found(), dict[bytes, bytes]()
    for record in _again(run, lambda: records(run.cluster.bootstrap, run.prefix + TOPIC)):
        found.put(record.key, record.value, record.offset)
        values[record.key] = record.value or b""
    shards = [Owner(run.run, "shard", int(number)) for number in run.rng.permutation(run.partitions)]
    for owner in shards if block or run.rng.random() < 0.7 else [Owner(run.run, "judge", 0)]:
        saved = found.furthest(owner)
        name = saved and (_newest_block(owner, saved) if block else key(owner, saved.place, 0))
        if name:
            _damage(run, owner, name, values)
            return True
    return False


def _newest_block(owner: Owner, saved: Saved) -> bytes | None:
    names = [block.name for offset in sorted(saved.blocks) for block in saved.blocks[offset]]
    return block_key(owner, names[-1]) if names and names[-1] else None


def _damage(run: Field, owner: Owner, name: bytes, values: Mapping[bytes, bytes]) -> None:
    """Write over a record: some bytes wrong, half of it gone, or junk."""
    value = values[name]
    flipped = value[:-9] + bytes(byte ^ 0xFF for byte in value[-9:])
    damaged = (flipped, value[: len(value) // 2], b"junk")[int(run.rng.integers(3))]
    servers = run.cluster.bootstrap.split(",")
    producer = _again(run, lambda: KafkaProducer(bootstrap_servers=servers, acks="all"))
    try:
        producer.send(run.prefix + TOPIC, damaged, name, partition=owner.number).get(timeout=60)
    finally:
        producer.close()


def _again(run: Field, do: Callable[[], T]) -> T:
    """Return what asking the brokers brings, again while one of them is down."""
    end = time.monotonic() + ANSWERS
    while True:
        try:
            return do()
        except KafkaError:
            if time.monotonic() > end:
                raise
            run.wait(0.5)


KILLS = (
    Fault("kill worker", 8, kill_worker),
    Fault("kill leader", 1, kill_leader),
    Fault("kill coordinator", 1, kill_coordinator),
)
"""One of them in every round."""

OTHERS = (
    Fault("nothing", 1, lambda _: None),
    Fault("freeze worker", 3, freeze_worker),
    Fault("join", 2, join),
    Fault("leave", 2, leave),
    Fault("pause broker", 2, pause_broker),
    Fault("disk full", 3, fill_disk),
    Fault("corrupt checkpoint", 1, partial(corrupt, block=False)),
    Fault("corrupt block", 2, partial(corrupt, block=True)),
    Fault("kill all workers", 1, kill_all),
)
"""One of them beside it."""

OF_STATE = frozenset({"disk full", "corrupt checkpoint", "corrupt block"})
"""Those that know how Interlock keeps its state."""
