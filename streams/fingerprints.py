"""Which rows may hold an id: a hash table of 8 bytes an entry, filled and asked whole chunks at a time."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LANES = 8
"""Entries of a bucket: 64 bytes, which a processor fetches at once."""

ROW_BITS = 28
ROW = np.uint64((1 << ROW_BITS) - 1)
MOST = (1 << ROW_BITS) - 2
"""Rows that a table can tell apart, from the first live one on."""

HALF = np.uint64(32)
FULLEST, AFTERWARDS = 0.85, 0.6
"""Shares of the entries that are taken: when a table is made anew, and after that."""

STRIDES = 16
"""Steps after which a search goes on from bucket to bucket, and so comes to all of them."""

SLICE = 1 << 17
"""Buckets that are moved at a time when it is made anew."""


class Fingerprints:
    """Rows by the upper 36 bits of a 64-bit hash that must be uniform.

    An entry is those bits and, in the lower 28, a row counted from an origin, plus 1; 0 is free. A bucket is filled from
    the left; what finds no place in it goes on by a step of its own, so that full buckets do not clot. Entries of forgotten rows stay until the table is made anew.
    About one in 1,400 look-ups of 50 million rows gets a row that holds another id: whoever asks compares the ids.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._table = np.zeros((64, LANES), np.uint64)
        self._taken, self._origin = 0, 0

    @property
    def nbytes(self) -> int:
        """Size of the table in bytes."""
        return self._table.nbytes

    def find(self, h1: Hashes, first: int) -> tuple[Rows, Rows]:
        """Return pairs of a place in `h1`, and a row from `first` on that may hold it: int64[m] twice, in any order."""
        places, rows = [], []
        active, at, step, tags = np.arange(len(h1)), self._buckets(h1), _steps(h1), h1 & ~ROW
        turn = 0
        while active.size:
            turn += 1
            bucket = self._table[at]
            same = (bucket ^ tags[active][:, None]) <= ROW
            place, lane = np.nonzero(same)
            codes = (bucket[place, lane] & ROW).astype(np.int64)
            held = codes + (self._origin - 1)
            live = (codes > 0) & (held >= first)
            places.append(active[place[live]])
            rows.append(held[live])
            full = bucket[:, LANES - 1] != 0
            active, step = active[full], step[full]
            at = (at[full] + (step * turn if turn < STRIDES else 1)) % len(self._table)
        return (np.concatenate(places), np.concatenate(rows)) if places else (np.zeros(0, np.int64),) * 2

    def add(self, h1: Hashes, rows: Rows, first: int) -> None:
        """Enter rows; those before `first` may be forgotten.

        Raises:
            OverflowError: more than 268 million rows are live.
        """
        if not len(rows):
            return
        if int(rows[-1]) - self._origin > MOST or self._taken + len(rows) > FULLEST * self._table.size:
            self._renew(len(rows), first)
        if int(rows[-1]) - self._origin > MOST:
            raise OverflowError(f"more than {MOST} events are remembered at a time")
        self._enter(h1, (rows - (self._origin - 1)).astype(np.uint64))

    def _enter(self, h1: Hashes, codes: Hashes) -> None:
        entries, at, step = (h1 & ~ROW) | codes, self._buckets(h1), _steps(h1)
        self._taken += len(entries)
        turn = 0
        while entries.size:
            turn += 1
            order = np.argsort(at, kind="stable")
            entries, at, step = entries[order], at[order], step[order]
            lane = np.count_nonzero(self._table[at], axis=1) + _ranks(at)
            fits = lane < LANES
            self._table[at[fits], lane[fits]] = entries[fits]
            entries, step = entries[~fits], step[~fits]
            at = (at[~fits] + (step * turn if turn < STRIDES else 1)) % len(self._table)

    def _buckets(self, h1: Hashes) -> Rows:
        """Return the home of each hash: buckets are in the order of hashes, and may be of any number."""
        return (((h1 >> HALF) * np.uint64(len(self._table))) >> HALF).astype(np.int64)

    def _renew(self, more: int, first: int) -> None:
        """Make the table anew without the forgotten, with room for the rest and some more."""
        old, origin = self._table, self._origin
        live = sum(len(_live(old[at : at + SLICE], origin, first)) for at in range(0, len(old), SLICE))
        buckets = int((live + more) / (AFTERWARDS * LANES)) + 64
        self._table, self._taken, self._origin = np.zeros((buckets, LANES), np.uint64), 0, first
        for at in range(0, len(old), SLICE):
            entries = _live(old[at : at + SLICE], origin, first)
            self._enter(entries & ~ROW, (entries & ROW) + np.uint64(origin) - np.uint64(first))


def _live(part: NDArray[np.uint64], origin: int, first: int) -> Hashes:
    entries: Hashes = part[part != 0]
    return entries[(entries & ROW).astype(np.int64) + (origin - 1) >= first]


def _steps(h1: Hashes) -> Rows:
    """Return how far each hash goes on from its home at first; each time by so much more."""
    return (((h1 >> np.uint64(ROW_BITS)) & np.uint64(15)) * np.uint64(97) + np.uint64(1)).astype(np.int64)


def _ranks(at: Rows) -> Rows:
    """Return for each of sorted values how many equal ones stand before it."""
    places = np.arange(len(at))
    starts = np.where(np.concatenate(([True], at[1:] != at[:-1])), places, 0)
    return places - np.maximum.accumulate(starts)
