"""State on the compacted `checkpoints` topic (STREAM.md §4): written whole, in two slots an owner, read the furthest.

Keys hold the owner's epoch, so that what a zombie writes late stands beside the newer state and never over it.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import convert

from interlock.streams.checkpoint import DamagedStateError, decode, encode, pack, unpack
from interlock.streams.live import Outgoing

PIECE = 512 * 1024
TOPIC = "checkpoints"

Name = tuple[str, str, int, int, int, int]
"""Run, kind, number, epoch, slot, piece."""

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
    """A state that was found whole, and the keys of all pieces of the owner that it supersedes."""

    place: Place
    state: Mapping[str, Any]

    @property
    def reach(self) -> int:
        """How far it has come: the sum of its positions."""
        return sum(self.state["positions"].values())


def key(owner: Owner, place: Place, piece: int) -> bytes:
    """Return the key of a piece."""
    return pack((*owner, *place, piece))


def pieces(owner: Owner, place: Place, state: Mapping[str, Any], partition: int) -> list[Outgoing]:
    """Return a state as messages under one digest; a reader takes all of them or none."""
    data = encode(state)
    digest = hashlib.sha256(data).hexdigest()
    parts = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return [
        Outgoing(TOPIC, pack((digest, len(parts), part)), key(owner, place, piece), partition)
        for piece, part in enumerate(parts)
    ]


class Found:
    """What stands on a partition of the topic: pieces by owner, place and number."""

    def __init__(self) -> None:
        """Start empty."""
        self._pieces: dict[Owner, dict[Place, dict[int, Piece]]] = {}

    def put(self, name: bytes | None, value: bytes | None) -> None:
        """Take in a record; one that is no piece is passed over."""
        try:
            run, kind, number, epoch, slot, piece = convert(unpack(name or b""), Name)
            found = None if value is None else convert(unpack(value), Piece)
            place = self._pieces.setdefault(Owner(run, kind, number), {}).setdefault(Place(epoch, slot), {})
            if found is None:
                place.pop(piece, None)
            else:
                place[piece] = found
        except (ValueError, TypeError) as error:
            log.warning("a record of %s is no piece of a checkpoint: %s", TOPIC, error)

    def furthest(self, owner: Owner) -> Saved | None:
        """Return the whole, undamaged state that has come furthest."""
        best: Saved | None = None
        for place, kept in sorted(self._pieces.get(owner, {}).items()):
            state = _whole(kept)
            if state is not None:
                saved = Saved(place, state)
                best = saved if best is None or saved.reach >= best.reach else best
        return best

    def older(self, owner: Owner, epoch: int) -> list[bytes]:
        """Return the keys of all pieces that other epochs of an owner left."""
        places = self._pieces.get(owner, {})
        return [key(owner, place, n) for place, kept in places.items() if place.epoch != epoch for n in kept]

    def runs(self, kind: str, number: int) -> set[str]:
        """Return the runs that have left a state of a shard or judge."""
        return {
            owner.run
            for owner, places in self._pieces.items()
            if (owner.kind, owner.number) == (kind, number) and any(places.values())
        }


def _whole(kept: Mapping[int, Piece]) -> Mapping[str, Any] | None:
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
        return decode(data)
    except DamagedStateError as error:
        log.warning("a checkpoint cannot be read: %s", error)
        return None


class Writer:
    """Writes the states of one owner, into its two slots in turn."""

    def __init__(self, owner: Owner, epoch: int, partition: int, older: list[bytes]) -> None:
        """Own from this epoch on; `older` are keys to be deleted once a state of ours is durable."""
        self._owner, self._epoch, self._partition, self._older = owner, epoch, partition, older
        self._slot = 0
        self._sizes = [0, 0]

    def spare(self, place: Place) -> None:
        """Write into the other slot first, if this place is one of ours: a group made anew counts its epochs anew."""
        if place.epoch == self._epoch:
            self._slot = place.slot

    def write(self, state: Mapping[str, Any]) -> list[Outgoing]:
        """Return the messages of a state."""
        self._slot ^= 1
        place = Place(self._epoch, self._slot)
        sent = pieces(self._owner, place, state, self._partition)
        shrunk = range(len(sent), self._sizes[self._slot])
        self._sizes[self._slot] = len(sent)
        gone = [Outgoing(TOPIC, None, key(self._owner, place, piece), self._partition) for piece in shrunk]
        return sent + gone

    def written(self) -> list[bytes]:
        """Return the keys of the pieces that stand, ours and older: what a later epoch of the same owner supersedes."""
        sizes = enumerate(self._sizes)
        return self._older + [
            key(self._owner, Place(self._epoch, slot), n) for slot, size in sizes for n in range(size)
        ]

    def superseded(self) -> list[Outgoing]:
        """Return the tombstones of older epochs; send them when a state of ours is durable."""
        gone, self._older = self._older, []
        return [Outgoing(TOPIC, None, name, self._partition) for name in gone]
