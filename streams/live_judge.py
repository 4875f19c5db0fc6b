"""A judge as the worker drives it: one partition of `tallies` in; verdicts, controls, pages and leases out.

Its state is a function of a prefix of that partition (STREAM.md §6). Wall clock comes in as an argument, and decides only
when a lease is renewed and when a release may go out.
"""

import logging
from collections import Counter as Counters
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import DecodeError
from msgspec import json as msgspec_json

from interlock.errors import UserError
from interlock.partitions import partition_of
from interlock.policies.changes import when
from interlock.policies.load import load_policy
from interlock.policies.model_parts import Lease as LeaseRules
from interlock.policies.pages import page_of
from interlock.policies.said import Said
from interlock.protocol import ACTION_MODES, Lease, lease_key, read_json
from interlock.records import Control, dead_letter_line, verdict_line
from interlock.streams import wire
from interlock.streams.commands import Release
from interlock.streams.decode_dead import Bad, letter
from interlock.streams.judge import Judge
from interlock.streams.live import Followed, Outgoing, Setup
from interlock.streams.published import RELEASED, Published
from interlock.streams.tally import TallyRecord

Outputs = list[Outgoing]

log = logging.getLogger("interlock.worker")


class LiveJudge:
    """The judge of the models whose counts come on one partition of `tallies`."""

    def __init__(self, number: int, setup: Setup) -> None:
        """Start before the first record."""
        self.number, self.setup = number, setup.with_changes(())  # which it hears of as they stand on `tallies`
        self.judge = Judge(self.setup.plan, self.setup.learned, setup.layout.shards)
        self.published = Published()
        self.position = self.news = 0
        """The offset that comes next; the number of records that were more than signs of life."""
        self.counters: Counters[str] = Counters()
        self.last_verdict = self.last_control = 0
        self._parts = wire.Assembler()
        self._owners: dict[int, int] = {}
        self._commands: dict[int, int] = {}
        self._withheld: list[Control] = []
        self._fresh: dict[int, int] = {}
        self._seq = 0
        self._counted = False
        """Whether it has heard how many shards there are; until then it takes it that there are as many as partitions."""

    # -- input -------------------------------------------------------------------------------------------------------

    def read(self, records: Sequence[tuple[int, bytes]], now: int) -> Outputs:
        """Take in records in offset order, each with its offset; those that were read before are passed over."""
        sent: Outputs = []
        ready: list[TallyRecord] = []
        for offset, value in records:
            if offset < self.position:
                continue
            self.position = offset + 1
            record = self._ours(value)
            self.news += not isinstance(record, wire.Beat)
            if isinstance(record, wire.Tallies):
                whole = self._parts.put(record)
                ready += [] if whole is None else [whole]
            elif record is not None:
                sent += self._say(self.judge.apply(ready), now)
                sent += self._take(record, now)
                ready = []
        sent += self._say(self.judge.apply(ready), now)
        return sent + self._let_go(now)

    def passed(self, _: str, end: int) -> None:
        """Note that nothing is left to read before an offset."""
        self.position = max(end, self.position)

    def _ours(self, value: bytes) -> wire.Record | None:
        try:
            record = wire.decode(value)
        except wire.UnreadableTallyError:
            self.counters["unreadable"] += 1
            return None
        if record.run != self.setup.run:
            self.counters["foreign"] += 1
            return None
        return record

    def _take(self, record: wire.Record, now: int) -> Outputs:
        match record:
            case wire.Topology() | wire.Grown():
                self._count(record)
            case wire.Follows() if record.number >= len(self.setup.changes):
                self._follow(record.since, record.policy)
            case wire.Triggered():
                return self._controls(self._news(self.judge.trigger(record.trigger)), now)
            case wire.Idle() if record.owner >= self._owners.get(record.shard, 0):
                self._owners[record.shard] = record.owner
                self.counters["idle"] += 1
                return self._say(self.judge.idle(record.shard, record.topic), now)
            case wire.Tick():
                return self._say(self.judge.clock(record.ts), now)
            case wire.Beat():
                self._owners[record.shard] = max(record.owner, self._owners.get(record.shard, 0))
                self._fresh[record.shard] = max(record.fresh, self._fresh.get(record.shard, 0))
            case wire.Command() if record.offset > self._commands.get(record.partition, -1):
                self._commands[record.partition] = record.offset
                return self._command(record, now)
        return []

    def _follow(self, since: int, text: str) -> None:
        """Go over to another policy when its time comes."""
        policy = load_policy(text.encode(), "the policy on tallies")
        if self.judge.counted() > since:
            raise UserError(
                f"judge {self.number}: the policy from {when(since)} on came too late: it has judged up to "
                f"{when(self.judge.counted())}; start anew with another --group"
            )
        self.setup = self.setup.with_changes((*self.setup.changes, Followed(text, since, policy)))
        judge = Judge(self.setup.plan, self.setup.learned, self.judge.shards)
        judge.restore(self.judge.snapshot())
        self.judge = judge

    def _news(self, early: Iterable[Control]) -> list[Control]:
        """Return the controls of epochs that nobody has heard of: more violations of one pane say nothing new."""
        return [control for control in early if control.epoch > self.published.epoch(control)]

    def _count(self, record: wire.Topology | wire.Grown) -> None:
        """See that all counts are of as many partitions; what an older worker says late is of fewer."""
        shards = record.shards
        if not self._counted:
            self._counted, self.judge.shards = True, shards  # with as many the group began; it may have grown since
        if isinstance(record, wire.Grown):
            return self.judge.grow(max(shards, self.judge.shards), record.reached)
        known, ours = self.judge.shards, self.setup.layout.shards
        if shards > ours:
            raise UserError(
                f"the input topics had {ours} partitions when this worker was started, counts on tallies are of {shards}: "
                "start all workers anew; if the topics were made anew, with another --group"
            )
        if shards > known:
            raise UserError(
                f"the input topics have {shards} partitions, the counts on tallies are of {known}: only `interlock topics "
                "--grow` lets counts go on; start anew with another --group and empty topics"
            )
        if known > ours:
            log.warning("judge %d waits for %d shards: repeat `interlock topics --grow %d`", self.number, known, known)
        return None

    def _command(self, command: wire.Command, now: int) -> Outputs:
        """Do what a person says, or keep it as a dead letter."""
        if command.refusal:
            return self._refuse(
                command, Bad(command.refusal, "nobody has signed it; --accept-unsigned-commands takes it")
            )
        try:
            order = read_json(command.body, Release)
        except DecodeError as error:
            return self._refuse(command, Bad("unreadable", str(error)))
        ended = self.judge.release(
            order.model,
            order.slo,
            order.scope,
            order.control_id,
            order.epoch,
            self.judge.counted(),
            order.by,
            order.reason,
        )
        self.counters["obeyed_commands" if ended else "void_commands"] += 1  # void: not what is engaged
        return self._controls(ended, now)

    def _refuse(self, command: wire.Command, why: Bad) -> Outputs:
        """Return a command's dead letter; every judge hears it, the first one writes it down."""
        self.counters[f"{why.reason}_commands"] += 1
        if self.number:
            return []
        dead = letter("commands", (command.offset, 0), why, command.body)
        key = f"commands/{command.partition}/{command.offset}/0".encode()
        return [Outgoing("dead-letters", dead_letter_line(dead, command.partition).rstrip(), key)]

    # -- output ------------------------------------------------------------------------------------------------------

    def _say(self, judged: Iterable[Said], now: int) -> Outputs:
        sent: Outputs = []
        for said in judged:
            for verdict in said.verdicts:
                self.last_verdict = max(self.last_verdict, verdict.ts)
                sent.append(Outgoing("verdicts", verdict_line(verdict).rstrip(), verdict.model.encode()))
            sent += self._controls(said.controls, now)
        return sent

    def _controls(self, controls: Iterable[Control], now: int) -> Outputs:
        """Send what strengthens at once; hold a release back while the counts may be old."""
        sent: Outputs = []
        for control in controls:
            self.last_control = max(self.last_control, control.ts)
            waits = any(x.control_id == control.control_id for x in self._withheld)
            if (control.state == RELEASED and not self.fresh(now)) or waits:
                self._withheld.append(control)
            else:
                sent += self._publish(control, now)
        return sent

    def _let_go(self, now: int) -> Outputs:
        if not self._withheld or not self.fresh(now):
            return []
        ready, self._withheld = self._withheld, []
        return [message for control in ready for message in self._publish(control, now)]

    def _publish(self, control: Control, now: int) -> Outputs:
        message = self.published.send(control, now)
        page = page_of(control, self.setup.policy_of(control.policy_digest))
        sent = [] if message is None else [self._placed(message, control.model)]
        if page is not None:  # again after a restart: a page is known by its id, and must not be lost in between
            value = page.model_copy(update={"issued_at": now}).model_dump_json().encode()
            sent.append(Outgoing("pages", value, page.incident.encode()))
        return sent

    # -- lease -------------------------------------------------------------------------------------------------------

    def fresh(self, now: int) -> bool:
        """Return whether every shard has lately read all there was (ms, wall clock)."""
        known = [self._fresh.get(shard, 0) for shard in range(max(self.judge.shards, self.setup.layout.shards))]
        return min(known) >= now - self._lease.ttl

    @property
    def withheld(self) -> int:
        """How many controls wait for the counts to be fresh."""
        return len(self._withheld)

    def lease(self, now: int) -> Outputs:
        """Return a heartbeat for every model, if the counts are fresh; and releases that waited for that."""
        if not self.fresh(now):
            return []
        sent = self._let_go(now)
        self._seq = max(now, self._seq + 1)
        rules = self._lease
        for model in sorted(self._models()):
            lease = Lease(
                model=model,
                seq=self._seq,
                issued_at=now,
                lease_until=now + rules.ttl,
                in_force=self.published.digest(model),
                grace=rules.grace,
                on_lost=ACTION_MODES[rules.on_lost],
            )
            sent.append(self._placed(Outgoing("control", msgspec_json.encode(lease), lease_key(model)), model))
        return sent

    def _placed(self, message: Outgoing, model: str) -> Outgoing:
        """Put all of a model into one partition of `control`, so that its order is ours."""
        return message._replace(partition=partition_of(model.encode(), self.setup.layout.controls))

    @property
    def _lease(self) -> LeaseRules:
        return self.setup.policy_at(self.judge.counted()).lease or LeaseRules()

    def _models(self) -> set[str]:
        named = (
            {self.setup.policy.model} if self.setup.policy.model else set(self.judge.models) | self.published.models()
        )
        return {model for model in named if model}

    # -- state -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state and what it covers, as plain values and arrays."""
        return {
            "positions": {"tallies": self.position},
            "shards": self.judge.shards if self._counted else 0,
            "changes": [(one.since, one.text) for one in self.setup.changes],
            "judge": self.judge.snapshot(),
            "parts": self._parts.snapshot(),
            "owners": dict(self._owners),
            "commands": dict(self._commands),
            "withheld": [control.model_dump() for control in self._withheld],
            "counters": dict(self.counters),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same judge of the same setup."""
        self.position = saved["positions"]["tallies"]
        self._counted = saved.get("shards", 0) > 0
        self.judge.shards = saved.get("shards", 0) or self.judge.shards
        for since, text in saved.get("changes", []):
            self._follow(since, text)
        self.judge.restore(saved["judge"])
        self._parts.restore(saved["parts"])
        self._owners, self._commands = dict(saved["owners"]), dict(saved["commands"])
        self._withheld = [Control(**fields) for fields in saved["withheld"]]
        self.counters = Counters(saved["counters"])
