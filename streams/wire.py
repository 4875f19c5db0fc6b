"""Records of the `tallies` topic: what shards tell judges (STREAM.md §3), as bytes and back.

Every message is one record under the version's magic, with the `run` it belongs to: policy and reference, so that two
policies on the same topics never add up.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from interlock.policies.plan import Plan
from interlock.streams.checkpoint import pack, unpack
from interlock.streams.shard import Trigger
from interlock.streams.tally import CHAINS, COUNT, SLICE, VERSION, Ints, TallyRecord, exemplar, plain_exemplar

MAGIC = b"interlock/tally/1\n"

MOST_BYTES = 512 * 1024
"""A tally record is split into messages of about this size at most."""


Source = Literal["predictions", "outcomes", "abuse"]
"""Topics whose silence matters."""


class UnreadableTallyError(ValueError):
    """The bytes are no record of this version."""


class Topology(NamedTuple):
    """How many source partitions there are; precedes everything that a shard sends."""

    run: str
    shards: int


class Tallies(NamedTuple):
    """A part of a tally record: chunk `part` of `parts` under one digest. `series` are key and slice paths of each."""

    run: str
    record: TallyRecord
    part: int
    parts: int
    digest: str
    tick: int
    series: tuple[tuple[str, tuple[str, ...]], ...]


class Triggered(NamedTuple):
    """A never-event violation, sent ahead of its pane."""

    run: str
    trigger: Trigger


class Idle(NamedTuple):
    """A source partition of one topic has been silent; void if its owner's epoch is not the newest."""

    run: str
    shard: int
    topic: Source
    owner: int


class Tick(NamedTuple):
    """Wall-clock time in ms, sent when every source is idle: silence is news."""

    run: str
    ts: int


class Beat(NamedTuple):
    """A shard's sign of life: `fresh` is the wall-clock ms up to which it has read its topics. No verdict rests on it."""

    run: str
    shard: int
    owner: int
    fresh: int


class Command(NamedTuple):
    """A person's command, as it stood at an offset of `commands`; taken once, in this place.

    `refusal` is why it must not be obeyed, by the worker that read it; empty if it may.
    """

    run: str
    partition: int
    offset: int
    body: bytes
    refusal: str = ""


class Follows(NamedTuple):
    """A policy that follows in mid-stream, the `number`th: a shard says so before it sends counts of its time (ms)."""

    run: str
    number: int
    since: int
    policy: str


class Grown(NamedTuple):
    """The input topics get so many partitions: `reached` are shard, chain and last closed pane of each shard that comes."""

    run: str
    shards: int
    reached: list[tuple[int, str, int]]


Record = Topology | Tallies | Triggered | Idle | Tick | Beat | Command | Follows | Grown
KINDS: tuple[type, ...] = (Topology, Tallies, Triggered, Idle, Tick, Beat, Command, Follows, Grown)


def encode(record: Record) -> bytes:
    """Return a record as one message."""
    fields: Any = tuple(record)
    if isinstance(record, Tallies):
        fields = (record.run, _plain(record.record), *fields[2:])
    elif isinstance(record, Triggered):
        fields = (record.run, astuple(record.trigger))
    return MAGIC + pack((KINDS.index(type(record)), fields))


def decode(data: bytes) -> Record:
    """Return the record in a message.

    Raises:
        UnreadableTallyError: it is none, or of another version.
    """
    if not data.startswith(MAGIC):
        raise UnreadableTallyError("not a tally record of this version")
    try:
        kind, fields = unpack(data[len(MAGIC) :])
        return _record(KINDS[kind], fields)
    except (
        msgspec.MsgspecError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise UnreadableTallyError(str(error)) from error


def _record(kind: type, fields: Any) -> Record:
    if kind is Tallies:
        run, record, part, parts, digest, tick, series = fields
        paths = tuple((str(key), tuple(by)) for key, by in series)
        return Tallies(str(run), _tally(record), int(part), int(parts), str(digest), int(tick), paths)
    if kind is Triggered:
        trigger = Trigger(*fields[1])
        return Triggered(str(fields[0]), msgspec.convert(asdict(trigger), Trigger))
    made: Record = msgspec.convert(fields, kind)
    return made


def tallies(run: str, record: TallyRecord, plan: Plan, most: int = MOST_BYTES) -> Iterator[bytes]:
    """Yield the messages of a tally record; an empty one is one message."""
    series = tuple((one.key, tuple(one.by)) for one in plan.series)
    whole = pack(_plain(record))  # once: under load half of a message's cost is this
    digest = hashlib.sha256(whole).hexdigest()[:16]
    pieces = list(_pieces(record, whole, most))
    for part, piece in enumerate(pieces):
        fields = (run, msgspec.Raw(piece), part, len(pieces), digest, plan.tick, series)
        yield MAGIC + pack((KINDS.index(Tallies), fields))


def of_versions(record: TallyRecord, versions: set[int]) -> TallyRecord:
    """Return the counts and exemplars of these version codes alone, over the same panes."""
    keep = np.isin(record.counts[VERSION], list(versions))
    names = {record.versions[code] for code in versions}
    told = tuple(x for x in record.exemplars if x.version in names)
    return _only(record, record.counts[:, keep], told)


@dataclass(slots=True)
class Assembler:
    """Puts the parts of tally records together again; parts of another cut of the same panes take their place."""

    waiting: dict[tuple[int, str], list[Tallies]] = field(default_factory=dict)

    def put(self, part: Tallies) -> TallyRecord | None:
        """Take in a part; return the record once it is whole."""
        place = part.record.shard, part.record.chain
        kept = [x for x in self.waiting.pop(place, []) if x.digest == part.digest and x.part < part.part]
        if len(kept) != part.part:
            return None  # its beginning is not here: it was seen before, or it comes again, whole
        kept.append(part)
        if len(kept) == part.parts:
            return whole(kept)
        self.waiting[place] = kept
        return None

    def snapshot(self) -> list[bytes]:
        """Return the parts that wait, as messages."""
        return [encode(part) for _, parts in sorted(self.waiting.items()) for part in parts]

    def restore(self, saved: list[bytes]) -> None:
        """Take over a snapshot."""
        self.waiting = {}
        for message in saved:
            part = decode(message)
            if isinstance(part, Tallies):
                self.waiting.setdefault((part.record.shard, part.record.chain), []).append(part)


def whole(parts: list[Tallies]) -> TallyRecord:
    """Return a record from all of its parts, in order."""
    if len(parts) == 1:
        return parts[0].record
    first = parts[0].record
    versions: list[tuple[str, str]] = []
    slices: list[str] = []
    tables = []
    for part in parts:
        table = part.record.counts.copy()
        table[VERSION] += len(versions)
        table[SLICE] += len(slices)
        versions += part.record.versions
        slices += part.record.slices
        tables.append(table)
    told = tuple(x for part in parts for x in part.record.exemplars)
    span = first.shard, first.chain, first.after, first.through
    return TallyRecord(*span, np.concatenate(tables, axis=1), tuple(versions), tuple(slices), told)


def _pieces(record: TallyRecord, packed: bytes, most: int) -> Iterator[bytes]:
    """Halve a record until every piece fits, and yield them packed; one cell, or one exemplar, is not cut."""
    cells, told = record.counts.shape[1], len(record.exemplars)
    if cells + told <= 1 or len(packed) <= most:
        yield packed
        return
    half, some = (cells + 1) // 2, told // 2  # of one cell and one exemplar: each by itself
    for piece in (
        _only(record, record.counts[:, :half], record.exemplars[:some]),
        _only(record, record.counts[:, half:], record.exemplars[some:]),
    ):
        yield from _pieces(piece, pack(_plain(piece)), most)


def _only(record: TallyRecord, counts: Ints, exemplars: tuple[Any, ...]) -> TallyRecord:
    """Return a record of some counts, with codes of their own."""
    counts = counts.copy()
    versions, counts[VERSION] = np.unique(counts[VERSION], return_inverse=True)
    slices, counts[SLICE] = np.unique(counts[SLICE], return_inverse=True)
    return TallyRecord(
        record.shard,
        record.chain,
        record.after,
        record.through,
        counts,
        tuple(record.versions[code] for code in versions.tolist()),
        tuple(record.slices[code] for code in slices.tolist()),
        exemplars,
    )


def _plain(record: TallyRecord) -> tuple[Any, ...]:
    """Return a record as plain values, each row of counts in the narrowest integers that hold it."""
    rows = [narrow(row) for row in record.counts]
    told = [plain_exemplar(x) for x in record.exemplars]
    span = record.shard, record.chain, record.after, record.through
    return *span, rows, list(record.versions), list(record.slices), told


def _tally(saved: Any) -> TallyRecord:
    shard, chain, after, through, rows, versions, slices, told = saved
    counts = np.stack([widen(low, row) for low, row in rows])
    if chain not in CHAINS or counts.shape[0] != COUNT + 1:
        raise ValueError(f"no counts of a chain: {chain!r}, {counts.shape}")
    names = tuple((model, version) for model, version in versions)
    return TallyRecord(shard, chain, after, through, counts, names, tuple(slices), tuple(map(exemplar, told)))


def narrow(row: Ints) -> tuple[int, Ints]:
    """Return int64[n] as its lowest value and the differences from it, in the narrowest unsigned integers."""
    low = int(row.min(initial=row[0])) if len(row) else 0
    span = int(row.max(initial=low)) - low if len(row) else 0
    kind: Any = next((k for k in (np.uint8, np.uint16, np.uint32) if span <= np.iinfo(k).max), np.uint64)
    return low, (row - low).astype(kind) if span < 1 << 63 else row


def widen(low: int, row: Ints) -> Ints:
    """Return what `narrow` took."""
    return row.astype(np.int64) + low if row.dtype != np.int64 else row
