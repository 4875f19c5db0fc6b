"""Shards and judges as they were: read from `checkpoints` when a worker is assigned their partitions (STREAM.md §4)."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec import DecodeError

from interlock.errors import Unreachable, UserError
from interlock.partitions import partition_of
from interlock.protocol import read_control
from interlock.streams.blocks import Name
from interlock.streams.budget import Budget
from interlock.streams.catching_up import read_all, read_at
from interlock.streams.checkpoints import TOPIC, Found, Owner, Saved, Writer
from interlock.streams.clients import Clients, reading
from interlock.streams.held import Held, Key, Place, reader
from interlock.streams.live import Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from interlock.streams.patience import lasting

RESTORE, AGAIN = 60.0, 1.0
"""Seconds for which no state may come while states are read back; until a broker is tried again."""

SILENT = f"Kafka gave no states back in {RESTORE:.0f} s"

log = logging.getLogger("interlock.worker")


class Restorer:
    """Reads states, and where topics begin."""

    def __init__(self, setup: Setup, clients: Clients, budget: Budget) -> None:
        """Keep what all reads share."""
        self._budget = budget
        self.setup, self._connect, self._prefix = setup, clients.consumer, clients.prefix
        self.taken_back = 0
        """Records that were read so far, to see that it goes on."""

    async def restore(self, missing: Sequence[Key], generation: int) -> dict[Key, Held]:
        """Return shards and judges in the state that has come furthest, or new; `fill` completes what is `missing`."""
        if not missing:
            return {}
        found = Found()
        homes = sorted({self._home(key) for key in missing})
        async for record in read_all(self._connect, self._prefix + TOPIC, homes):
            self.taken_back += 1
            found.put(record.key, record.value, record.offset)
        return {key: await self._restored(key, found, generation) for key in missing}

    def writer(self, key: Key, generation: int, older: list[bytes], named: Collection[Name]) -> Writer:
        """Return what writes the states of a shard or judge; `older` are the keys that it supersedes, `named` its blocks."""
        return Writer(Owner(self.setup.run, *key), generation, self._home(key), older, named)

    def _home(self, key: Key) -> int:
        """Return the partition of `checkpoints` that holds a state."""
        return key.number % self.setup.layout.shards

    async def _restored(self, key: Key, found: Found, generation: int) -> Held:
        if others := found.runs(*key) - {self.setup.run}:
            log.warning("%s %d: %d states of another policy or reference are left alone", *key, len(others))
        owner = Owner(self.setup.run, *key)
        saved = found.furthest(owner)
        named = {block.name for some in saved.blocks.values() for block in some if block.name} if saved else set()
        older = found.older(owner, generation, named)
        it = LiveJudge(key.number, self.setup) if key.kind == "judge" else self._shard(key.number)
        held = Held(it, self.writer(key, generation, older, named))
        if saved is not None:
            held.writer.spare(saved.place)
            it.restore(saved.state)
            held.missing = saved if saved.blocks else None
            held.saved, held.saved_size = dict(held.moved), held.size
        elif found.left(owner):
            held.damaged = True
            log.warning("%s %d: none of its checkpoints is whole; all is counted again from the first record on", *key)
        if isinstance(it, LiveJudge):
            await self._learn(it)
        log.info("%s %d %s", *key, "starts anew" if saved is None else f"goes on from {held.positions}")
        return held

    def _shard(self, number: int) -> LiveShard:
        return LiveShard(number, self.setup, self._budget)

    async def fill(self, key: Key, held: Held) -> None:
        """Read the blocks of a state back into it; a broker that goes away meanwhile is waited for.

        Raises:
            Unreachable: none comes, or one went away meanwhile: another owner has written a newer state.
        """
        left = set(held.missing.blocks) if held.missing else set()
        while held.missing is not None:
            try:
                await lasting(self._fill(key, held.missing, left), lambda: self.taken_back, RESTORE)
            except TimeoutError as error:
                raise Unreachable(SILENT) from error
            except (KafkaError, OSError) as error:
                log.warning("cannot read what %s %d remembers from Kafka (%s); again in %.1f s", *key, error, AGAIN)
                await asyncio.sleep(AGAIN)
            else:
                held.missing = None
                held.saved_size = held.size

    async def _fill(self, key: Key, saved: Saved, left: set[int]) -> None:
        """Read the blocks at the offsets that are left, and strike these out."""
        async for record in read_at(self._connect, self._prefix + TOPIC, self._home(key), set(left)):
            self.taken_back += 1
            for block in saved.blocks[record.offset]:
                if block.take is not None:
                    block.take(block, record.value)
            left.discard(record.offset)
        if left:
            raise Unreachable(
                f"what {key.kind} {key.number} remembers went away while it was read: there is a newer state"
            )

    async def _learn(self, judge: LiveJudge) -> None:
        """Let a judge know what stands on `control`."""
        layout = self.setup.layout
        async for record in read_all(self._connect, self._prefix + "control", list(range(layout.controls))):
            self.taken_back += 1
            try:
                control = read_control(record.value or b"")
            except DecodeError:
                continue  # a lease, a tombstone, or junk
            if partition_of(control.model.encode(), layout.judges) == judge.number:
                judge.published.found(record.value)

    async def starts(self, places: Iterable[Place], held: Mapping[Key, Held]) -> dict[Place, int]:
        """Return the offset at which to read each place: what its checkpoint says, never what a group committed.

        Raises:
            UserError: records that no checkpoint covers are gone.
        """
        named = {place: TopicPartition(self._prefix + place.topic, place.partition) for place in places}
        async with reading(self._connect) as consumer:
            begins = await consumer.beginning_offsets(list(named.values()))
        return {place: self._start(place, begins[name], held) for place, name in named.items()}

    def _start(self, place: Place, begin: int, held: Mapping[Key, Held]) -> int:
        if place.topic == "commands":
            return begin  # read from the start each time; judges know which they have taken
        one = held[reader(place)]
        position = one.positions[place.topic]
        if position >= begin:
            return position
        if one.saved is not None or one.damaged:
            raise UserError(
                f"{self._prefix}{place.topic}, partition {place.partition}: offsets {position} to {begin - 1} are gone, and "
                "no checkpoint covers them: counts would be missing; restore the topic, or start anew with empty checkpoints"
            )
        if isinstance(one.it, LiveShard):
            one.it.positions[place.topic] = begin
        else:
            one.it.position = begin
        return begin
