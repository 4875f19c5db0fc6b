"""Rows that change no more: named by what they hold, written to `checkpoints` once, and read back when a state names them."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

DIGEST = 16
"""Bytes of SHA-256 that name a block."""


class Name(NamedTuple):
    """Under which key a block stands: the epoch of the owner that wrote it, and its digest.

    Equal names are equal bytes, so that whoever writes a block again, however late, changes nothing.
    """

    epoch: int
    digest: bytes


def digest_of(data: bytes) -> bytes:
    """Return what names these bytes."""
    return hashlib.sha256(data).digest()[:DIGEST]


Make = Callable[["Block"], bytes]
Take = Callable[["Block", bytes], None]


class Block:
    """Rows [start, stop) of a store, or `stop - start` changes of its rows.

    `latest`: no row of it has a later effective time, or, of changes, a higher number. `make` returns its bytes, until it
    has a `name`; `take` is who wants them when they are read back.
    """

    __slots__ = ("latest", "make", "name", "start", "stop", "take")  # no dataclass: msgspec would write one by itself

    def __init__(
        self, start: int, stop: int, latest: int, *, name: Name | None = None, make: Make | None = None
    ) -> None:
        """Keep all that is known of it."""
        self.start, self.stop, self.latest = start, stop, latest
        self.name, self.make = name, make
        self.take: Take | None = None

    def named(self, epoch: int) -> tuple[Name, bytes | None]:
        """Return its name, and its bytes if it gets the name just now."""
        if self.name is not None:
            return self.name, None
        if self.make is None:
            raise RuntimeError("a block without a name that nobody can make")
        data = self.make(self)
        self.name, self.make = Name(epoch, digest_of(data)), None
        return self.name, data
