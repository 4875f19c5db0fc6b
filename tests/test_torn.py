"""A step that fails half-way leaves a state of no position: it is saved nowhere, and its signs of life are not told."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.connection import plain
from interlock.errors import Exhausted
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import Owner, Writer
from interlock.streams.clients import Clients
from interlock.streams.held import Held, Key, Place
from interlock.streams.live_shard import LiveShard
from interlock.streams.worker import Worker
from tests.test_live_core import messages, past, setup
from tests.test_store import Full


@dataclass(frozen=True)
class Record:
    """What a consumer brings."""

    value: bytes
    offset: int
    timestamp: int
    headers: tuple[tuple[str, bytes], ...] = (("content-type", b"application/x-ndjson"),)


def records() -> list[Record]:
    return [Record(m.value, m.offset, m.appended) for m in messages(past().predictions, 0, 1, 1)]


async def feed(worker: Worker) -> None:
    some = records()
    for at in range(0, len(some), 20):
        await worker.read(Place("predictions", 0), some[at : at + 20], at, at + 20)


def test_a_state_whose_step_failed_is_saved_nowhere_and_tells_nothing(tmp_path: Path) -> None:
    spill = Full(tmp_path)

    async def run() -> tuple[Worker, Held]:
        worker = Worker(setup(1), Clients(plain("127.0.0.1:9")))
        held = Held(LiveShard(0, setup(1), Budget(20_000, spill.shelf, 32)), Writer(Owner("run", "shard", 0), 1, 0, []))
        worker.held[Key("shard", 0)] = held
        with pytest.raises(Exhausted):
            await feed(worker)
        before = worker.outbox.taken
        await asyncio.wait_for(worker.save_due(), 5)
        await asyncio.wait_for(worker.revoked(), 5)
        worker.tell()
        assert worker.outbox.taken == before
        return worker, held

    worker, held = asyncio.run(run())
    spill.close()

    assert 0 < held.positions["predictions"] < len(records())
    assert held.torn
    assert worker.archive.taken == worker.checkpoints == 0


def test_a_state_that_is_whole_after_each_step_may_be_saved() -> None:
    held = Held(LiveShard(0, setup(1)), Writer(Owner("run", "shard", 0), 1, 0, []))
    some = records()[:40]
    held.take("predictions", some, 40)

    assert not held.torn
    assert held.positions["predictions"] == 40
    assert held.save()
    assert not held.torn
