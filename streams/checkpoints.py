"""State on the compacted `checkpoints` topic (STREAM.md §4): in two slots an owner, read the furthest; its blocks once.

Keys hold the owner's epoch, so that what a zombie writes late stands beside the newer state and never over it. Blocks have
keys of their own, which end in their digest: a new owner names the old ones until it has written them under its own epoch.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import convert

from interlock.streams.blocks import Block, Name, digest_of
from interlock.streams.checkpoint import DamagedStateError, NameOf, decode, encode, pack, unpack
from interlock.streams.live import Outgoing

PIECE = 512 * 1024
TOPIC = "checkpoints"

Key = tuple[str, str, int, int, int | str, int | bytes]
"""Run, kind, number, epoch; then slot and piece of a state, or BLOCK and digest."""

BLOCK = "block"

ANEW = 16
"""Blocks of the owner before that are written anew with a state, at most."""

Piece = tuple[str, int, bytes]
"""The digest of the whole, the number of its pieces, a part of it."""

log = logging.getLogger("interlock.checkpoints")


class Owner(NamedTuple):
    """Whose state: the run (policy and reference), "shard" or "judge", and its number."""

    run: str
    kind: str
    number: int


class Place(NamedTuple):
    """Where a state was written: by which owner's epoch, into which slot."""

    epoch: int
    slot: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A state that was found whole, and where on the partition each of the blocks stands that it names."""

    place: Place
    state: Mapping[str, Any]
    blocks: Mapping[int, list[Block]] = field(default_factory=dict)

    @property
    def reach(self) -> int:
        """How far it has come: the sum of its positions."""
        return sum(self.state["positions"].values())


def key(owner: Owner, place: Place, piece: int) -> bytes:
    """Return the key of a piece."""
    return pack((*owner, *place, piece))


def block_key(owner: Owner, name: Name) -> bytes:
    """Return the key of a block."""
    return pack((*owner, name.epoch, BLOCK, name.digest))


def pieces(
    owner: Owner, place: Place, state: Mapping[str, Any], partition: int, name: NameOf | None = None
) -> list[Outgoing]:
    """Return a state as messages under one digest; a reader takes all of them or none. `name` as in `pack`."""
    data = encode(state, name or (lambda block: block.named(place.epoch)[0]))
    digest = hashlib.sha256(data).hexdigest()
    parts = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return [
        Outgoing(TOPIC, pack((digest, len(parts), part)), key(owner, place, piece), partition)
        for piece, part in enumerate(parts)
    ]


class Found:
    """What stands on a partition of the topic: pieces by owner, place and number; of blocks, only where they are."""

    def __init__(self) -> None:
        """Start empty."""
        self._pieces: dict[Owner, dict[Place, dict[int, Piece]]] = {}
        self._blocks: dict[Owner, dict[Name, int]] = {}

    def put(self, name: bytes | None, value: bytes | None, offset: int = 0) -> None:
        """Take in a record; one that is neither piece nor block is passed over."""
        try:
            run, kind, number, epoch, slot, piece = convert(unpack(name or b""), Key)
            owner = Owner(run, kind, number)
            if isinstance(slot, int) and isinstance(piece, int):
                self._piece(owner, Place(epoch, slot), piece, value)
            elif slot == BLOCK and isinstance(piece, bytes):
                self._block(owner, Name(epoch, piece), value, offset)
        except (ValueError, TypeError) as error:
            log.warning("a record of %s is no piece of a checkpoint: %s", TOPIC, error)

    def _piece(self, owner: Owner, place: Place, piece: int, value: bytes | None) -> None:
        found = None if value is None else convert(unpack(value), Piece)
        kept = self._pieces.setdefault(owner, {}).setdefault(place, {})
        if found is None:
            kept.pop(piece, None)
        else:
            kept[piece] = found

    def _block(self, owner: Owner, name: Name, value: bytes | None, offset: int) -> None:
        blocks = self._blocks.setdefault(owner, {})
        blocks.pop(name, None)
        if value is not None and digest_of(value) == name.digest:
            blocks[name] = offset
        elif value is not None:
            log.warning("%s %d: a block of epoch %d is damaged", owner.kind, owner.number, name.epoch)

    def furthest(self, owner: Owner) -> Saved | None:
        """Return the whole, undamaged state that has come furthest, none of whose blocks is missing or damaged."""
        best: Saved | None = None
        for place, kept in sorted(self._pieces.get(owner, {}).items()):
            saved = self._saved(owner, place, kept)
            if saved is not None:
                best = saved if best is None or saved.reach >= best.reach else best
        return best

    def _saved(self, owner: Owner, place: Place, kept: Mapping[int, Piece]) -> Saved | None:
        named: list[Block] = []
        state = _whole(kept, named)
        if state is None:
            return None
        there, blocks = self._blocks.get(owner, {}), dict[int, list[Block]]()
        for block in named:
            offset = there.get(block.name) if block.name else None
            if offset is None:
                log.warning(
                    "%s %d: the checkpoint of epoch %d names a block that is gone or damaged; an older one is sought",
                    *(owner.kind, owner.number, place.epoch),
                )
                return None
            blocks.setdefault(offset, []).append(block)
        return Saved(place, state, blocks)

    def older(self, owner: Owner, epoch: int, named: Collection[Name] = ()) -> list[bytes]:
        """Return the keys of all that other epochs of an owner left, but for the blocks that are still named."""
        places, blocks = self._pieces.get(owner, {}), self._blocks.get(owner, {})
        left = [key(owner, place, n) for place, kept in places.items() if place.epoch != epoch for n in kept]
        return left + [block_key(owner, name) for name in blocks if name.epoch != epoch and name not in named]

    def left(self, owner: Owner) -> bool:
        """Return whether an owner has left any state, whole or not."""
        return any(self._pieces.get(owner, {}).values())

    def owners(self) -> list[Owner]:
        """Return all who have left anything."""
        return sorted(self._pieces)

    def runs(self, kind: str, number: int) -> set[str]:
        """Return the runs that have left a state of a shard or judge."""
        return {
            owner.run
            for owner, places in self._pieces.items()
            if (owner.kind, owner.number) == (kind, number) and any(places.values())
        }


def _whole(kept: Mapping[int, Piece], blocks: list[Block]) -> Mapping[str, Any] | None:
    if 0 not in kept:
        return None
    digest, count, _ = kept[0]
    if count > len(kept):
        return None
    parts = [kept.get(piece) for piece in range(count)]
    if any(part is None or part[0] != digest for part in parts):
        return None
    data = b"".join(part[2] for part in parts if part)
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    try:
        return decode(data, blocks)
    except DamagedStateError as error:
        log.warning("a checkpoint cannot be read: %s", error)
        return None


class Writer:
    """Writes the states of one owner, into its two slots in turn.

    Whoever owned it before may believe that it still does, and delete blocks of its own that we still name. So those are
    written anew under our epoch, some at each state, and nothing of other epochs is deleted until a durable state names ours only:
    before that, nobody deletes what theirs rest on; after it, nobody deletes what ours rests on.
    """

    def __init__(
        self, owner: Owner, epoch: int, partition: int, older: list[bytes], named: Collection[Name] = ()
    ) -> None:
        """Own from this epoch on; `older` are keys to be deleted once a state of ours is durable, `named` blocks that stand."""
        self._owner, self._partition, self._older = owner, partition, older
        self.epoch = self.since = epoch
        self._slot = 0
        self._sizes = [0, 0]
        self._stand, self._named = set(named), [set(named), set(named)]

    def spare(self, place: Place) -> None:
        """Write into the other slot first, if this place is one of ours: a group made anew counts its epochs anew."""
        if place.epoch == self.epoch:
            self._slot = place.slot

    def after(self, last: "Writer") -> None:
        """Go on from an epoch of the same worker; if it was the one just before ours, nobody else can have owned it meanwhile."""
        self.since = last.since if self.epoch == last.epoch + 1 else self.epoch

    def write(self, state: Mapping[str, Any]) -> list[Outgoing]:
        """Return the messages of a state."""
        self._slot ^= 1
        named: set[Name] = set()
        new: list[Outgoing] = []
        left = ANEW

        def name(block: Block) -> Name:
            nonlocal left
            foreign = block.name is not None and not self._ours(block.name)
            found, data = block.named(self.epoch, anew=foreign and left > 0)
            left -= foreign and data is not None
            named.add(found)
            if data is not None:
                new.append(Outgoing(TOPIC, data, block_key(self._owner, found), self._partition))
            return found

        sent = pieces(self._owner, Place(self.epoch, self._slot), state, self._partition, name)
        self._named[self._slot] = named
        self._stand |= named
        shrunk = range(len(sent), self._sizes[self._slot])
        self._sizes[self._slot] = len(sent)
        gone = [Outgoing(TOPIC, None, self._key(self._slot, piece), self._partition) for piece in shrunk]
        return new + sent + gone  # blocks first: what is named stands

    def _ours(self, name: Name) -> bool:
        return self.since <= name.epoch <= self.epoch

    def _key(self, slot: int, piece: int) -> bytes:
        return key(self._owner, Place(self.epoch, slot), piece)

    def written(self) -> list[bytes]:
        """Return the keys of the pieces that stand, ours and older: what a later epoch of the same owner supersedes."""
        return self._older + [self._key(slot, n) for slot, size in enumerate(self._sizes) for n in range(size)]

    @property
    def named(self) -> Collection[Name]:
        """The blocks that stand."""
        return self._stand

    @property
    def alone(self) -> bool:
        """Whether the last state names no block that another owner may delete."""
        return all(map(self._ours, self._named[self._slot]))

    def superseded(self) -> list[Outgoing]:
        """Return the tombstones of older epochs, and of blocks that neither slot names; send them when the last state is durable."""
        left = {name for name in self._stand - self._named[0] - self._named[1] if self.alone or self._ours(name)}
        self._stand -= left
        gone = [block_key(self._owner, name) for name in sorted(left)]
        if self.alone:
            gone, self._older = self._older + gone, []
        return [Outgoing(TOPIC, None, name, self._partition) for name in gone]
