"""What a worker has to say and Kafka has not taken yet: there is room for some, by number and by bytes."""

import asyncio

import pytest

from interlock.connection import plain
from interlock.streams.clients import Clients
from interlock.streams.live import Outgoing
from interlock.streams.outbox import FULL, HEAVY, Outbox


@pytest.mark.parametrize(("size", "most"), [(1, FULL), (HEAVY // 4, 4)])
def test_there_is_no_room_beyond_a_number_of_messages_or_their_bytes_until_some_are_sent(size: int, most: int) -> None:
    async def run() -> tuple[bool, bool, bool]:
        outbox = Outbox(Clients(plain("127.0.0.1:9")))
        message = Outgoing("tallies", bytes(size))
        outbox.put([message] * (most - 1))
        before, waits = outbox.blocked, asyncio.create_task(outbox.room())
        await waits
        outbox.put([message])
        waits = asyncio.create_task(outbox.room())
        await asyncio.wait({waits}, timeout=0)
        full = outbox.blocked and not waits.done()
        await outbox._done(1)
        await waits
        return before, full, outbox.blocked

    assert asyncio.run(run()) == (False, True, False)
