"""A shard as the worker drives it: records of its topics in, messages out, positions beside the state."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from interlock.errors import UserError
from interlock.partitions import partition_of
from interlock.policies.changes import when
from interlock.protocol import INPUTS
from interlock.records import dead_letter_line
from interlock.streams import wire
from interlock.streams.batch import DeadLetter, Message
from interlock.streams.budget import Budget
from interlock.streams.checkpoint import decode as decode_state
from interlock.streams.checkpoint import encode as encode_state
from interlock.streams.decode import sniff
from interlock.streams.decode_dead import Bad, letter
from interlock.streams.decode_events import Event, event_of
from interlock.streams.due import due_line
from interlock.streams.live import Followed, Outgoing, Setup
from interlock.streams.mapping import Mapping as FieldMap
from interlock.streams.pipeline import Pipeline
from interlock.streams.placing import Placing
from interlock.streams.shard import Output, Shard, Trigger
from interlock.streams.tally import TallyRecord

FORESEEN = 500_000
"""Predictions that a shard without its memory remembers of its own, so that their repeats are none."""


def _json(mapping: FieldMap, value: bytes) -> bytes:
    """Return one event, or lines of events, in our names; what is neither stays as it is."""
    ours = mapping.line(value)
    return ours if ours != value or b"\n" not in value else b"\n".join(map(mapping.line, value.split(b"\n")))


def _arrow(mapping: FieldMap, value: bytes) -> bytes:
    """Return an Arrow stream in our names; what cannot be read, or lacks a field, stays for the decoder to refuse."""
    ipc: Any = pyarrow.ipc
    sink: Any = pa.BufferOutputStream()
    try:
        batches = [mapping.batch(batch) for batch in ipc.open_stream(value)]
        with ipc.new_stream(sink, batches[0].schema) as stream:
            for batch in batches:
                stream.write_batch(batch)
    except (pa.ArrowException, OSError, KeyError, IndexError):
        return value
    return bytes(sink.getvalue())


RENAMED: Mapping[str, Callable[[FieldMap, bytes], bytes]] = {
    "json": _json,
    "arrow": _arrow,
    "unknown": lambda _, value: value,
}
"""How a message of each format comes into our names."""


def _shown_as(told: DeadLetter, event: Event | None) -> DeadLetter:
    if event is None:
        return told
    return letter(told.topic, (told.offset, told.index), Bad(told.reason, told.detail), event.shown)


class Foreseen:
    """Violations that were told of before their shard has counted them: it must find each of them itself."""

    def __init__(self) -> None:
        """Know of none."""
        self._waiting: set[tuple[str, str]] = set()
        self._until = 0

    def add(self, triggers: Iterable[Trigger], until: int) -> None:
        """Note some that stand before an offset."""
        self._waiting |= {(one.rule, one.event_id) for one in triggers}
        self._until = until

    def unconfirmed(self, triggers: Iterable[Trigger], until: int) -> int:
        """Take in what the shard has found up to an offset; return how many it has passed by, once."""
        self._waiting -= {(one.rule, one.event_id) for one in triggers}
        left, self._waiting = (self._waiting, set()) if until >= self._until else (set(), self._waiting)
        return len(left)


class LiveShard:
    """One source partition: state, and the offset of each topic up to which it is a function of the events."""

    def __init__(self, number: int, setup: Setup, budget: Budget | None = None) -> None:
        """Start before the first event; `budget` as in `Store`."""
        self.number, self.setup, self._budget = number, setup, budget
        self.shard = Shard(number, setup.plan, setup.scorer, patient=True, budget=budget)
        self.positions = dict.fromkeys(INPUTS, 0)
        """Per topic, the offset that comes next."""
        self.appended = dict.fromkeys(INPUTS, 0)
        """Per topic, the append time (ms) of the last record read."""
        self.placing = Placing(number, setup.layout.shards)
        self.foreseen = Foreseen()

    def greeting(self) -> list[Outgoing]:
        """Return what precedes all else that a shard sends."""
        run, judges = self.setup.run, range(self.setup.layout.judges)
        follows = [wire.Follows(run, n, one.since, one.text) for n, one in enumerate(self.setup.changes)]
        records = [wire.encode(wire.Topology(run, self.setup.layout.shards)), *map(wire.encode, follows)]
        return [self._tally(record, judge) for record in records for judge in judges]

    def under(self, setup: Setup) -> "LiveShard":
        """Return the same shard with the policies that follow, of which it had not heard.

        Raises:
            UserError: it has counted events of the time of one of them already.
        """
        again = LiveShard(self.number, setup, self._budget)
        again.restore(self.snapshot(blocks=True))
        again.foreseen = self.foreseen
        for mine, before in zip(again.shard.stores(), self.shard.stores(), strict=False):  # reports may be new
            mine.take_over(before)
        self.close()
        return again

    def forgetful(self) -> "LiveShard":
        """Return the same shard, and independent of it, but that it remembers no event."""
        again, state = LiveShard(self.number, self.setup), self.snapshot(blocks=True)
        empty = again.shard.snapshot()
        state["shard"] |= {name: empty[name] for name in ("join", "reports")}
        again.restore(decode_state(encode_state(state)))
        return again

    def foresee(self, messages: Sequence[Message], told: Foreseen) -> list[Outgoing]:
        """Take in predictions, but return only the violations of never-events, and note them; none of late ones.

        Most of what is late was sent again, and a person may have released what it engaged.
        """
        batch, _ = self.setup.decoders["predictions"](self._ours("predictions", messages))
        late = copy(self.shard.clocks["predictions"]).read(batch.ts, batch.appended).late
        found = Pipeline.intake(self.shard, batch.take(~late)).triggers
        self.positions["predictions"] = messages[-1].offset + 1
        told.add(found, self.positions["predictions"])
        self.shard.join.forget(FORESEEN)
        return list(self._triggered(found))

    def read(self, topic: str, messages: Sequence[Message]) -> list[Outgoing]:
        """Take in messages of one topic in offset order; those that were read before are passed over."""
        begin = self.positions[topic]
        is_next = not messages or messages[0].offset >= begin
        fresh = messages if is_next else [message for message in messages if message.offset >= begin]
        if not fresh:
            return []
        batch, dead = self.setup.decoders[topic](self._ours(topic, fresh))
        self.placing.look(topic, batch.ids)
        output = Pipeline.intake(self.shard, batch)
        self.positions[topic], self.appended[topic] = fresh[-1].offset + 1, fresh[-1].appended
        self.shard.counters["dead_letters"] += len(dead)
        if topic == "predictions" and (alone := self.foreseen.unconfirmed(output.triggers, self.positions[topic])):
            self.shard.counters["unconfirmed"] += alone
        return [*self._send(output), *map(self._dead, self._as_sent(topic, fresh, dead))]

    def passed(self, topic: str, end: int) -> None:
        """Note that nothing of a topic is left to read before an offset."""
        self.positions[topic] = max(end, self.positions[topic])

    def patience(self, *, patient: bool) -> None:
        """Say whether outcomes may still come, so that predictions are kept for them however old they are."""
        self.shard.join.patient = patient

    def snapshot(self, *, blocks: bool = False) -> dict[str, Any]:
        """Return the state and what it covers, as plain values and arrays; with `blocks` as in `Store`."""
        covers = {
            "positions": dict(self.positions),
            "appended": dict(self.appended),
            "changes": len(self.setup.changes),
        }
        return covers | {"shard": self.shard.snapshot(blocks=blocks)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same shard of the same setup."""
        self.positions, self.appended = dict(saved["positions"]), dict(saved["appended"])
        self.shard.restore(saved["shard"])
        for change in self.setup.changes[saved.get("changes", 0) :]:
            self._ahead(change)

    def _ahead(self, change: Followed) -> None:
        come = max(self.shard.clocks[topic].latest for topic in ("predictions", "abuse"))
        if come >= change.since:
            raise UserError(
                f"shard {self.number}: the policy from {when(change.since)} on came too late: events up to {when(come)} are "
                "counted by the one before; start anew with another --group"
            )

    def close(self) -> None:
        """Let go what is on disk."""
        for store in self.shard.stores():
            store.close()

    def lag(self, ends: Mapping[str, int]) -> int:
        """Return how many records are still to be read, given the end offsets that are known."""
        return sum(max(0, end - self.positions[topic]) for topic, end in ends.items())

    def _ours(self, topic: str, messages: Sequence[Message]) -> Sequence[Message]:
        mapping = self.setup.mappings.get(topic)
        if mapping is None:
            return messages
        return [m._replace(value=RENAMED[sniff(m)](mapping, m.value)) for m in messages]

    def _as_sent(self, topic: str, messages: Sequence[Message], dead: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        """Return dead letters that show events as they were sent, not as we renamed them: other names may mend them."""
        if topic not in self.setup.mappings or not dead:
            return dead
        by_offset = {message.offset: message for message in messages}
        return [_shown_as(one, event_of(by_offset[one.offset], one.index)) for one in dead]

    def _send(self, output: Output) -> Iterator[Outgoing]:
        yield from self._triggered(output.triggers)
        run = self.setup.run
        for due in output.due:
            yield Outgoing("audits", due_line(due), due.event_id.encode())
        for closed in output.records:
            for judge, record in self._split(closed):
                yield from (self._tally(part, judge) for part in wire.tallies(run, record, self.setup.plan))

    def _triggered(self, triggers: Iterable[Trigger]) -> Iterator[Outgoing]:
        run, judges = self.setup.run, self.setup.layout.judges
        for trigger in triggers:
            yield self._tally(wire.encode(wire.Triggered(run, trigger)), partition_of(trigger.model.encode(), judges))

    def _split(self, record: TallyRecord) -> Iterator[tuple[int, TallyRecord]]:
        """Give each judge the counts of its models, and the progress in any case."""
        judges = self.setup.layout.judges
        if judges == 1:
            yield 0, record
            return
        place = [partition_of(model.encode(), judges) for model, _ in record.versions]
        for judge in range(judges):
            yield judge, wire.of_versions(record, {code for code, to in enumerate(place) if to == judge})

    def _tally(self, record: bytes, judge: int) -> Outgoing:
        return Outgoing("tallies", record, str(self.number).encode(), judge)

    def _dead(self, told: DeadLetter) -> Outgoing:
        key = f"{told.topic}/{self.number}/{told.offset}/{told.index}"
        return Outgoing("dead-letters", dead_letter_line(told, self.number).rstrip(), key.encode())
