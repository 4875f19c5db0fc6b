"""A Faust transport that delivers whole fetched chunks: one Faust event per partition and fetch (STREAM.md §5).

Registered under the URL scheme `interlock://`. A message's `records` are aiokafka's. Stock Faust spends 65-90 µs a
message on its way into an agent; a chunk pays that once. It reaches into names of Faust 0.15.3 and aiokafka 0.14 that
are not public, as `consumer_thread.py` does; tests/test_conformance.py says which.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, cast

import aiokafka
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from interlock.errors import UserError
from interlock.streams import lenient
from interlock.streams.consumer_thread import Thread

lenient.install()

POLL = 0.2
"""Seconds after which a fetch that brings nothing ends."""

POLL_WHEN_FULL = 0.005
"""Seconds between looks while every partition is paused by back-pressure; Faust's own is one second."""

log = logging.getLogger("interlock.transport")


class Chunk(ConsumerMessage):  # type: ignore[misc] # Faust's types are not checked
    """A fetched chunk as one Faust message: `records` in offset order; all from `start` up to `offset`, both included."""

    __slots__ = ("records", "start")


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Delivers chunks, starts where the application says, and commits what was processed, for lag monitors only."""

    def _reset_state(self) -> None:
        super()._reset_state()
        self._delivered: MutableMapping[TP, deque[int]] = defaultdict(deque)
        self._processed: dict[TP, int] = {}
        self._doubted: dict[TP, int] = {}
        self._seeks = 0
        self._between_fetches = asyncio.Event()
        self._between_fetches.set()

    def _new_consumer_thread(self) -> "Thread":
        return Thread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset after the last chunk of the acknowledged prefix: never past one in flight, never stalled."""
        acked, delivered = self._acked_index[tp], self._delivered[tp]
        while delivered and delivered[0] in acked:
            reached = delivered.popleft()
            acked.discard(reached)
            self._processed[tp] = reached + 1
        self._acked[tp] = [offset for offset in self._acked[tp] if offset in acked]
        return self._processed.get(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit; Faust would note as committed what the broker refused, and try it never again."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        did_commit: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if not did_commit:
            self._committed_offset.update(before)
        return did_commit

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was delivered."""
        for tp in revoked:
            self._delivered.pop(tp, None)
            self._processed.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Start every partition where its checkpoint says, never at the committed offset."""
        self.stop_flow()  # Faust lets it on for a worker that owned nothing, and resumes it when this is done
        await self._between_fetches.wait()  # a fetch that ends later would set its own position
        self._forget_fetched()
        for known in (self._delivered, self._processed):
            known.clear()
        for tp in list(self._acked_index):
            self._acked_index[tp].clear()
            self._acked[tp] = []
        assigned = {TP(*tp) for tp in self.assignment()}
        positions: Mapping[TP, int] = await self.app.interlock_positions(assigned)
        for tp, offset in positions.items():
            await self._seek(tp, offset)
            self._read_offset[tp] = offset
            self._committed_offset[tp] = None
        self._forget_fetched()

    def _forget_fetched(self) -> None:
        """Void what was fetched before: neither its records nor how far it went say what lies between."""
        self._seeks += 1
        self._doubted.clear()

    def end(self, tp: TP) -> int | None:
        """Return the offset up to which a partition can be read, as last seen; None before anything was fetched.

        A transaction that is open ends it (the last stable offset), unless we read what is not committed.
        """
        return cast(int | None, self._thread.end(tp))

    async def look(self) -> None:
        """Find out where partitions end that are not fetched, since their agents are full or they are paused."""
        if not self.app.rebalancing:
            await self._thread.look()

    def reached(self, tp: TP, position: int) -> int | None:
        """Return up to where all was read, by a state that is at `position`; None while the partition is paused.

        Markers are never delivered: a state that has taken in all records is past those that follow.
        """
        if tp in self._paused_partitions:
            return None
        return position if self._read_offset.get(tp) != position else max(position, self._thread.positions().get(tp, 0))

    async def ended(self) -> None:
        """Wait until nothing of it runs."""
        await self._thread.ended()

    async def _drain_messages(self, fetcher: Any) -> None:
        while not (self.should_stop or fetcher.should_stop):
            await asyncio.sleep(0)
            seeks = self._seeks
            records = await self._fetched()
            mark = seeks, self.app.consumer_generation_id
            for tp, chunk in records.items():
                if not self._flows(mark):
                    self._forget_fetched()  # these were never delivered: the next gap is no sign that nothing lies there
                    break
                await self._deliver(TP(*tp), chunk, mark[1])
            for tp, passed in self._thread.positions().items():
                await self._skip(tp, passed, mark)

    def _flows(self, mark: tuple[int, int]) -> bool:
        """Whether nothing has happened since (a seek, a rebalance) that makes what was fetched another's."""
        return bool(self.flow_active and (self._seeks, self.app.consumer_generation_id) == mark)

    async def _skip(self, tp: TP, passed: int, mark: tuple[int, int]) -> None:
        """Deliver a chunk without records where only markers and aborted transactions were: they have offsets, too.

        Whoever stops at records would stand before them for ever: its lag never zero, and taken for one that has lost
        something when retention removes them. Where the client stands is as little proof as a gap: it is read again.
        Raises: see `_keeps`.
        """
        start = self._read_offset[tp]
        if start is None or passed <= start or not self._flows(mark) or not await self._bridges(tp, start):
            return
        if self._flows(mark):  # else the position may be past what was not delivered
            await self._hand_on(_message(tp, [], passed - 1, mark[1]), start)

    async def _fetched(self) -> Mapping[Any, list[Any]]:
        """Return the records of one fetch; none after a while."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            await self.sleep(POLL_WHEN_FULL)
            return {}
        self._between_fetches.clear()
        try:
            return await self._getmany(active, POLL) or {}
        finally:
            self._between_fetches.set()

    async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
        """Hand records on, also those of a partition that has just been paused: its position is past them."""
        start = self._read_offset[tp]
        if start is None:
            return  # no longer ours, or not sought yet
        fresh = records if records[0].offset >= start else [record for record in records if record.offset >= start]
        if not fresh or (fresh[0].offset > start and not await self._bridges(tp, start)):
            return
        await self._hand_on(_message(tp, fresh, fresh[-1].offset, generation), start)

    async def _hand_on(self, message: Chunk, start: int) -> None:
        tp, message.start = message.tp, start
        self._delivered[tp].append(message.offset)
        self._read_offset[tp] = message.offset + 1
        # A put that waits for room ends with the flow: what it held is read again after the seek.
        await self.wait_first(self.callback(message), self.suspend_flow.wait())

    async def _bridges(self, tp: TP, start: int) -> bool:
        """Return whether nothing lies between `start` and the records at hand; if that is not sure, fetch again.

        Compaction and transaction markers leave gaps. But records fetched before a rebalance may arrive after the seek,
        and then those in between were never read: a gap is believed when it is there again after a seek to its start.

        Raises: see `_keeps`.
        """
        if self._doubted.get(tp) != start:
            self._doubted[tp] = start
            log.info("%s: a gap at %d; reading again", tp, start)
            await self._seek(tp, start)
            return False
        if not await self._keeps(tp, start):  # it is away: the gap is there again when it is back
            await self._seek(tp, start)
            return False
        return True

    async def _keeps(self, tp: TP, start: int) -> bool:
        """Return whether the broker keeps a partition from `start` on; False while it does not say.

        Else a position that is past `start` may be one that aiokafka has set anew, to the first record that is left.

        Raises:
            UserError: records that nobody has read are gone.
        """
        try:
            earliest = (await self.earliest_offsets(tp))[tp]
        except KafkaError:
            return False
        if earliest > start:
            raise UserError(
                f"{tp.topic}, partition {tp.partition}: offsets {start} to {earliest - 1} were removed by retention before "
                "they were read: counts are missing; keep the topic for longer than a worker may be away"
            )
        return True


def _message(tp: TP, records: list[Any], last: int, generation: int) -> Chunk:
    stamp, kind = (records[-1].timestamp / 1000, records[-1].timestamp_type) if records else (0.0, 0)
    message = Chunk(tp.topic, tp.partition, last, stamp, kind, (), None, b"", None, 0, 0, tp, generation_id=generation)
    message.records = records
    return message


class Transport(driver.Transport):  # type: ignore[misc]
    """Kafka by aiokafka, in chunks."""

    Consumer = Consumer
    driver_version = f"interlock on aiokafka={aiokafka.__version__}"


def broker_urls(bootstrap: Iterable[str]) -> str:
    """Return the broker setting of Faust for these host:port pairs."""
    return ";".join(f"interlock://{server}" for server in bootstrap)


def chunk_of(message: Any) -> Chunk:
    """Return a Faust message as the chunk that it is."""
    return cast(Chunk, message)
