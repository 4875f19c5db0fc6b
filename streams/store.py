"""Events remembered by id: rows that never change in the order of their coming, bits that do, and an index of both.

Effective time hardly ever runs back (by `lateness` at most, STREAM.md §1), so that blocks of consecutive rows are buckets of
time: what is too old is forgotten a block at a time. Until its block goes, a row that is too old is still found: callers go by
its time, never by its presence, so that no result depends on where blocks end, or on which of them are on disk.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from interlock.streams.blocks import UNWRITTEN, Block
from interlock.streams.budget import Budget
from interlock.streams.changes import Changes
from interlock.streams.checkpoint import compress, pack
from interlock.streams.cold import PAGE, Cold
from interlock.streams.fingerprints import Fingerprints
from interlock.streams.loading import Loader
from interlock.streams.tape import Tape

Rows = NDArray[np.int64]
Records = NDArray[Any]

BLOCK = 480_000
"""Bytes of a block's records: with all else that is one message, it stays below 512 KiB."""


ABSENT = {"revision": 0, "before": 0}
"""What old states say of fields that they have not; of all others, and where a policy came later that asks for more: nothing, -1."""


def end_of(state: Mapping[str, Any]) -> int:
    """Return the number of the row after the last one of a store's snapshot."""
    if "blocks" not in state:
        rows = state["h1"][state["indexed"]] if "indexed" in state else state["h1"]
        return int(state.get("first", 0)) + len(rows)
    begin: int = state["blocks"][-1].stop if state["blocks"] else state["first"]
    return begin + len(state["rest"]["h1"])


class Store:
    """Records of fixed fields by a 128-bit id hash, each with `met`: uint8 whose bits may be set later.

    Fields `h1`, `h2` (uint64) and `e` (int64 effective time) always exist; the caller names the others. Rows are numbered
    in order and keep their numbers. The oldest records may be on disk, as the budget asks.
    """

    def __init__(self, payload: Mapping[str, DTypeLike], budget: Budget | None = None) -> None:
        """Start empty, with these fields."""
        fields = {"h1": "u8", "h2": "u8", "e": "i8", **payload}
        self.kind = np.dtype([(name, np.dtype(kind).newbyteorder("<")) for name, kind in fields.items()])
        self._budget = budget or Budget()
        self._grain = self._budget.rows or BLOCK // self.kind.itemsize
        self._cold = Cold(self.kind, self._budget.shelf()) if self._budget.shelf else None
        self._budget.join(self)
        self._begin(0)

    def _begin(self, first: int) -> None:
        """Hold nothing; the next row is `first`."""
        if self._cold is not None:
            self._cold.begin()
        self._index = Fingerprints()
        self._records, self._met = Tape(self.kind, first // PAGE * PAGE), Tape(np.uint8, first)
        self._records.extend(np.zeros(first % PAGE, self.kind))  # pages are whole
        self._blocks: list[Block] = []
        self._closed, self._changes = first, Changes(first)
        self._loader: Loader | None = None

    # -- rows --------------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The oldest row."""
        return self._met.first

    @property
    def end(self) -> int:
        """The number of the next row."""
        return self._met.end

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.end - self.first

    @property
    def remembered(self) -> int:
        """Bytes of all records that there ever were."""
        return self.end * self.kind.itemsize

    def append(self, h1: NDArray[np.uint64], h2: NDArray[np.uint64], e: NDArray[np.int64]) -> Rows:
        """Add rows; return their numbers. Of rows with the same id only the newest is found from now on."""
        self._budget.settle()  # before: the rows of the last call are filled by now
        records = np.zeros(len(h1), self.kind)
        records["h1"], records["h2"], records["e"] = h1, h2, e
        return self._add(records, np.zeros(len(h1), np.uint8))

    def _add(self, records: Records, met: NDArray[np.uint8]) -> Rows:
        rows = np.arange(self.end, self.end + len(records))
        self._records.extend(records)
        self._met.extend(met)
        self._index.add(records["h1"], rows, self.first)
        while self.end - self._closed >= self._grain:
            start, self._closed = self._closed, self._closed + self._grain
            latest = int(self._span(start, self._closed)["e"].max())
            self._blocks.append(Block(start, self._closed, latest, make=self._data))
        return rows

    def fill(self, rows: Rows, columns: Mapping[str, NDArray[Any]]) -> None:
        """Set fields of rows that the last `append` has added."""
        for name, values in columns.items():
            self._records.fill(rows, name, values)

    def find(self, h1: NDArray[np.uint64], h2: NDArray[np.uint64]) -> Rows:
        """Return the newest row of each id, or -1."""
        places, rows = self._index.find(h1, self.first)
        records = self.take(rows)
        same = (records["h1"] == h1[places]) & (records["h2"] == h2[places])
        found = np.full(len(h1), -1, np.int64)
        np.maximum.at(found, places[same], rows[same])
        return found

    def take(self, rows: Rows) -> Records:
        """Return the records of these rows, by field."""
        cold = rows < self._records.first
        if self._cold is None or not cold.any():
            return self._records.take(rows)
        found = np.empty(len(rows), self.kind)
        found[~cold] = self._records.take(rows[~cold])
        found[cold] = self._cold.take(rows[cold])
        return found

    def _span(self, start: int, stop: int) -> Records:
        return self._records.span(start, stop) if start >= self._records.first else self.take(np.arange(start, stop))

    def met(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the bits of these rows."""
        return self._met.take(rows)

    def mark(self, rows: Rows, bits: int) -> None:
        """Set bits of these rows."""
        if len(rows):
            self._met.add_bits(rows, np.full(len(rows), bits, np.uint8))
            self._changes.add(rows, bits)

    def unmet(self) -> Rows:
        """Return the rows without any bit, in order."""
        return self._met.zeros()

    # -- forgetting --------------------------------------------------------------------------------------------------

    def oldest(self) -> Block | None:
        """Return the block that goes first; None while there is less than one."""
        return self._blocks[0] if self._blocks else None

    def forget(self) -> None:
        """Forget the oldest block."""
        first = self._blocks.pop(0).stop
        self._met.cut(first)
        if self._records.first < first:
            self._records.cut(first // PAGE * PAGE)
        if self._cold is not None:
            self._cold.forget(first)

    # -- memory ------------------------------------------------------------------------------------------------------

    @property
    def resident(self) -> int:
        """Bytes of the records in memory."""
        return self._records.nbytes

    def spill(self, size: int) -> int:
        """Move about so many bytes of the oldest records to disk; return how many. OSError if that fails."""
        start = self._records.first
        stop = min(start + -(-size // self.kind.itemsize) + PAGE, self._records.end) // PAGE * PAGE
        if self._cold is None or stop <= start:
            return 0
        self._cold.put(start, self._records.span(start, stop))
        self._records.cut(stop)
        return (stop - start) * self.kind.itemsize

    def close(self) -> None:
        """Let go what is on disk."""
        self._budget.leave(self)
        if self._cold is not None:
            self._cold.close()

    # -- state -------------------------------------------------------------------------------------------------------

    def snapshot(self, *, blocks: bool = False) -> dict[str, Any]:
        """Return the rows as columns; with `blocks` those of no block only, and the blocks that name the others."""
        if not blocks:
            return {"first": self.first, **self.columns(self.first, self.end)}
        self._changes.sealed = self._closed
        logged = self._changes.blocks(self.first, min((block.written for block in self._blocks), default=UNWRITTEN))
        state = {"first": self.first, "blocks": list(self._blocks), "logged": logged, "changed": self._changes.rest()}
        return state | {"rest": self.columns(self._closed, self.end)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the store of which `state` is a snapshot; with blocks, it is whole once each of them was taken."""
        if "blocks" not in state:
            self._begin(state.get("first", 0))
            self._put_back(state)
            return
        self._begin(state["first"])
        self._loader = Loader(
            state["blocks"], state["logged"], (self._put_back, self._set, lambda: self._finish(state))
        )

    def _finish(self, state: Mapping[str, Any]) -> None:
        """Take the rest, after the rows of the blocks; those are as they were named."""
        self._blocks = [block.made_by(self._data) for block in state["blocks"]]
        self._closed = self._blocks[-1].stop if self._blocks else self.first
        self._put_back(state["rest"])
        self._set(state["changed"])
        self._changes = Changes(self._closed, state["logged"])
        self._changes.put_back(state["changed"]["row"], state["changed"]["met"])

    def take_over(self, other: "Store") -> None:
        """Hold the rows of another, which has not all of these fields perhaps; their blocks keep their names."""
        state = other.snapshot(blocks=True)
        self._begin(other.first)
        for block in state["blocks"]:
            self._put_back(other.columns(block.start, block.stop))
        self._finish(state)

    def _put_back(self, columns: Mapping[str, Any]) -> None:
        rows = columns["indexed"] if "indexed" in columns else slice(None)  # of old states: the others were repeats
        self._budget.settle()
        records = np.zeros(len(columns["h1"][rows]), self.kind)
        for name in self.kind.names or ():
            records[name] = columns[name][rows] if name in columns else ABSENT.get(name, -1)
        self._add(records, columns["met"][rows].astype(np.uint8))

    def _set(self, columns: Mapping[str, Any]) -> None:
        live = columns["row"] >= self.first
        self._met.add_bits(columns["row"][live], columns["met"][live])

    def _data(self, block: Block) -> bytes:
        return compress(pack(self.columns(block.start, block.stop)))

    def columns(self, start: int, stop: int) -> dict[str, Any]:
        """Return the rows from `start` up to `stop` as columns."""
        records = self._span(start, stop)
        columns = {name: np.ascontiguousarray(records[name]) for name in self.kind.names or ()}
        return columns | {"met": self._met.span(start, stop)}
