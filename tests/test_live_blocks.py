"""Blocks on a real Kafka whose cleaner has come round: a zombie's late ones change nothing; a lost disk is made anew."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from interlock.commands.broker import Broker
from interlock.connection import Connection
from interlock.streams import checkpoint
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import BLOCK, Owner, Writer
from interlock.streams.clients import Clients
from interlock.streams.held import Held, Key
from interlock.streams.live import Outgoing
from interlock.streams.live_shard import LiveShard
from interlock.streams.restoring import Restorer
from interlock.streams.spill import Spill
from tests.living import topics
from tests.test_live_core import setup
from tests.test_live_store import chunks
from tests.test_live_zombie import clean, write

pytestmark = pytest.mark.integration

ROWS = 20
"""Rows of a block: a history of 2,160 predictions has a hundred."""


def fed(start: float, end: float, shard: LiveShard) -> LiveShard:
    """Let a shard read a part of the history."""
    some = chunks(4)
    for topic, chunk in some[int(start * len(some)) : int(end * len(some))]:
        shard.read(topic, chunk)
    return shard


def restored(kafka: Broker, prefix: str, generation: int, budget: Budget) -> Held:
    restorer = Restorer(setup(1), Clients(Connection(bootstrap=kafka.bootstrap, prefix=prefix)), budget)

    async def whole() -> Held:
        held = (await restorer.restore([Key("shard", 0)], generation))[Key("shard", 0)]
        await restorer.fill(Key("shard", 0), held)
        return held

    return asyncio.run(whole())


def of_blocks(messages: Sequence[Outgoing]) -> int:
    return sum(BLOCK.encode() in (message.key or b"") for message in messages)


def test_a_zombies_late_blocks_change_nothing_after_compaction_and_a_lost_disk_is_made_anew(
    kafka: Broker, tmp_path: Path
) -> None:
    prefix, owner = "blocks.", Owner(setup(1).run, "shard", 0)
    topics(kafka.bootstrap, prefix)
    first = Writer(owner, 1, 0, [])
    zombie = fed(0, 0.4, LiveShard(0, setup(1), Budget(rows=ROWS)))
    begun = first.write(zombie.snapshot(blocks=True))
    write(kafka, prefix, begun)
    spill = Spill(tmp_path / "first")
    held = restored(kafka, prefix, 2, Budget(1, spill.shelf, ROWS))
    assert isinstance(held.it, LiveShard)
    fed(0.4, 0.8, held.it)
    went_on = held.save()
    write(kafka, prefix, went_on + held.writer.superseded())
    late = first.write(fed(0.4, 0.6, zombie).snapshot(blocks=True))
    write(kafka, prefix, [*late, *first.superseded()])
    clean(kafka, prefix)
    spill.close()
    other = Spill(tmp_path / "second")
    again = restored(kafka, prefix, 3, Budget(1, other.shelf, ROWS))
    assert isinstance(again.it, LiveShard)
    found = dict(again.it.positions)
    whole = fed(0, 1, LiveShard(0, setup(1), Budget(rows=ROWS)))
    fed(0.8, 1, again.it)
    states = [checkpoint.encode(one.snapshot()) for one in (again.it, whole)]
    other.close()

    assert of_blocks(begun) > 10
    assert of_blocks(went_on) > 10
    assert of_blocks(late) > 0
    assert found == held.it.positions
    assert again.it.positions == whole.positions
    assert states[0] == states[1]
