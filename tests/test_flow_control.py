"""Flow control: of the topics of a shard, the one that is ahead in event time waits while the other has records to read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from faust.types import TP

from interlock.connection import plain
from interlock.policies.load import load_policy
from interlock.protocol import INPUTS
from interlock.streams.app import Group, _pace, build
from interlock.streams.batch import Message
from interlock.streams.checkpoints import Owner, Writer
from interlock.streams.clients import Clients
from interlock.streams.held import Held, Key
from interlock.streams.live import Layout, Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.worker import Worker
from tests.replaying import START, outcome, prediction
from tests.story import POLICY


@dataclass
class Shard:
    """A worker that holds one shard, and an app that reads for it."""

    worker: Worker
    app: Any
    ends: dict[str, int] = field(default_factory=dict)

    def read(self, topic: str, offset: int, minutes: int) -> None:
        """Take in one event of a topic, at a minute of event time."""
        held = self.worker.held[Key("shard", 0)]
        at = START + minutes * 60_000
        made = {"predictions": prediction, "outcomes": outcome}[topic](offset, at)
        assert isinstance(held.it, LiveShard)
        held.it.read(topic, [Message(msgspec.json.encode(made), offset, at)])

    def paused(self) -> set[str]:
        """Return the topics that wait, after the app has looked."""
        _pace(self.app, self.worker, 0, "")
        return {tp.topic for tp in self.app.consumer._paused_partitions}


def shard(then: Callable[[Shard], None]) -> None:
    """Run a test with a shard from which nothing was read; `ends` are what the broker has of each topic."""

    async def run() -> None:
        setup = Setup(load_policy(POLICY.encode(), "story"), None, Layout(1))
        worker = Worker(setup, Clients(plain("127.0.0.1:9")))
        app = build(worker, Group("group"))
        app.finalize()
        app.conf.datadir.rmdir()
        app.consumer._set_active_tps({TP(topic, 0) for topic in INPUTS})
        one = Shard(worker, app)
        worker.ends = lambda place: one.ends.get(place.topic, 0)
        writer = Writer(Owner(setup.run, "shard", 0), 1, 0, [])
        worker.held[Key("shard", 0)] = Held(LiveShard(0, setup), writer)
        then(one)

    asyncio.run(run())


def test_the_topic_that_is_ahead_waits_while_the_other_has_records_to_read() -> None:
    def then(one: Shard) -> None:
        one.ends = {"predictions": 2, "outcomes": 9}
        one.read("outcomes", 0, 0)
        one.read("predictions", 0, 10)
        beside = one.paused()
        one.read("predictions", 1, 11)
        ahead = one.paused()
        one.read("outcomes", 1, 1)

        assert (beside, ahead, one.paused()) == (set(), {"predictions"}, set())

    shard(then)


def test_a_topic_waits_for_no_other_that_has_nothing_to_read() -> None:
    def then(one: Shard) -> None:
        one.ends = {"predictions": 3, "outcomes": 1}
        one.read("outcomes", 0, 0)
        one.read("predictions", 0, 60)
        alone = one.paused()
        one.ends["outcomes"] = 2
        behind = one.paused()
        one.read("outcomes", 1, 0)

        assert (alone, behind, one.paused()) == (set(), {"predictions"}, set())

    shard(then)
