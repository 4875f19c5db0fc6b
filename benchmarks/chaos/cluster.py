"""A real Kafka of three nodes on this machine: replicas 3, of which 2 must have a record before it is acknowledged."""

import base64
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from interlock.commands.broker import free_port
from interlock.commands.broker_jars import jars, java
from interlock.commands.broker_process import Running, on_leash
from interlock.commands.broker_settings import java_command, write_settings
from interlock.streams.reach import answers

NODES = 3
PATIENCE = 180.0
"""Seconds in which a cluster must be whole again."""

LOOK = 0.1

REPLICATED = (
    "default.replication.factor=3",
    "min.insync.replicas=2",
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=2",
    "unclean.leader.election.enable=false",
    "replica.lag.time.max.ms=3000",
    "controller.quorum.election.timeout.ms=500",
    "controller.quorum.fetch.timeout.ms=1500",
)

OFFSETS_TOPIC, OFFSETS_PARTITIONS = "__consumer_offsets", 4


@dataclass
class Node:
    """A broker and controller in a folder; its process is another after every restart."""

    number: int
    folder: Path
    port: int
    controller: int
    process: Running | None = None
    leash: subprocess.Popen[str] | None = None
    paused: bool = False

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and not self.process.ended(0)

    def spawn(self, command: Sequence[str]) -> None:
        """Start its process; it ends with ours."""
        pid, self.leash = on_leash([*command, "kafka.Kafka", str(self.folder / "server.properties")], self.log)
        self.process, self.paused = Running(pid), False

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / "kafka.log"

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        if self.process is not None:
            self.process.signal(number)
        self.paused = number == signal.SIGSTOP

    def kill(self) -> None:
        """Kill it as a crash would, and wait until it is gone."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            self.process.ended(30)
        if self.leash is not None:
            self.leash.communicate(timeout=30)
        self.process = self.leash = None


@dataclass
class Cluster:
    """Three nodes; as a context manager none outlives this process."""

    folder: Path
    nodes: list[Node] = field(default_factory=list)
    _commands: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path) -> Self:
        """Format the folders of three nodes, start them, and wait until all answer."""
        made = cls(folder.absolute())
        ports = iter(_ports(2 * NODES))
        made.nodes = [Node(n, made.folder / f"node{n}", next(ports), next(ports)) for n in range(1, NODES + 1)]
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        for node in made.nodes:
            made._prepare(node, cluster)
        try:
            for node in made.nodes:
                node.spawn(made._commands[node.number])
            made.until_whole()
        except BaseException:
            made.stop()
            raise
        return made

    def _prepare(self, node: Node, cluster: str) -> None:
        settings = write_settings(node.folder, node.port, node.controller)
        voters = ",".join(f"{one.number}@127.0.0.1:{one.controller}" for one in self.nodes)
        own = (*REPLICATED, f"node.id={node.number}", f"controller.quorum.voters={voters}")
        settings.write_text(settings.read_text("utf-8") + "\n".join(own) + "\n", "utf-8")  # the last of a name holds
        command = self._commands[node.number] = java_command(java(), jars(), node.folder)
        subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)],
            check=True,
            capture_output=True,
        )

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes, as clients take them."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def node(self, number: int) -> Node:
        """Return a node by its number."""
        return self.nodes[number - 1]

    def restart(self, node: Node) -> None:
        """Start a node that was killed, on its data."""
        node.spawn(self._commands[node.number])

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the number of the node that leads a partition; None while none does, or nobody can say."""
        try:
            with self.admin() as admin:
                found = [one for one in _partitions(admin, [topic]) if one["partition_index"] == partition]
        except (KafkaError, OSError):
            return None
        leader = int(found[0]["leader_id"]) if found else -1
        return leader if leader > 0 else None

    def coordinator(self, group: str) -> int | None:
        """Return the number of the node that coordinates a group: the leader of the partition that holds its offsets."""
        return self.leader(OFFSETS_TOPIC, java_hash(group) % OFFSETS_PARTITIONS)

    def until_whole(self) -> None:
        """Wait until all nodes answer and every partition has all of its replicas in sync."""
        end = time.monotonic() + PATIENCE
        while not self.is_whole():
            if time.monotonic() > end:
                raise RuntimeError(f"the cluster is not whole in {PATIENCE:.0f} s")
            time.sleep(LOOK)

    def is_whole(self) -> bool:
        """Return whether all nodes answer and every partition has all of its replicas in sync.

        Raises:
            RuntimeError: a node has ended by itself.
        """
        for node in self.nodes:
            if not node.is_running:
                raise RuntimeError(f"node {node.number} has ended: {node.log.read_text('utf-8')[-2000:]}")
        if not all(answers("127.0.0.1", node.port) for node in self.nodes):
            return False
        try:
            with self.admin() as admin:
                return len(admin.describe_cluster()["brokers"]) == NODES and all(
                    len(one["isr_nodes"]) == NODES for one in _partitions(admin, None)
                )
        except (KafkaError, OSError):
            return False

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Open a client that administers the cluster."""
        there = [f"127.0.0.1:{node.port}" for node in self.nodes if node.is_running and not node.paused]
        client = KafkaAdminClient(bootstrap_servers=there, request_timeout_ms=5_000)
        try:
            yield client
        finally:
            client.close()

    def stop(self) -> None:
        """Kill all nodes: nothing of theirs is needed any more."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _partitions(admin: KafkaAdminClient, topics: list[str] | None) -> list[dict[str, Any]]:
    return [part for topic in admin.describe_topics(topics) for part in topic["partitions"]]


def _ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def java_hash(text: str) -> int:
    """Return Java's String.hashCode without its sign, as Kafka maps a group to a partition of its offsets."""
    value = 0
    for unit in text:
        value = (31 * value + ord(unit)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
