"""Rows that change no more: named by what they hold, written to `checkpoints` once, and read back when a state names them."""

import hashlib
from collections.abc import Callable
from itertools import count
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


UNWRITTEN = 1 << 62
"""`written` of a block that has no name yet."""

_NUMBERS = count(1)


class Block:
    """Rows [start, stop) of a store, or `stop - start` changes of its rows.

    `latest`: no row of it has a later effective time, or, of changes, a higher number. `make` returns its bytes, `once` if it
    forgets them then; `take` is who wants them when they are read back. `written` grows from name to name, 0: by another owner.
    """

    __slots__ = (
        "_once",
        "latest",
        "make",
        "name",
        "start",
        "stop",
        "take",
        "written",
    )  # no dataclass: msgspec would write one

    def __init__(  # noqa: PLR0913
        self,
        start: int,
        stop: int,
        latest: int,
        *,
        name: Name | None = None,
        make: Make | None = None,
        once: bool = False,
    ) -> None:
        """Keep all that is known of it."""
        self.start, self.stop, self.latest = start, stop, latest
        self.name, self.make, self._once = name, make, once
        self.written = UNWRITTEN if name is None else 0
        self.take: Take | None = None

    def made_by(self, make: Make) -> "Block":
        """Return it, made by another from now on."""
        self.make = make
        return self

    def named(self, epoch: int, *, anew: bool = False) -> tuple[Name, bytes | None]:
        """Return its name, and its bytes if it gets the name just now: if it had none, or `anew` where that can be."""
        if self.name is not None and not (anew and self.make is not None):
            return self.name, None
        if self.make is None:
            raise RuntimeError("a block without a name that nobody can make")
        data = self.make(self)
        self.name, self.written = Name(epoch, digest_of(data)), next(_NUMBERS)
        self.make = None if self._once else self.make
        return self.name, data
