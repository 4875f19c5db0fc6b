"""Law 3 and what the join remembers: neither memory nor disk nor a restart from blocks shows in what a shard says."""

import gzip
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.load import load_policy
from interlock.streams import checkpoint
from interlock.streams.batch import Message
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import ANEW, BLOCK, Found, Owner, Writer
from interlock.streams.live import Layout, Outgoing, Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from interlock.streams.spill import Spill
from tests.checkpointing import found, restored
from tests.test_join import DAY, START, outcome, prediction
from tests.test_live_core import NOW, messages, past, setup

OWNER = Owner("run", "shard", 0)
STATES = Path(__file__).parent / "states"
Chunk = tuple[str, Sequence[Message]]


@pytest.fixture(scope="module")
def spill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spill]:
    made = Spill(tmp_path_factory.mktemp("spill"))
    yield made
    made.close()


def chunks(seed: int) -> list[Chunk]:
    """Return the history as chunks of both topics in turns."""
    rng = np.random.default_rng(seed)
    left = {topic: messages(getattr(past(), topic), 0, 1, 7) for topic in ("predictions", "outcomes")}
    found: list[Chunk] = []
    while any(left.values()):
        topic = str(rng.choice([topic for topic, some in left.items() if some]))
        size = int(rng.integers(1, 40))
        found.append((topic, left[topic][:size]))
        left[topic] = left[topic][size:]
    return found


def from_log(log: Sequence[Outgoing], budget: Budget) -> LiveShard:
    """Return the shard of the furthest state on a topic."""
    shard, saved = LiveShard(0, setup(1), budget), found(log).furthest(OWNER)
    return shard if saved is None else restored(shard, saved, log)


@given(seed=st.integers(0, 1000), rows=st.sampled_from([3, 40, 500]))
@settings(max_examples=3, deadline=None)
def test_what_a_shard_says_depends_on_no_memory_no_disk_and_no_restart(spill: Spill, seed: int, rows: int) -> None:
    rng, log = np.random.default_rng(seed), list[Outgoing]()
    plain, spilled = LiveShard(0, setup(1)), LiveShard(0, setup(1), Budget(1, spill.shelf, rows))
    again, writer = LiveShard(0, setup(1), Budget(1, spill.shelf, rows)), Writer(OWNER, 1, 0, [])
    for topic, some in chunks(seed):
        said = plain.read(topic, some)

        assert spilled.read(topic, some) == said
        assert again.read(topic, some) == said
        if rng.random() < 0.3:
            log += writer.write(again.snapshot(blocks=True)) + writer.superseded()
            again.close()
            again = from_log(log, Budget(1, spill.shelf, rows))
    joins = [one.shard.join for one in (plain, spilled, again)]
    assert plain.shard.counters["joined"] > 1000
    assert [one.shard.counters for one in (spilled, again)] == [plain.shard.counters] * 2
    assert joins[2].sizes() == joins[1].sizes()
    assert (
        len({message.key for message in log if message.key and BLOCK.encode() in message.key}) > rows < 500
        or rows == 500
    )
    for one in (spilled, again):
        one.close()


def test_a_label_finds_its_prediction_of_90_days_before_and_not_one_older(spill: Spill) -> None:
    policy = """
lateness: 0s
labels: {join_ttl: 90d, maturity: 1d}
slos: [{name: decision_ece_1h, objective: o, target: "<= 0.1", window: 1h, action_on_breach: notify}]
"""
    made = Setup(load_policy(policy.encode(), "old.yaml"), None, Layout(1))
    shard = LiveShard(0, made, Budget(1, spill.shelf, 50))
    lines = {
        "predictions": [prediction(f"p{n}", n * 72) for n in range(2000)],  # 100 days
        "outcomes": [outcome(f"p{n}", n * 72 + 90 * 1440 + n % 2) for n in range(2000)],
    }
    for at in range(0, 2000, 25):  # by turns: the outcomes' time is 90 days ahead
        for topic, events in lines.items():
            packed = b"\n".join(map(msgspec.json.encode, events[at : at + 25]))
            shard.read(topic, [Message(packed, at, START + 365 * DAY)])
    shard.close()

    assert shard.shard.counters["joined"] == 1000
    assert shard.shard.counters["outcomes"] == 2000
    assert shard.shard.counters["evicted"] == 0


def states(rows: int = 20) -> tuple[list[Outgoing], list[Outgoing], LiveShard]:
    """Return two states of a shard as they are written, the second with blocks that the first has not."""
    shard, writer = LiveShard(0, setup(1), Budget(rows=rows)), Writer(OWNER, 1, 0, [])
    sent = []
    some = chunks(1)
    for half in (some[: len(some) // 2], some[len(some) // 2 :]):
        for topic, chunk in half:
            shard.read(topic, chunk)
        sent.append(writer.write(shard.snapshot(blocks=True)))
    return sent[0], sent[1], shard


def test_a_state_with_a_damaged_block_is_refused_in_one_line_and_the_one_before_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second, _ = states()
    place = next(n for n, message in enumerate(second) if message.key and BLOCK.encode() in message.key)
    spoiled = second[place]._replace(value=(second[place].value or b"")[:-1] + b"x")
    with caplog.at_level(logging.WARNING):
        shard = from_log([*first, *second[:place], spoiled, *second[place + 1 :]], Budget())

    assert shard.positions == from_log(first, Budget()).positions
    assert [record.message for record in caplog.records] == [
        "shard 0: a block of epoch 1 is damaged",
        "shard 0: the checkpoint of epoch 1 names a block that is gone or damaged; an older one is sought",
    ]


def of_blocks(messages: Sequence[Outgoing]) -> list[Outgoing]:
    return [message for message in messages if message.key and BLOCK.encode() in message.key]


def owned(log: list[Outgoing], epoch: int) -> tuple[LiveShard, Writer]:
    """Return the furthest shard of a log and its writer, for an owner that begins now."""
    named = restored_names(log)
    older = found(log).older(OWNER, epoch, named)
    return from_log(log, Budget(rows=20)), Writer(OWNER, epoch, 0, older, named)


def alone(shard: LiveShard, writer: Writer, log: list[Outgoing]) -> list[int]:
    """Write states until none of the owner before is needed; return how many blocks each wrote."""
    sizes: list[int] = []
    while not sizes or not writer.alone:
        new = writer.write(shard.snapshot(blocks=True))
        sizes.append(len(of_blocks(new)))
        log += new + writer.superseded()
    return sizes


def test_a_new_owner_writes_the_old_blocks_anew_some_at_a_time_and_then_nobody_elses_stand() -> None:
    first, second, _ = states()
    log = [*first, *second]
    owner, writer = owned(log, 2)
    sizes = alone(owner, writer, log)
    new = writer.write(owner.snapshot(blocks=True))
    log += new + writer.superseded()
    last = {message.key: message for message in log}
    left = [message for message in last.values() if message.value is not None]
    after = from_log(list(last.values()), Budget(rows=20))

    assert len(sizes) > 2
    assert max(sizes) == ANEW
    assert of_blocks(new) == []
    assert {checkpoint.unpack(message.key or b"")[3] for message in left} == {2}
    assert checkpoint.encode(after.snapshot()) == checkpoint.encode(owner.snapshot())


def test_a_zombie_that_deletes_its_own_blocks_takes_none_that_the_new_owner_rests_on() -> None:
    """It has run ahead and forgotten them all, while the new owner needs them still."""
    first, _, _ = states()
    log = list(first)
    owner, writer = owned(log, 2)
    some = chunks(1)
    for topic, chunk in some[len(some) // 2 :]:
        owner.read(topic, chunk)
    alone(owner, writer, log)
    log += [message._replace(value=None) for message in of_blocks(first)]
    after = from_log(log, Budget(rows=20))

    assert after.positions == owner.positions
    assert checkpoint.encode(after.snapshot()) == checkpoint.encode(owner.snapshot())


def test_nothing_of_other_epochs_is_deleted_while_a_state_of_ours_rests_on_it() -> None:
    first, second, _ = states()
    owner, writer = owned([*first, *second], 2)
    writer.write(owner.snapshot(blocks=True))
    owner.shard.join.predictions.forget()
    early = writer.superseded()

    assert not writer.alone
    assert early == []


def test_a_worker_that_keeps_a_shard_writes_nothing_anew_unless_another_may_have_had_it_meanwhile() -> None:
    first, second, shard = states()
    log, mine = [*first, *second], Writer(OWNER, 1, 0, [])
    sizes = []
    for epoch in (2, 4):
        later = Writer(OWNER, epoch, 0, [], restored_names(log))
        later.after(mine)
        sizes.append(len(of_blocks(later.write(shard.snapshot(blocks=True)))))
        mine = later

    assert sizes == [0, ANEW]


def test_a_shard_under_a_policy_that_follows_remembers_the_same_in_the_same_blocks(spill: Spill) -> None:
    plain, spilled = LiveShard(0, setup(1), Budget(rows=20)), LiveShard(0, setup(1), Budget(1, spill.shelf, 20))
    writer, some = Writer(OWNER, 1, 0, []), chunks(2)
    for topic, chunk in some[: len(some) // 2]:
        plain.read(topic, chunk)
        spilled.read(topic, chunk)
    writer.write(spilled.snapshot(blocks=True))
    grown = spilled.under(setup(1))
    again = writer.write(grown.snapshot(blocks=True))
    for topic, chunk in some[len(some) // 2 :]:
        assert grown.read(topic, chunk) == plain.read(topic, chunk)

    assert of_blocks(again) == []
    assert checkpoint.encode(grown.snapshot()) == checkpoint.encode(plain.snapshot())
    grown.close()


def test_a_block_goes_when_neither_of_the_last_two_states_names_it() -> None:
    first, second, _ = states()
    log = [*first, *second]
    owner, writer = owned(log, 2)
    alone(owner, writer, log)
    writer.write(owner.snapshot(blocks=True))
    writer.superseded()
    store = owner.shard.join.predictions
    gone = store._blocks[0].name
    store.forget()
    counts = []
    for _ in range(3):
        writer.write(owner.snapshot(blocks=True))
        counts.append(len(writer.superseded()))

    assert gone is not None
    assert counts == [0, 1, 0]


def restored_names(log: Sequence[Outgoing]) -> set[Any]:
    found = Found()
    for offset, message in enumerate(log):
        found.put(message.key, message.value, offset)
    saved = found.furthest(OWNER)
    assert saved is not None
    return {block.name for blocks in saved.blocks.values() for block in blocks}


def test_states_of_the_version_before_are_read() -> None:
    """Both were written by the last commit of version 2, after 160 messages of each topic in tens, by turns."""
    old = checkpoint.decode(gzip.decompress((STATES / "shard-2.gz").read_bytes()))
    resumed, whole = LiveShard(0, setup(1)), LiveShard(0, setup(1))
    resumed.restore(old)
    sources = {topic: messages(getattr(past(), topic), 0, 1, 7) for topic in ("predictions", "outcomes")}
    tallies = whole.greeting()
    for at in range(0, 160, 10):
        for topic, some in sources.items():
            tallies += whole.read(topic, some[at : at + 10])
    judge = LiveJudge(0, setup(1))
    judge.restore(checkpoint.decode(gzip.decompress((STATES / "judge-2.gz").read_bytes())))

    assert resumed.positions == whole.positions == {"predictions": 160, "outcomes": 160, "abuse": 0}
    assert judge.position == len([message for message in tallies if message.topic == "tallies"])
    new = judge.position
    for at in range(160, 310, 10):
        for topic, some in sources.items():
            said = whole.read(topic, some[at : at + 10])
            assert resumed.read(topic, some[at : at + 10]) == said
            judge.read(list(enumerate((m.value or b"" for m in said if m.topic == "tallies"), new)), NOW)
            new = judge.position
    assert judge.judge.judged() > 0
