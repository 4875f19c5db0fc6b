"""Blocks that are read back into a store: rows in their order, changes once their rows are there."""

from collections.abc import Callable, Sequence
from typing import Any

from interlock.streams.blocks import Block
from interlock.streams.checkpoint import expand, unpack

Take = Callable[[dict[str, Any]], None]


class Loader:
    """Takes the blocks of one store in any order; what comes before its turn is kept as it came."""

    def __init__(
        self, blocks: Sequence[Block], changes: Sequence[Block], take: tuple[Take, Take, Callable[[], None]]
    ) -> None:
        """Wait for these blocks; `take` are what takes the columns of rows, of changes, and what comes after all."""
        self._rows, self._changes, self._last = take
        self._order, self._next = list(blocks), 0
        self._early: dict[int, bytes] = {}
        self._waits: list[tuple[Block, bytes]] = []
        self._missing = len(blocks) + len(changes)
        for block in blocks:
            block.take = self._row
        for block in changes:
            block.take = self._change
        self._step()

    def _row(self, block: Block, data: bytes) -> None:
        self._early[block.start] = data
        self._step()

    def _change(self, block: Block, data: bytes) -> None:
        self._waits.append((block, data))
        self._step()

    def _step(self) -> None:
        while self._next < len(self._order) and (data := self._early.pop(self._order[self._next].start, None)):
            self._rows(unpack(expand(data)))
            self._next += 1
            self._missing -= 1
        end = self._order[self._next - 1].stop if self._next else 0
        ready = [data for block, data in self._waits if block.latest < end]
        self._waits = [one for one in self._waits if one[0].latest >= end]
        for data in ready:
            self._changes(unpack(expand(data)))
            self._missing -= 1
        if not self._missing:
            self._missing = -1
            self._last()
