"""Bits of rows that changed after the rows' block was written: a log of its own, in blocks of its own."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.streams.blocks import Block
from interlock.streams.checkpoint import compress, pack

Rows = NDArray[np.int64]

BLOCK = 32_768
"""Changes of a block; 9 bytes each before compression."""


class Changes:
    """Bits that were set of rows before `sealed`, since those were written. Set twice is set: their order is all one."""

    def __init__(self, sealed: int, blocks: Iterable[Block] = (), most: int = BLOCK) -> None:
        """Start with what stands in these blocks."""
        self.sealed = sealed
        self._blocks, self._most = list(blocks), most
        self._rows, self._bits = np.zeros(0, np.int64), np.zeros(0, np.uint8)
        self._new: list[tuple[Rows, int]] = []

    def add(self, rows: Rows, bits: int) -> None:
        """Note that bits of rows were set."""
        if len(old := rows[rows < self.sealed]):
            self._new.append((old, bits))

    def put_back(self, rows: Rows, bits: NDArray[np.uint8]) -> None:
        """Start with these, which are of no block yet."""
        self._rows, self._bits = rows, bits

    def blocks(self, first: int, written: int) -> list[Block]:
        """Return the blocks that say something of rows from `first` on, new ones among them.

        All blocks of rows were `written` then or later, with the bits that were set by then.
        """
        self._gather(first)
        while len(self._rows) >= self._most:
            self._close()
        self._blocks = [block for block in self._blocks if block.latest >= first and block.written >= written]
        return list(self._blocks)

    def rest(self) -> dict[str, Any]:
        """Return what is of no block yet."""
        return {"row": self._rows, "met": self._bits}

    def _gather(self, first: int) -> None:
        rows = [self._rows, *(rows for rows, _ in self._new)]
        bits = [self._bits, *(np.full(len(rows), bits, np.uint8) for rows, bits in self._new)]
        self._rows, self._bits, self._new = np.concatenate(rows), np.concatenate(bits), []
        live = self._rows >= first
        self._rows, self._bits = self._rows[live], self._bits[live]

    def _close(self) -> None:
        rows, bits = self._rows[: self._most], self._bits[: self._most]
        self._rows, self._bits = self._rows[self._most :], self._bits[self._most :]
        data = compress(pack({"row": rows, "met": bits}))
        self._blocks.append(Block(0, len(rows), int(rows.max()), make=lambda _: data, once=True))
