"""Checkpoints on a topic that is really compacted: a zombie's late one changes nothing, the furthest whole one is taken."""

import re
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from interlock.commands.broker import Broker
from interlock.streams.checkpoint import pack
from interlock.streams.checkpoints import Found, Owner, Place, Saved, Writer, pieces
from interlock.streams.live import Outgoing
from tests.living import Running, records, send, topics, until
from tests.processes import admin
from tests.story import QUICK, Story, assert_equal_to_replay, day, judged, lag, told, until_judged

pytestmark = pytest.mark.integration

CLEANED = {
    "segment.ms": "300",
    "max.compaction.lag.ms": "300",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "300",
}
"""Segments so short that the cleaner comes to all of them."""

NOISE = np.random.default_rng(0).bytes(1_200_001)
PADDED = {"padding": NOISE[:-1]}
"""What makes a state three pieces long."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("zombie") / "story", day())


def saved(kafka: Broker, prefix: str, run: str) -> dict[Owner, Saved]:
    """Return the furthest states that stand on the topic."""
    found = Found()
    for record in records(kafka.bootstrap, prefix + "checkpoints"):
        found.put(record.key, record.value)
    states = {Owner(run, kind, 0): found.furthest(Owner(run, kind, 0)) for kind in ("shard", "judge")}
    return {owner: state for owner, state in states.items() if state is not None}


def write(kafka: Broker, prefix: str, messages: Sequence[Outgoing]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for message in messages:
        producer.send(prefix + message.topic, message.value, message.key, partition=0)
    producer.flush()
    producer.close()


def clean(kafka: Broker, prefix: str) -> None:
    """Let the cleaner come over all that stands on the topic now, and wait until it has."""
    topic = prefix + "checkpoints"
    with admin(kafka.bootstrap) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, CLEANED)])

    def cleaned() -> bool:
        write(kafka, prefix, [Outgoing("checkpoints", b"", b"rolls the segment")])
        keys = Counter(record.key for record in records(kafka.bootstrap, topic))
        return all(count == 1 for key, count in keys.items() if key != b"rolls the segment")

    until(cleaned, "the cleaner to leave one record a key")


def forget(kafka: Broker, prefix: str, positions: Mapping[Owner, Saved]) -> None:
    """Remove from the topics all that the furthest states cover: with an older one, counts would be missing."""
    ends = {topic: at for one in positions.values() for topic, at in one.state["positions"].items()}
    with admin(kafka.bootstrap) as client:
        client.delete_records({TopicPartition(prefix + topic, 0): at for topic, at in ends.items() if at})


def went_on(worker: Running) -> list[str]:
    return re.findall(r"(?:shard|judge) 0 (.*)", worker.said())


def test_a_zombies_late_checkpoint_changes_nothing_after_compaction(
    story: Story, kafka: Broker, tmp_path: Path
) -> None:
    prefix, spilling = "zombie.", (*QUICK, "--state-dir", str(tmp_path), "--memory", "1")
    topics(kafka.bootstrap, prefix)
    states, code = [], -1
    for start, end in ((0, 0.3), (0.3, 0.6)):
        with Running(story.policy, kafka.bootstrap, prefix, spilling) as worker:
            send(kafka.bootstrap, prefix, story.part(start, end))
            until(lambda: lag(worker) == 0 and judged([worker]), "all to be read")
            run = worker.status()["run"]
            code = worker.end(signal.SIGTERM)
        states.append(saved(kafka, prefix, run))
    old, new = states
    for (
        owner,
        one,
    ) in old.items():  # it believes that it owns them still: both of its slots, and tombstones for older ones
        zombie = Writer(owner, one.place.epoch, 0, [])
        write(kafka, prefix, zombie.write(one.state) + zombie.write(one.state) + zombie.superseded())
    clean(kafka, prefix)
    forget(kafka, prefix, new)
    with Running(story.policy, kafka.bootstrap, prefix, spilling) as worker:
        send(kafka.bootstrap, prefix, story.part(0.6, 1))
        end = until_judged([worker], story.end())

    assert code == 0
    assert all(new[owner].reach > old[owner].reach and new[owner].place.epoch > old[owner].place.epoch for owner in old)
    assert went_on(worker) == [f"goes on from {one.state['positions']}" for one in new.values()]
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


def further(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state that claims to have come a long way."""
    return {**state, **PADDED, "positions": {topic: at + 1000 for topic, at in state["positions"].items()}}


def spoiled(owner: Owner, one: Saved) -> list[Outgoing]:
    """Return what owners of later epochs left: states torn, damaged, of pieces of two, and a whole old one; and junk."""
    epoch, state = one.place.epoch + 1, further(one.state)
    torn, damaged = pieces(owner, Place(epoch, 0), state, 0), pieces(owner, Place(epoch, 1), state, 0)
    mixed, other = (
        pieces(owner, Place(epoch + 1, 0), state | {"padding": NOISE[:n]}, 0) for n in (1_200_000, 1_200_001)
    )
    flipped = damaged[1]._replace(value=(damaged[1].value or b"")[:-9] + b"x" * 9)
    older = Place(one.place.epoch, 1 - one.place.slot)
    names = [b"junk", b"", pack((*owner, epoch, 0)), pack((*owner, "x", 0, 0)), pack(("", [], {}, 0, 0, 0))]
    junk = [
        Outgoing("checkpoints", value, name) for name in names for value in (None, b"", b"junk", pack(("d", 1, b"x")))
    ]
    gone = [piece._replace(value=None) for piece in pieces(owner, older, one.state, 0)]
    start = {**one.state, "positions": dict.fromkeys(one.state["positions"], 0)}
    old = pieces(owner, Place(epoch + 2, 0), start, 0)
    return [*torn[:1], *torn[2:], damaged[0], flipped, damaged[2], *other[:1], *mixed[1:], *old, *junk, *gone]


def test_of_torn_damaged_and_foreign_checkpoints_the_furthest_whole_one_is_taken(story: Story, kafka: Broker) -> None:
    prefix = "torn."
    topics(kafka.bootstrap, prefix)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        send(kafka.bootstrap, prefix, story.part(0, 0.5))
        until(lambda: lag(worker) == 0 and judged([worker]), "all to be read")
        run = worker.status()["run"]
    new = saved(kafka, prefix, run)
    for owner, one in new.items():
        assert len(pieces(owner, one.place, further(one.state), 0)) == 3
        write(kafka, prefix, spoiled(owner, one))
        write(kafka, prefix, pieces(owner._replace(run="another"), one.place, further(one.state), 0))
    clean(kafka, prefix)
    forget(kafka, prefix, new)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        send(kafka.bootstrap, prefix, story.part(0.5, 1))
        end = until_judged([worker], story.end())

    assert set(new) == {Owner(run, "shard", 0), Owner(run, "judge", 0)}
    assert [line for line in went_on(worker) if line.startswith("goes on")] == [
        f"goes on from {one.state['positions']}" for one in new.values()
    ]
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


def test_a_group_made_anew_under_an_epoch_that_was_there_spares_the_furthest_state() -> None:
    """Another --group counts its generations from 1 again; a torn first state of its must not lie on the furthest."""
    owner, state = Owner("run", "shard", 0), {"positions": {"predictions": 1}}
    for slot in (0, 1):
        writer = Writer(owner, 1, 0, [])
        writer.spare(Place(1, slot))
        first, second = writer.write(state), writer.write(state)
        kept = [message.key for message in pieces(owner, Place(1, slot), state, 0)]

        assert [message.key for message in second] == kept
        assert [message.key for message in first] != kept
