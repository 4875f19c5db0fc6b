"""Events remembered by id: an open-addressing index over append-only columns, vectorised for whole chunks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Rows = NDArray[np.int64]
FREE = -1


class Store:
    """Rows of fixed columns, found by a 128-bit id hash.

    Columns `h1`, `h2` (uint64) and `e` (int64 effective time) always exist; the caller names the others. The index
    holds row numbers at `h1 & mask` with linear probing at a load of at most one half, so that a chunk is inserted or
    looked up in a few passes of array operations.
    """

    def __init__(self, payload: Mapping[str, DTypeLike]) -> None:
        """Start empty, with these payload columns."""
        kinds = {"h1": np.uint64, "h2": np.uint64, "e": np.int64, **payload}
        self._kinds: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in kinds.items()}
        self._columns = {name: np.zeros(1024, kind) for name, kind in self._kinds.items()}
        self._table = np.full(4096, FREE, np.int64)
        self.size = 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the live part of a column: a view, so that assignment to its rows is kept."""
        return self._columns[name][: self.size]

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def append(self, columns: Mapping[str, NDArray[Any]]) -> Rows:
        """Add rows without indexing them; return their numbers."""
        n = len(columns["h1"])
        self._reserve(self.size + n)
        for name, values in columns.items():
            self._columns[name][self.size : self.size + n] = values
        rows = np.arange(self.size, self.size + n)
        self.size += n
        return rows

    def index(self, rows: Rows) -> Rows:
        """Enter appended rows, first come first served; return for each the row that holds its id (itself if new)."""
        h1, h2 = self["h1"], self["h2"]
        found = np.full(len(rows), FREE, np.int64)
        slots = self._slots(h1[rows])
        active = np.arange(len(rows))
        while active.size:
            at = slots[active]
            empty = self._table[at] == FREE
            claims = active[empty][::-1]  # of several claims to a slot numpy keeps the last written: the earliest row
            self._table[slots[claims]] = rows[claims]
            held = self._table[at]
            same = (h1[held] == h1[rows[active]]) & (h2[held] == h2[rows[active]])
            found[active[same]] = held[same]
            active = active[~same]
            slots[active] = (slots[active] + 1) & (len(self._table) - 1)
        return found

    def find(self, h1: NDArray[np.uint64], h2: NDArray[np.uint64]) -> Rows:
        """Return the indexed row of each id, or -1."""
        found = np.full(len(h1), FREE, np.int64)
        slots = self._slots(h1)
        active = np.arange(len(h1))
        while active.size:
            held = self._table[slots[active]]
            active, held = active[held != FREE], held[held != FREE]
            same = (self["h1"][held] == h1[active]) & (self["h2"][held] == h2[active])
            found[active[same]] = held[same]
            active = active[~same]
            slots[active] = (slots[active] + 1) & (len(self._table) - 1)
        return found

    def head(self, row: int) -> int:
        """Return the row that the index leads to for the id of a row."""
        return int(self.find(self["h1"][row : row + 1], self["h2"][row : row + 1])[0])

    def replace(self, old: int, new: int) -> None:
        """Let the index lead to row `new` where it led to row `old` (same id)."""
        slot = int(self._slots(self["h1"][old : old + 1])[0])
        while self._table[slot] != old:
            slot = (slot + 1) & (len(self._table) - 1)
        self._table[slot] = new

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget all other rows. Row numbers change; order and what the index led to stay."""
        indexed = np.zeros(self.size, np.bool_)
        indexed[self._table[self._table != FREE]] = True
        kept = np.flatnonzero(rows)
        for values in self._columns.values():  # in place: the room will be filled again before the next time
            values[: len(kept)] = values[kept]
            values[len(kept) : self.size] = 0
        self.size = len(kept)
        self._rebuild(np.flatnonzero(indexed[kept]))

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of the live columns and of the rows that the index leads to."""
        held = np.sort(self._table[self._table != FREE])
        return {"indexed": held} | {name: values[: self.size].copy() for name, values in self._columns.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become the store of which `state` is a snapshot."""
        self.size = len(state["h1"])
        for name, kind in self._kinds.items():
            known = state.get(name, np.full(self.size, -1))  # a policy that came later asks for more: of these, nothing
            self._columns[name] = np.concatenate((known, np.zeros(1024, kind))).astype(kind)
        self._rebuild(state["indexed"].astype(np.int64))

    def _slots(self, h1: NDArray[np.uint64]) -> Rows:
        return (h1 & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _reserve(self, size: int) -> None:
        capacity = len(self._columns["h1"])
        if size > capacity:
            for name, values in self._columns.items():
                grown = np.zeros(max(size, 2 * capacity), values.dtype)
                grown[: self.size] = values[: self.size]
                self._columns[name] = grown
        if 2 * size > len(self._table):
            self._rebuild(np.sort(self._table[self._table != FREE]))

    def _rebuild(self, rows: Rows) -> None:
        length = 4096
        while length < 2 * len(self._columns["h1"]):
            length *= 2
        self._table = np.full(length, FREE, np.int64)
        self.index(rows)
