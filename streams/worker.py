"""A worker: the shards and judges that it was assigned, restored, fed, checkpointed. It knows Kafka, but not Faust."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.errors import UserError
from interlock.policies.changes import when
from interlock.protocol import INPUTS
from interlock.streams import wire
from interlock.streams.budget import Budget
from interlock.streams.clients import Clients
from interlock.streams.commands import Refusal
from interlock.streams.held import Held, Key, Place, now_ms, reader, readers
from interlock.streams.lineage import PAUSE, Follower, read_policy_record
from interlock.streams.live import Outgoing, Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.lookout import Lookout
from interlock.streams.outbox import Outbox
from interlock.streams.restoring import Restorer
from interlock.streams.signs import SOURCES, Signs

Ends = Callable[[Place], int | None]
"""The end offset of a place as last seen; None before anything was fetched."""

AHEAD = 600_000
"""Event time (ms) by which one topic of a shard may run ahead while the other has records to read."""

KNOWN = 30_000
"""Wall-clock time (ms) by which records may be younger than what is known of `commands`; a policy is published twice as long
before its time, so that clocks may differ by the other half."""

log = logging.getLogger("interlock.worker")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between checkpoints, until a silent source is idle, for a revocation, until standing still ends it (0: never).

    `size`: bytes of new events after which a checkpoint is due before its time. `lookout`: seconds after which violations
    are looked for by another way, if a shard's memory is not read back yet.
    """

    checkpoint: float = 1.0
    idle: float = 60.0
    revoke: float = 5.0
    stall: float = 60.0
    size: int = 16 << 20
    lookout: float = 1.0


class Worker:
    """Shards and judges by their key, and the two queues to Kafka: what they say, and what they are."""

    def __init__(self, setup: Setup, clients: Clients, pace: Pace = Pace(), budget: Budget | None = None) -> None:
        """Own nothing yet; `budget` as in `Store`."""
        self.setup, self.clients, self.pace, self.budget = setup, clients, pace, budget or Budget()
        self.held: dict[Key, Held] = {}
        self.outbox, self.archive = Outbox(clients), Outbox(clients)
        self.generation = -1
        self.checkpoints = 0
        self.ends: Ends = lambda _: None
        self._restorer = Restorer(setup, clients, self.budget)
        self._signs = Signs(setup, pace.idle, self.lag)
        self._saving = asyncio.Lock()
        self.follower: Follower | None = None
        self.fault: BaseException | None = None
        """What the worker cannot go on after."""
        self._follows: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, and to follow what the group's policies are."""
        self.outbox.start()
        self.archive.start()
        if self.follower is not None:
            self._follows = asyncio.create_task(self.follower.run(now_ms, self.changed), name="policies")
            self._follows.add_done_callback(self._failed)

    async def stop(self) -> None:
        """Checkpoint what we own, and send what waits, within a deadline."""
        follows, self._follows = self._follows, None
        if follows is not None:
            follows.cancel()
        for held in self.held.values():
            held.leave()
        await self.revoked()
        await self.outbox.stop(self.pace.revoke)
        await self.archive.stop(self.pace.revoke)

    def _failed(self, task: asyncio.Task[None]) -> None:
        if task is self._follows:  # else it was told to end
            self.fault = RuntimeError("nobody reads policies any more") if task.cancelled() else task.exception()

    @property
    def failing(self) -> str | None:
        """What keeps it from going on, at the moment: Kafka takes nothing or gives no policies, a disk takes nothing."""
        policies = None if self.follower is None else self.follower.failing
        return self.outbox.failing or self.archive.failing or policies or self.budget.failing

    @property
    def taken_back(self) -> int:
        """Records that were read to restore states: it grows as long as that goes on."""
        return self._restorer.taken_back

    # -- policies ----------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Take up the policies that follow: shards count by them from their times on, and say so before they do.

        Raises:
            UserError: a shard has counted past such a time already.
        """
        if self.follower is None:
            return
        self.setup = self.setup.with_changes(self.follower.lineage.changes)
        self._restorer.setup = self.setup
        for held in self.held.values():
            if held.missing is None:
                self._bring_up(held)
        log.info(
            "policy %s follows from %s on", self.setup.changes[-1].policy.digest, when(self.setup.changes[-1].since)
        )

    async def _sure(self, records: Sequence[Any]) -> Setup:
        """Wait until every policy is known that may count these records: one comes well before its time. Return them."""
        if self.follower is None or not records:
            return self.setup
        young = (
            min(records[-1].timestamp, now_ms()) - KNOWN
        )  # a producer's clock may lie in the future, if it sets the time
        while self.follower.sure < young:  # noqa: ASYNC110 - it tells the time, which goes on
            await asyncio.sleep(PAUSE)
        return self.setup

    # -- ownership ---------------------------------------------------------------------------------------------------

    def keep(self, places: Iterable[Place]) -> None:
        """Let go what none of these places belongs to: others own it now."""
        ours = {reader(place) for place in places if place.topic != "commands"}  # which no shard reads
        for key in self.held.keys() - ours:
            self.held.pop(key).close()

    async def assigned(self, places: Iterable[Place], generation: int) -> dict[Place, int]:
        """Own exactly these places from now on; return the offset at which to read each of them.

        Raises:
            UserError: the topics of a shard came apart, or records that no checkpoint covers are gone.
        """
        wanted = set(places)
        if any(place.topic in INPUTS and place.partition >= self.setup.layout.shards for place in wanted):
            raise UserError("the input topics have more partitions than when this worker was started: start it anew")
        keys = readers(wanted)
        self.generation = generation
        self.keep(wanted)
        for key, held in self.held.items():  # a state is a function of its positions: it goes on from them
            held.writer, last = (
                self._restorer.writer(key, generation, held.writer.written(), held.writer.named),
                held.writer,
            )
            held.writer.after(last)
        found = await self._restorer.restore([key for key in keys if key not in self.held], generation)
        self.held |= found
        for key, held in found.items():
            if held.missing is None:
                self._bring_up(held)
            else:
                held.filling = asyncio.create_task(self._fill(key, held), name=f"memory of {key}")
                held.filling.add_done_callback(self._filled)
        return await self._restorer.starts(wanted, self.held)

    def _bring_up(self, held: Held) -> None:
        """Let a shard count by the newest policies, and say so before it does."""
        if isinstance(held.it, LiveShard):
            held.it = held.it if held.it.setup is self.setup else held.it.under(self.setup)
            self.outbox.put(held.it.greeting())

    async def _fill(self, key: Key, held: Held) -> None:
        """Read back what a shard remembers, and look for violations meanwhile."""
        looks = asyncio.create_task(self._look(held.it)) if isinstance(held.it, LiveShard) else None
        try:
            await self._restorer.fill(key, held)
        finally:
            if looks is not None:
                looks.cancel()
                (ended,) = await asyncio.gather(looks, return_exceptions=True)
                if isinstance(ended, Exception):
                    log.warning("no violations were looked for while %s %d was read back: %r", *key, ended)
        self._bring_up(held)

    def _filled(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.fault = task.exception() or self.fault
        elif any(held.filling is task for held in self.held.values()):  # else it was told to end
            self.fault = RuntimeError("nobody reads a shard's memory back any more")

    async def _look(self, shard: LiveShard) -> None:
        policies = [self.setup.policy, *(one.policy for one in self.setup.changes)]
        if any(policy.never_events for policy in policies):
            await asyncio.sleep(self.pace.lookout)
            await Lookout(shard, self.clients, self._sure, self.outbox).run()

    async def revoked(self) -> None:
        """Checkpoint everything at once, within a deadline; correctness does not rest on it."""
        try:
            async with asyncio.timeout(self.pace.revoke):
                for held in list(self.held.values()):
                    await self._save(held)
        except TimeoutError:
            log.warning("not all state was checkpointed in time: it is made again from older checkpoints")

    # -- records -----------------------------------------------------------------------------------------------------

    async def read(self, place: Place, records: Sequence[Any], start: int, end: int) -> None:
        """Take in a chunk of one place, which holds all from `start` up to `end`; what it yields is queued in the same step.

        Raises:
            RuntimeError: what stands before it was never read: nothing is counted past a gap.
        """
        if place.topic == "commands":
            self.outbox.put(self._forwarded(place, records))
            await self.outbox.room()
            return
        generation = self.generation
        if place.topic != "tallies":
            await self._sure(records)
        held = self.held.get(reader(place))
        if held is not None and not await held.whole():
            return  # it was revoked, or the worker is about to end
        if generation != self.generation:
            return  # from before a rebalance: it is read again from where its state stands
        if held is not None:  # else revoked: whoever owns it reads it again
            if start > held.positions[place.topic]:
                raise RuntimeError(f"{place}: a chunk from {start} on, but all is read only up to {held.positions}")
            self.outbox.put(held.take(place.topic, records, end))
        await self.outbox.room()

    def _forwarded(self, place: Place, records: Sequence[Any]) -> Iterable[Outgoing]:
        """Put commands among the counts, so that a judge takes each at one place and only once."""
        refusal: Refusal | None = None if self.setup.takes_unsigned else "unsigned"  # nothing is signed yet
        for record in records:
            if read_policy_record(record.value) is not None:
                continue  # which every worker reads by itself
            command = wire.Command(self.setup.run, place.partition, record.offset, record.value or b"", refusal or "")
            for judge in range(self.setup.layout.judges):
                yield Outgoing("tallies", wire.encode(command), None, judge)

    def ahead(self, shard: int) -> set[str]:
        """Return the topics of a shard that have run too far ahead of one that has records to read: memory only."""
        held = self.held.get(Key("shard", shard))
        if held is None or not isinstance(held.it, LiveShard):
            return set()
        marks = {topic: held.it.shard.clocks[topic].watermark for topic in SOURCES}
        behind = {topic for topic in SOURCES if self.lag(Place(topic, shard), held)}
        return {a for a in marks for b in behind if a != b and marks[a] > marks[b] + AHEAD}

    def lag(self, place: Place, held: Held) -> int | None:
        """Return how many records a place has yet to read; None before anything was fetched."""
        end = self.ends(place)
        return None if end is None else max(0, end - held.positions[place.topic])

    def lags(self) -> dict[Place, int]:
        """Return the lag of all places, 0 where it is not known yet."""
        places = {Place(topic, key.number): held for key, held in self.held.items() for topic in held.positions}
        return {place: self.lag(place, held) or 0 for place, held in places.items()}

    # -- time --------------------------------------------------------------------------------------------------------

    async def save_due(self) -> None:
        """Checkpoint whatever has moved and is due, by time or by size; large states come round less often."""
        for held in list(self.held.values()):
            since, grown = time.monotonic() - held.saved_at, held.size - held.saved_size
            if since >= held.pause and (since >= self.pace.checkpoint or grown >= self.pace.size):
                await self._save(held)

    async def _save(self, held: Held) -> None:
        async with self._saving:
            moved, size, began = held.moved, held.size, time.monotonic()
            if held.torn or held.missing is not None or moved == held.saved:
                return
            writer, state = held.writer, held.save()
            await self.outbox.settled(self.outbox.taken)  # nothing is forgotten before what it produced is durable
            await self.archive.settled(self.archive.put(state))
            held.saved, held.saved_size, held.saved_at = moved, size, time.monotonic()
            held.pause = 10 * (held.saved_at - began)
            self.checkpoints += 1
            if writer is held.writer:  # else a newer epoch has begun, and nothing of it is durable yet
                self.archive.put(writer.superseded())

    def tell(self) -> None:
        """Send all that goes by the wall clock."""
        for key, held in self.held.items():
            if not held.torn:
                self.outbox.put(self._signs.of(key, held, self.generation))
