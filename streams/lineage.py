"""The policies of a consumer group, one after the other, as they stand on `commands` (STREAM.md §6).

The first worker of a group writes down its policy; `interlock policy apply` those that follow. All workers read the same
order, and decide alike which of them are void.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import DecodeError
from msgspec import json as msgspec_json

from interlock.errors import UserError
from interlock.policies.changes import misplaced, refusals
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.protocol import read_json
from interlock.streams import wire
from interlock.streams.catching_up import Answers, read_all
from interlock.streams.clients import Clients, reading
from interlock.streams.commands import PolicyRecord
from interlock.streams.live import Followed

TOPIC = "commands"

NEWEST = 2_000
"""Records of each partition of `tallies` that are looked at."""

PAUSE = 0.5
"""Seconds between looks at `commands`."""

SLOW = 5.0
"""Seconds without a look after which it says so."""

log = logging.getLogger("interlock.worker")


class Lineage:
    """The first policy of a group, its reference, and the policies that follow."""

    def __init__(self, group: str, *, unsigned: bool = True) -> None:
        """Start before the first record; `unsigned`: take policies that nobody has signed, as all are."""
        self.group, self.unsigned = group, unsigned
        self.first: Policy | None = None
        self.reference = ""
        self.changes: list[Followed] = []

    def take(self, value: bytes | None) -> bool:
        """Take in a record of `commands`; say whether it is a policy of this group that is not void."""
        record = read_policy_record(value)
        if record is None or record.group != self.group:
            return False
        try:
            policy = load_policy(record.policy.encode(), "a policy on commands")
        except UserError as error:
            log.warning("%s", error)
            return False
        if record.since is None:
            return self._begin(policy, record)
        if not self.unsigned:
            log.warning(
                "a policy of %s is not taken: nobody has signed it; --accept-unsigned-commands takes it", self.group
            )
            return False
        why = self.why_not(policy, record.since, record.reference)
        if why:
            log.warning("a policy of %s is void: %s", self.group, why[0])
            return False
        self.changes.append(Followed(record.policy, record.since, policy))
        return True

    def _begin(self, policy: Policy, record: PolicyRecord) -> bool:
        if self.first is None:
            self.first, self.reference = policy, record.reference
            return True
        return False  # of several workers that start at once, the first one's stands

    def why_not(self, policy: Policy, since: int, reference: str) -> list[str]:
        """Return why a policy cannot follow from a time (ms) on, a line each; none if it can."""
        if self.first is None:
            return [f"group {self.group} has no policy yet: start a worker with one first"]
        if reference != self.reference:
            return ["reference: another one than the group counts by; a new --group can"]
        known = [(self.first, 0), *((one.policy, one.since) for one in self.changes)]
        return refusals(self.first, policy) or [line for line in (misplaced(known, policy, since),) if line]

    def digests(self) -> list[str]:
        """Return the digests of all policies, the first one first."""
        first = [] if self.first is None else [self.first.digest]
        return first + [one.policy.digest for one in self.changes]

    @property
    def last(self) -> Policy | None:
        """The policy that is known last."""
        return self.changes[-1].policy if self.changes else self.first


def read_policy_record(value: bytes | None) -> PolicyRecord | None:
    """Return the policy in a record of `commands`; None if it is another command, or none."""
    try:
        return read_json(value or b"", PolicyRecord)
    except DecodeError:
        return None


async def read_lineage(clients: Clients, group: str, *, unsigned: bool = True) -> Lineage:
    """Return the policies of a group, as they stand now."""
    lineage = Lineage(group, unsigned=unsigned)
    async for record in read_all(clients.consumer, clients.prefix + TOPIC, [0]):
        lineage.take(record.value)
    return lineage


async def read_groups(clients: Clients, *, unsigned: bool = True) -> dict[str, Lineage]:
    """Return the policies of every group that has any, those first that began first."""
    found: dict[str, Lineage] = {}
    async for record in read_all(clients.consumer, clients.prefix + TOPIC, [0]):
        told = read_policy_record(record.value)
        if told is not None:
            lineage = found.get(told.group) or Lineage(told.group, unsigned=unsigned)
            lineage.take(record.value)
            if lineage.first is not None:
                found[told.group] = lineage
    return found


async def furthest(clients: Clients, judges: int) -> int | None:
    """Return the event time (ms) up to which any shard has counted, by the newest records of `tallies`; None without any."""
    found: list[int] = []
    async for record in read_all(clients.consumer, clients.prefix + "tallies", list(range(judges)), newest=NEWEST):
        try:
            told = wire.decode(record.value or b"")
        except wire.UnreadableTallyError:
            continue
        if isinstance(told, wire.Tallies):
            found.append((told.record.through + 1) * told.tick)
    return max(found, default=None)


async def publish(clients: Clients, record: PolicyRecord) -> None:
    """Put a policy on `commands`."""
    producer = AIOKafkaProducer(acks="all", **clients.producer)
    await producer.start()
    try:
        await producer.send_and_wait(clients.prefix + TOPIC, msgspec_json.encode(record), record.group.encode(), 0)
    finally:
        await producer.stop()


async def begin(clients: Clients, record: PolicyRecord, *, unsigned: bool) -> Lineage:
    """Return the policies of a group; write down its first one if there is none.

    Raises:
        UserError: another group that began before counts by the same policy and reference: their states would be one.
    """
    groups = apart(await read_groups(clients, unsigned=unsigned), record)
    if record.group not in groups:
        await publish(clients, record)
        groups = apart(await read_groups(clients, unsigned=unsigned), record)  # two may begin at once
    return groups.get(record.group) or Lineage(record.group, unsigned=unsigned)


def apart(groups: Mapping[str, Lineage], record: PolicyRecord) -> Mapping[str, Lineage]:
    """Return groups, the eldest first, after a look at whether the one of `record` may be, or come, among them.

    Raises:
        UserError: as `begin`.
    """
    own = groups.get(record.group)
    mark = _mark(own) if own else (load_policy(record.policy.encode(), "the policy").digest, record.reference)
    other = next((name for name, one in groups.items() if name == record.group or _mark(one) == mark), record.group)
    if other != record.group:
        raise UserError(
            f"group {record.group}: {other} counts by the same policy and reference on these topics, and their states would be "
            f"one; --group {other} shares its work, a --prefix of its own keeps them apart"
        )
    return groups


def _mark(lineage: Lineage) -> tuple[str, str]:
    """Return what the name of a group's states is made of."""
    return lineage.digests()[0], lineage.reference


class Follower:
    """Reads `commands` as long as a worker runs: `sure` is the wall-clock time (ms) up to which all of it is known."""

    def __init__(self, clients: Clients, lineage: Lineage) -> None:
        """Start from what is known."""
        self._connect, self._place = clients.consumer, TopicPartition(clients.prefix + TOPIC, 0)
        self.lineage, self.sure = lineage, 0
        self._looked = time.monotonic()

    @property
    def failing(self) -> str | None:
        """What keeps it from knowing the policies of now, and events from being counted, at the moment."""
        waited = time.monotonic() - self._looked
        return f"{TOPIC} is not read for {waited:.0f} s" if waited > SLOW else None

    async def run(self, now: Callable[[], int], heard: Callable[[], None]) -> None:
        """Read for ever, through a broker's absence; `heard` is called when a policy follows that was not known."""
        while True:
            try:
                await self._read(now, heard)
            except (KafkaError, OSError) as error:
                log.warning("cannot read %s (%s); again in %.1f s", TOPIC, error, PAUSE)
                await asyncio.sleep(PAUSE)

    async def _read(self, now: Callable[[], int], heard: Callable[[], None]) -> None:
        read, known = Lineage(self.lineage.group, unsigned=self.lineage.unsigned), len(self.lineage.changes)
        async with reading(self._connect) as consumer:
            consumer.assign([self._place])
            while True:
                began = now()
                end = (await consumer.end_offsets([self._place]))[self._place]
                await self._take(consumer, read, end)
                if len(read.changes) > known:
                    self.lineage, known = read, len(read.changes)
                    heard()
                self.sure, self._looked = began, time.monotonic()
                await asyncio.sleep(PAUSE)

    async def _take(self, consumer: AIOKafkaConsumer, read: Lineage, end: int) -> None:
        answers = Answers(consumer)
        while (at := await consumer.position(self._place)) < end:
            found = await consumer.getmany(self._place, timeout_ms=200)
            for records in found.values():
                for record in records:
                    read.take(record.value)
            if answers.were_empty({self._place: at}, brought=bool(found)):
                return
