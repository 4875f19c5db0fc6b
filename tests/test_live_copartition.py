"""The topics of a shard stay together, whoever joins and leaves: else a worker would count predictions without outcomes."""

import asyncio
import random
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from interlock.commands.broker import Broker
from interlock.connection import plain
from interlock.errors import UserError
from interlock.policies.load import load_policy
from interlock.protocol import INPUTS
from interlock.streams.app import Group, build
from interlock.streams.clients import Clients
from interlock.streams.held import Place, readers
from interlock.streams.live import Layout, Setup
from interlock.streams.worker import Worker
from tests.living import Running, topics, until
from tests.processes import admin
from tests.story import POLICY, QUICK

STEPS, SHARDS = 300, 8
TOPICS = {**dict.fromkeys(INPUTS, SHARDS), "tallies": 2, "commands": 1}
CLUSTER = SimpleNamespace(partitions_for_topic=lambda topic: set(range(TOPICS[topic])))

Owned = dict[str, set[int]]
"""Partitions by topic."""


def assignor() -> Any:
    """Return a worker's own assignor, as its app makes it."""

    async def make() -> Any:
        setup = Setup(load_policy(POLICY.encode(), "story"), None, Layout(SHARDS))
        app = build(Worker(setup, Clients(plain("127.0.0.1:9"))), Group("group"))
        app.conf.datadir.rmdir()
        app.finalize()
        return app.assignor

    return asyncio.run(make())


@dataclass
class Members:
    """A group: who is in it, by member id; those who left may come back with what they remember."""

    pool: list[Any]
    assign: Callable[[Any, Mapping[str, Any]], Mapping[str, ConsumerProtocolMemberAssignment]]
    inside: dict[str, Any] = field(default_factory=dict)

    def step(self, choice: random.Random) -> list[Owned]:
        """Let some join and leave, and the leader assign; return what each member owns."""
        outside = [one for one in self.pool if one not in self.inside.values()]
        for one in choice.sample(outside, min(len(outside), choice.choice((0, 1, 1, 2) if self.inside else (1, 2)))):
            self.inside[f"member-{choice.getrandbits(64):x}"] = one
        leavers = choice.sample(sorted(self.inside), min(len(self.inside) - 1, choice.choice((0, 0, 1, 1, 2))))
        for name in leavers:
            del self.inside[name]
        metadata = {name: one.metadata(set(TOPICS)) for name, one in self.inside.items()}
        told = self.assign(choice.choice(list(self.inside.values())), metadata)
        found = []
        for name, one in self.inside.items():
            owned = {topic: set(partitions) for topic, partitions in told[name].assignment}
            if told[name].user_data:
                one.on_assignment(told[name])
            found.append({topic: owned.get(topic, set()) for topic in TOPICS})
        return found


@pytest.fixture(scope="module")
def pool() -> list[Any]:
    return [assignor() for _ in range(6)]


def apart(owned: Owned) -> bool:
    """Return whether a worker would refuse to go on with this."""
    try:
        readers({Place(topic, n) for topic, partitions in owned.items() for n in partitions})
    except UserError:
        return True
    return False


@pytest.mark.parametrize("seed", range(6))
def test_the_topics_of_a_shard_stay_together_and_are_shared_evenly_over_joins_and_leaves(
    pool: list[Any], seed: int
) -> None:
    choice = random.Random(seed)
    group = Members(pool, lambda leader, metadata: leader.assign(CLUSTER, metadata))
    for _ in range(STEPS):
        owned = group.step(choice)

        assert not any(map(apart, owned))
        for topic, partitions in TOPICS.items():
            assert sorted(n for one in owned for n in one[topic]) == list(range(partitions))
            assert max(len(one[topic]) for one in owned) - min(len(one[topic]) for one in owned) <= 1


def test_round_robin_would_part_them_in_every_history(pool: list[Any]) -> None:
    for seed in range(6):
        choice = random.Random(seed)
        group = Members(pool, lambda _, metadata: _round_robin(metadata))
        parted = sum(any(map(apart, group.step(choice))) for _ in range(STEPS))

        assert parted > STEPS // 2


def _round_robin(metadata: Mapping[str, Any]) -> Mapping[str, ConsumerProtocolMemberAssignment]:
    """Assign as aiokafka does where Faust is not told otherwise."""
    plain = {name: SimpleNamespace(subscription=one.subscription) for name, one in metadata.items()}
    found: Mapping[str, ConsumerProtocolMemberAssignment] = RoundRobinPartitionAssignor.assign(CLUSTER, plain)
    return found


def members(kafka: Broker, group: str) -> list[Owned] | None:
    """Return what each member of a group owns, by the broker's word; None while it is not stable."""
    with admin(kafka.bootstrap) as client:
        (state,) = client.describe_groups([group]).values()
    if state["group_state"] != "Stable":
        return None
    found = []
    for member in state["members"]:
        owned: Owned = {}
        for one in member["member_assignment"]["assigned_partitions"]:
            owned[one["topic"]] = set(one["partitions"])
        found.append(owned)
    return found


@pytest.mark.integration
def test_real_workers_that_join_leave_and_die_keep_them_together(kafka: Broker, tmp_path: Path) -> None:
    prefix, shards = "parts.", 4
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    topics(kafka.bootstrap, prefix, shards)
    options = (*QUICK, "--group", "parts")
    with ExitStack() as stack:
        running: list[Running] = []

        def join() -> None:
            running.append(stack.enter_context(Running(policy, kafka.bootstrap, prefix, options)))

        def settled() -> list[Owned]:
            """Wait until all who run own something together: all of it, each shard once."""

            def look() -> list[Owned] | None:
                shared = [set(worker.status().get("shards", {})) for worker in running]
                whole = sorted(n for one in shared for n in one) == [str(n) for n in range(shards)]
                owned = members(kafka, "parts") if whole else None
                return owned if owned and len(owned) == len(running) else None

            return until(look, "the group to settle")

        join()
        seen = [settled()]
        for step in (join, join, join):
            step()
            seen.append(settled())
        running.pop(0).end()
        seen.append(settled())
        code = running.pop(0).end(signal.SIGTERM)
        seen.append(settled())

    assert code == 0
    for owned in seen:
        for one in owned:
            parts = {topic: one.get(prefix + topic, set()) for topic in INPUTS}
            assert len({frozenset(some) for some in parts.values()}) == 1, parts
    shares = [sorted(len(one.get(prefix + "predictions", ())) for one in owned) for owned in seen]
    assert shares == [[4], [2, 2], [1, 1, 2], [1, 1, 1, 1], [1, 1, 2], [2, 2]]
