"""More partitions in mid-stream, without Kafka: what was joined, counted and judged before goes on (STREAM.md §5)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import pytest

from interlock.errors import FindingError, UserError
from interlock.streams import checkpoint, wire
from interlock.streams.batch import Message
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import Found, Owner, Saved, Writer
from interlock.streams.growing import Growth, copies, moved, reached, seeds, standing, unread
from interlock.streams.live import Outgoing
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from interlock.streams.tally import COUNT, SLICE, VERSION
from tests.checkpointing import found, restored
from tests.events import START, History
from tests.test_laws import Cut, Run, run
from tests.test_live_core import MINUTE, NOW, Log, beats, messages, past, setup, timeless, within

MIDDLE = START + 12 * 60 * MINUTE
"""A control is engaged, and two hours' labels are still to come."""

ROWS = 20
"""Rows of a block: each shard has dozens."""

RUN = setup(1).run
Events = Mapping[str, Sequence[bytes]]


def early(i: int) -> list[dict[str, Any]]:
    """Return a prediction that comes after MIDDLE, and its outcome, and for some a correction of that, which come before."""
    at = MIDDLE - 5 * MINUTE + i * 1000
    event = {**msgspec.json.decode(past().predictions[i]), "event_id": f"early-{i}", "ts": MIDDLE + (i + 1) * 10_000}
    said = {"event_id": f"early-{i}", "ts": at, "label": True, "confirmed_ood": i % 2 == 0}
    corrected = {**said, "ts": at + 30_000, "label": False, "revision": 1}
    return [event, said, *[corrected] * (i % 3 == 0)]


@cache
def story() -> History:
    """A history with outcomes that wait at MIDDLE, in vain or not, and events that are sent again after it."""
    more = [early(i) for i in range(60)]
    vain = [{"event_id": f"vain-{i}", "ts": MIDDLE - 4 * MINUTE + i, "label": True} for i in range(20)]
    made = sorted([*map(msgspec.json.decode, past().predictions), *(one[0] for one in more)], key=lambda e: e["ts"])
    said = [*map(msgspec.json.decode, past().outcomes), *vain, *(event for one in more for event in one[1:])]
    said = sorted(said, key=lambda event: event["ts"])
    both = [repeated(list(map(msgspec.json.encode, some))) for some in (made, said)]
    return History(both[0], both[1], past().end)


def repeated(lines: list[bytes]) -> list[bytes]:
    at = next(place for place, line in enumerate(lines) if msgspec.json.decode(line)["ts"] >= MIDDLE)
    return [*lines[: at + 20], *lines[at - 40 : at], *lines[at + 20 :]]


def parts(times: Sequence[int]) -> list[Events]:
    """Return the events between some times of arrival."""
    found: list[dict[str, list[bytes]]] = [{"predictions": [], "outcomes": []} for _ in range(len(times) + 1)]
    for topic in ("predictions", "outcomes"):
        come = 0
        for line in getattr(story(), topic):
            come = max(come, msgspec.json.decode(line)["ts"])
            found[sum(come >= time for time in times)][topic].append(line)
    return list(found)


def feed(shard: LiveShard, events: Events, shards: int, log: Log) -> None:
    """Read a shard's part of some events, after what stands on its partitions already."""
    log.send(shard.greeting())
    rest: dict[str, Sequence[Message]] = {
        topic: [m._replace(offset=m.offset + shard.positions[topic]) for m in messages(some, shard.number, shards, 7)]
        for topic, some in events.items()
    }
    for at in range(0, max(map(len, rest.values())), 20):
        for topic, some in rest.items():
            log.send(shard.read(topic, some[at : at + 20]))


def anew(number: int, shards: int) -> LiveShard:
    return LiveShard(number, setup(shards), Budget(rows=ROWS))


def written(topic: list[Outgoing], shards: Sequence[LiveShard]) -> Found:
    """Write the states of shards behind what stands on `checkpoints`; return all that is found there."""
    for shard in shards:
        topic += Writer(Owner(RUN, "shard", shard.number), 1, shard.number, []).write(shard.snapshot(blocks=True))
    return found(topic)


def began(topic: list[Outgoing], growth: Growth, log: Log, states: Mapping[int, Saved]) -> None:
    """Do what the command does, but for the partitions themselves."""
    for parent, saved in states.items():
        for offset in saved.blocks:
            topic += copies(RUN, growth, parent, topic[offset].value or b"")
        topic += seeds(RUN, growth, parent, saved)
    told = wire.encode(wire.Grown(RUN, growth.after, reached(growth, states)))
    log.send([Outgoing("tallies", told, None, 0)])


def again(topic: Sequence[Outgoing], number: int, shards: int) -> LiveShard:
    saved = found(topic).furthest(Owner(RUN, "shard", number))
    assert saved is not None
    return restored(anew(number, shards), saved, topic)


def grown(sizes: Sequence[int], times: Sequence[int]) -> tuple[Log, list[LiveShard]]:
    """Return what shards say of the parts of the story between `times`, each read by so many of them.

    Where the next part has as many again, growth was begun, and then workers went on as before.
    """
    log, topic = Log(), list[Outgoing]()
    shards = [anew(number, sizes[0]) for number in range(sizes[0])]
    for at, events in enumerate(parts(times)):
        for shard in shards:
            feed(shard, events, sizes[at], log)
        if at + 1 < len(sizes):
            growth = Growth(sizes[at], max(sizes[at + 1 :]))
            began(topic, growth, log, standing(RUN, written(topic, shards), growth))
            shards = [again(topic, number, sizes[at + 1]) for number in range(sizes[at + 1])]
    return log, shards


def counts(log: Log, ends: Mapping[str, int]) -> Counter[tuple[Any, ...]]:
    """Return all counts of panes up to the end of each chain, added up over shards."""
    total: Counter[tuple[Any, ...]] = Counter()
    for told in map(wire.decode, log.values("tallies")):
        if isinstance(told, wire.Tallies):
            record = told.record
            for column in record.counts.T.tolist():
                if column[0] <= ends[record.chain]:
                    column[VERSION], column[SLICE] = record.versions[column[VERSION]], record.slices[column[SLICE]]
                    total[record.chain, *column[:COUNT]] += column[COUNT]
    return Counter({key: n for key, n in total.items() if n})


@cache
def alike() -> tuple[Log, list[LiveShard]]:
    return grown((1,), ())


@cache
def piped() -> Run:
    return run(story(), Cut())


def closed(shards: Sequence[LiveShard]) -> dict[str, int]:
    return {chain: min(one.shard.through[chain] for one in shards) for chain in ("predictions", "joined")}


@pytest.mark.parametrize(
    ("sizes", "times"),
    [
        ((1, 2), (MIDDLE,)),
        ((2, 6), (MIDDLE,)),
        ((1, 2, 4), (MIDDLE - 3 * MINUTE, MIDDLE + 2 * MINUTE)),
        ((1, 1, 2), (MIDDLE - 3 * MINUTE, MIDDLE)),
    ],
    ids=["1 to 2", "2 to 6", "twice", "begun, and done later"],
)
def test_partitions_that_grow_say_what_a_pipeline_says(sizes: Sequence[int], times: Sequence[int]) -> None:
    """Joins, orphans, corrections and repeats across the growth: counts, verdicts and controls are those without it."""
    log, shards = grown(sizes, times)
    whole, alone = alike()
    ends = {chain: min(through, closed(alone)[chain]) for chain, through in closed(shards).items()}
    judge, values = LiveJudge(0, setup(sizes[-1])), [*log.values("tallies"), *beats(sizes[-1])]
    for at in range(0, len(values), 5):
        log.send(judge.read(list(enumerate(values))[at : at + 5], NOW))
        if at % 15 == 0:
            state = checkpoint.encode(judge.snapshot())
            judge = LiveJudge(0, setup(sizes[-1]))
            judge.restore(checkpoint.decode(state))
            for value in log.values("control"):
                judge.published.found(value)
    ran, end, said = piped(), judge.judge.judged(), set(log.values("verdicts"))
    final = {timeless(value) for value in log.values("control") if b'"lease_until"' not in value}
    canonical = {line for line in final if msgspec.json.decode(line)["verdict_id"]}
    total = sum((one.shard.counters for one in shards), start=Counter[str]())

    assert counts(log, ends) == counts(whole, ends)
    assert end > MIDDLE + 20 * 60 * MINUTE
    assert not any(total[name] for name in ("late", "evicted"))
    assert judge.judge.counters["behind"] == 0
    assert within(ran.verdicts.splitlines(), end) <= said <= set(ran.verdicts.splitlines())
    assert within(ran.controls.splitlines(), end) <= canonical <= set(ran.controls.splitlines())


def test_the_story_has_what_may_be_lost_or_doubled_when_partitions_grow() -> None:
    _, shards = grown((1, 2), (MIDDLE,))
    both = shards[0].shard.counters + shards[1].shard.counters

    assert shards[1].shard.counters["joined"] > 500
    assert shards[1].shard.counters["duplicate"] > 20
    assert shards[1].shard.counters["reclaimed"] > 20  # which the other counts as orphans
    assert both["orphan"] - both["reclaimed"] > 20
    assert len(found_blocks(shards)) > 20


def found_blocks(shards: Sequence[LiveShard]) -> set[bytes]:
    topic: list[Outgoing] = []
    written(topic, shards)
    return {message.key or b"" for message in topic if b"block" in (message.key or b"")}


def test_nothing_grows_while_a_state_is_missing_and_what_is_unread_is_named() -> None:
    shard, growth = anew(0, 1), Growth(1, 4)
    with pytest.raises(FindingError, match="no state of partition 0"):
        standing(RUN, Found(), growth)

    assert list(standing(RUN, written([], [shard]), growth)) == [0]
    assert unread("g", "p.", [("outcomes", 3), ("outcomes", 1)]) == [
        "p.outcomes: group g has not read all of partition 1, 3: stop producers, let workers read, and stop them by SIGTERM"
    ]


def test_a_judge_whose_partition_of_checkpoints_becomes_another_one_is_found_there() -> None:
    topic: list[Outgoing] = []
    for number in range(4):
        judge = LiveJudge(number, setup(2))
        judge.read([(number, wire.encode(wire.Topology(RUN, 2)))], NOW)
        topic += Writer(Owner(RUN, "judge", number), 1, number % 2, []).write(judge.snapshot())
    there = list(moved(RUN, found(topic), Growth(2, 4)))

    assert [message.partition for message in there] == [2, 3]
    for number in (2, 3):
        saved = found([m for m in there if m.partition == number]).furthest(Owner(RUN, "judge", number))
        assert saved is not None
        assert saved.state["positions"] == {"tallies": number + 1}


def heard(shards: int, *records: wire.Record) -> LiveJudge:
    judge = LiveJudge(0, setup(shards))
    judge.read([(offset, wire.encode(record)) for offset, record in enumerate(records)], NOW)
    return judge


def test_a_judge_takes_no_counts_of_partitions_that_grew_by_hand() -> None:
    with pytest.raises(UserError, match=r"topics have 2 partitions, the counts on tallies are of 1: only .*--grow"):
        heard(2, wire.Topology(RUN, 1), wire.Topology(RUN, 2))


def test_a_judge_that_was_started_before_partitions_grew_says_so() -> None:
    with pytest.raises(UserError, match="had 1 partitions when this worker was started"):
        heard(1, wire.Topology(RUN, 1), wire.Grown(RUN, 2, []), wire.Topology(RUN, 2))


def test_a_lease_ends_while_growth_was_begun_and_not_done(caplog: pytest.LogCaptureFixture) -> None:
    """Judging waits for shards that are not there: guards must not rely on it, and someone must hear why."""
    beat = wire.Beat(RUN, 0, 1, NOW)
    before = heard(1, wire.Topology(RUN, 1), beat)
    after = heard(1, wire.Topology(RUN, 1), beat, wire.Grown(RUN, 2, []), wire.Topology(RUN, 1), beat)

    assert before.fresh(NOW)
    assert not after.fresh(NOW)
    assert "repeat `interlock topics --grow 2`" in caplog.text
