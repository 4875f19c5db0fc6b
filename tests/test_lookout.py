"""While a shard's memory is read back its never-events are noticed all the same, and told once in the end (STREAM.md §4)."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.connection import plain
from interlock.streams import wire
from interlock.streams.batch import Message
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import Owner, Saved, Writer
from interlock.streams.checkpoints import Place as Slot
from interlock.streams.clients import Clients
from interlock.streams.health import EXCEPTIONS, Health
from interlock.streams.held import Held, Key, Place
from interlock.streams.live import Outgoing
from interlock.streams.live_shard import Foreseen, LiveShard
from interlock.streams.watchdog import Reading
from interlock.streams.worker import Worker
from tests.test_live_core import messages, past, setup

BAD: dict[str, Any] = {"decision": "deny", "features": {"amount": 950.0}}
EVERY = 20
"""One prediction of so many breaks the rule."""


@cache
def predictions() -> Sequence[Message]:
    events = list(map(msgspec.json.decode, past().predictions))
    broken = [event | BAD if n % EVERY == 7 else event for n, event in enumerate(events)]
    return messages(list(map(msgspec.json.encode, broken)), 0, 1, 7)


def violations(said: Sequence[Outgoing]) -> list[bytes]:
    tallies = [one.value or b"" for one in said if one.topic == "tallies"]
    return [one for one in tallies if isinstance(wire.decode(one), wire.Triggered)]


def fed(until: int, budget: Budget | None = None) -> LiveShard:
    shard = LiveShard(0, setup(1), budget)
    shard.read("predictions", predictions()[:until])
    shard.read("outcomes", messages(past().outcomes, 0, 1, 7)[: until * 9 // 10])
    return shard


@given(cut=st.integers(0, 300), size=st.integers(1, 40))
@settings(max_examples=4, deadline=None)
def test_without_its_memory_a_shard_notices_the_same_violations_and_finds_each_of_them_again(
    cut: int, size: int
) -> None:
    shard = fed(cut, Budget(rows=20))
    before = shard.positions.copy()
    early, rest, told = shard.forgetful(), predictions()[cut:], Foreseen()
    foreseen = [one for at in range(0, len(rest), size) for one in early.foresee(rest[at : at + size], told)]
    shard.foreseen = told

    assert shard.positions == before, "it is another shard"
    assert early.shard.join.sizes()["outcomes"] == 0
    assert violations(foreseen) == violations(shard.read("predictions", rest))
    assert len(foreseen) == len(violations(foreseen)) >= len(rest) * 7 // EVERY - 1 > 0
    assert shard.shard.counters["unconfirmed"] == 0


def test_a_violation_that_turns_out_to_repeat_an_old_event_is_an_exception_that_is_told_once() -> None:
    shard, told = fed(100), Foreseen()
    again = msgspec.json.encode(msgspec.json.decode(past().predictions[697]) | BAD)
    repeat = Message(again, 100, past().end)
    foreseen = shard.forgetful().foresee([repeat], told)
    shard.foreseen = told
    read = violations(shard.read("predictions", [repeat]))
    counters = dict(shard.shard.counters)
    shard.read("predictions", [msg._replace(offset=msg.offset + 1) for msg in predictions()[100:120]])

    assert (len(foreseen), read) == (1, [])
    assert counters["unconfirmed"] == shard.shard.counters["unconfirmed"] == 1
    assert "unconfirmed" in EXCEPTIONS


def test_what_is_late_waits_for_the_shard_itself_which_knows_whether_it_is_a_repeat() -> None:
    shard, told = fed(100), Foreseen()
    event = msgspec.json.decode(past().predictions[300]) | BAD
    lines = [msgspec.json.encode(event | {"event_id": name}) for name in (event["event_id"], "late")]
    message = Message(b"\n".join(lines), 100, past().end)
    foreseen = shard.forgetful().foresee([message], told)
    shard.foreseen = told

    assert foreseen == []
    assert len(violations(shard.read("predictions", [message]))) == 1
    assert shard.shard.counters["unconfirmed"] == 0


def test_a_violation_ahead_of_its_turn_is_not_missed_before_its_turn() -> None:
    shard, told = fed(100), Foreseen()
    shard.forgetful().foresee(predictions()[100:140], told)
    shard.foreseen = told
    shard.read("predictions", predictions()[100:110])
    shard = shard.under(setup(1))
    early = shard.shard.counters["unconfirmed"]
    shard.read("predictions", predictions()[110:140])
    kept = shard.foreseen is told

    assert early == shard.shard.counters["unconfirmed"] == 0
    assert kept, "also by policies that follow"


def test_what_it_remembers_of_its_own_stays_bounded() -> None:
    shard = LiveShard(0, setup(1), Budget(rows=20))
    for at in range(0, 100, 5):
        shard.read("predictions", predictions()[at : at + 5])
        shard.shard.join.forget(60)

    assert 60 - 20 < shard.shard.join.predictions.size <= 60 + 35
    assert shard.shard.counters["predictions"] == 700


def holding(held: Held) -> Worker:
    worker = Worker(setup(1), Clients(plain("127.0.0.1:9")))
    worker.held[Key("shard", 0)] = held
    return worker


def unfinished() -> Held:
    """Return a shard whose memory is still to be read back."""
    shard = fed(50)
    writer = Writer(Owner("run", "shard", 0), 1, 0, [])
    held = Held(shard, writer, missing=Saved(Slot(1, 0), {"positions": shard.positions}, {7: []}))
    held.filling = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type] # for ever
    return held


def test_until_its_memory_is_back_a_shard_counts_nothing_saves_nothing_and_does_not_stand_still() -> None:
    class App:
        rebalancing = False

    async def run() -> None:
        held = unfinished()
        worker = holding(held)
        reads = asyncio.create_task(worker.read(Place("predictions", 0), [], 50, 51))
        await asyncio.wait_for(worker.save_due(), 5)
        await asyncio.wait_for(worker.revoked(), 5)
        status = Health(worker).status()
        reached = Reading(App(), worker, lambda _, at: at, 60.0).reached()

        assert not reads.done()
        assert held.positions["predictions"] == 50
        assert worker.archive.taken == worker.checkpoints == 0
        assert status["restoring"] == [0]
        assert set(reached.values()) == {None}
        worker.keep([])
        await asyncio.wait_for(reads, 5)
        assert held.positions["predictions"] == 50, "it was let go meanwhile"

    asyncio.run(run())


def test_memory_that_cannot_be_read_back_ends_the_worker() -> None:
    async def run() -> BaseException | None:
        worker = holding(held := unfinished())

        async def fails() -> None:
            raise OSError("gone")

        held.filling = asyncio.create_task(fails())
        held.filling.add_done_callback(worker._filled)
        await asyncio.wait_for(worker.read(Place("predictions", 0), [], 50, 51), 5)
        assert held.positions["predictions"] == 50
        return worker.fault

    with pytest.raises(OSError, match="gone"):
        raise asyncio.run(run()) or AssertionError


@pytest.mark.parametrize("told", [False, True])
def test_reading_back_that_ends_like_a_cancelled_task_ends_the_worker_unless_it_was_told_to(told: bool) -> None:
    """As a client's does when its broker is away: the shard would count nothing, for ever and in silence."""

    async def run() -> BaseException | None:
        worker = holding(held := unfinished())
        assert held.filling is not None
        held.filling.add_done_callback(worker._filled)
        filling = held.filling
        if told:
            held.leave()
        else:
            filling.cancel()
        await asyncio.wait({filling})
        await asyncio.sleep(0)
        return worker.fault

    fault = asyncio.run(run())
    assert str(fault) == ("None" if told else "nobody reads a shard's memory back any more")


def test_a_message_that_is_no_event_is_passed_over() -> None:
    shard = fed(100).forgetful()
    junk, bad = (Message(value, 100 + n, past().end) for n, value in enumerate((b"junk", b"")))

    assert shard.foresee([junk, bad], Foreseen()) == []
    assert shard.positions["predictions"] == 102
