"""More partitions in mid-stream, without Kafka: what was joined, counted and judged before goes on (STREAM.md §5)."""

from collections.abc import Sequence

import msgspec
import pytest

from interlock.errors import FindingError, UserError
from interlock.streams import checkpoint, wire
from interlock.streams.batch import Message
from interlock.streams.checkpoints import Found, Owner, Writer
from interlock.streams.growing import children, drained, reached, seed
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from tests.events import HOUR, START
from tests.test_live_core import NOW, Log, beats, expected, messages, past, setup, timeless, within

MIDDLE = START + 12 * HOUR
"""A control is engaged, and an hour's labels are still to come."""

TOPICS = ("predictions", "outcomes")


def halves() -> tuple[dict[str, list[bytes]], dict[str, list[bytes]]]:
    found: tuple[dict[str, list[bytes]], dict[str, list[bytes]]] = ({}, {})
    for topic in TOPICS:
        for line in getattr(past(), topic):
            found[msgspec.json.decode(line)["ts"] >= MIDDLE].setdefault(topic, []).append(line)
    return found


def feed(shard: LiveShard, events: dict[str, list[bytes]], shards: int, log: Log) -> None:
    """Read a shard's part of some events, after what stands on its partitions already."""
    log.send(shard.greeting())
    rest: dict[str, Sequence[Message]] = {
        topic: [m._replace(offset=m.offset + shard.positions[topic]) for m in messages(some, shard.number, shards, 7)]
        for topic, some in events.items()
    }
    for at in range(0, max(map(len, rest.values())), 20):
        for topic, some in rest.items():
            log.send(shard.read(topic, some[at : at + 20]))


def grown(before: int, after: int) -> tuple[Log, list[LiveShard]]:
    """Return what shards say of the first half as `before` partitions, of the second as `after`."""
    log, (first, second) = Log(), halves()
    shards = [LiveShard(number, setup(before)) for number in range(before)]
    for shard in shards:
        feed(shard, first, before, log)
    states = {shard.number: checkpoint.decode(checkpoint.encode(shard.snapshot())) for shard in shards}
    record = wire.encode(wire.Grown(setup(before).run, after, reached(states, after)))
    log.topics["tallies"].append(log.topics["tallies"][0]._replace(value=record))
    again = [LiveShard(number, setup(after)) for number in range(after)]
    for shard in again:
        state = states.get(shard.number) or seed(states[shard.number % before])
        shard.restore(checkpoint.decode(checkpoint.encode(state)))
    for shard in again:
        feed(shard, second, after, log)
    return log, again


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 6)])
def test_partitions_that_grow_with_joins_pending_say_what_a_pipeline_says(before: int, after: int) -> None:
    log, shards = grown(before, after)
    judge = LiveJudge(0, setup(after))
    values = [*log.values("tallies"), *beats(after)]
    for at in range(0, len(values), 50):
        log.send(judge.read(list(enumerate(values))[at : at + 50], NOW))
        if at % 200 == 0:
            state = checkpoint.encode(judge.snapshot())
            judge = LiveJudge(0, setup(after))
            judge.restore(checkpoint.decode(state))
            for value in log.values("control"):
                judge.published.found(value)
    verdicts, controls = expected()
    said, end = set(log.values("verdicts")), judge.judge.judged()
    final = {timeless(value) for value in log.values("control") if b'"lease_until"' not in value}
    counted = sum((shard.shard.counters for shard in shards), start=shards[0].shard.counters.__class__())

    assert not any(counted[name] for name in ("late", "evicted", "duplicate"))
    assert judge.judge.counters["behind"] == 0
    assert end > MIDDLE + 20 * HOUR
    assert said <= set(verdicts)
    assert within(verdicts, end) <= said
    assert within(controls, end) <= {line for line in final if msgspec.json.decode(line)["verdict_id"]} | final
    assert counted["joined"] == len([1 for line in past().outcomes if b"nobody" not in line])


def test_a_child_counts_nothing_that_its_parent_has_counted() -> None:
    log, shards = Log(), [LiveShard(0, setup(1))]
    feed(shards[0], halves()[0], 1, log)
    child = LiveShard(1, setup(2))
    child.restore(seed(shards[0].snapshot()))

    assert child.shard.counters == {}
    assert all(opened.merged().shape[1] == 0 for opened in child.shard.open.values())
    assert child.shard.through == shards[0].shard.through
    assert child.shard.join.predictions.size == shards[0].shard.join.predictions.size
    assert set(child.positions.values()) == {0}


def test_nothing_grows_while_records_are_unread_or_a_state_is_missing() -> None:
    shard, found = LiveShard(0, setup(1)), Found()
    run, ends = setup(1).run, {("predictions", 0): 3, ("outcomes", 0): 0, ("abuse", 0): 0}
    with pytest.raises(FindingError, match="no state of this group"):
        drained(run, found, 1, ends)
    for message in Writer(Owner(run, "shard", 0), 1, 0, []).write(shard.snapshot()):
        found.put(message.key, message.value)
    with pytest.raises(FindingError, match="predictions, partition 0: 3 records are not read"):
        drained(run, found, 1, ends)

    states = drained(run, found, 1, dict.fromkeys(ends, 0))
    for message in children(run, states, 4):
        found.put(message.key, message.value)
    assert [found.furthest(Owner(run, "shard", n)) is not None for n in range(5)] == [True] * 4 + [False]


def test_a_judge_takes_no_counts_of_partitions_that_grew_by_hand() -> None:
    judge = LiveJudge(0, setup(2))
    run = setup(2).run
    judge.read([(0, wire.encode(wire.Topology(run, 1)))], NOW)

    with pytest.raises(UserError, match="topics --grow"):
        judge.read([(1, wire.encode(wire.Topology(run, 2)))], NOW)
