"""Rows of a store that are on disk, as pages: read a few rows at a time, wherever they are."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

PAGE = 32
"""Rows of a page. An outcome may be of any prediction of three months, so that most look-ups read a page of their own:
small ones are read faster (measured: 3 us each, against 10 to 20 us with 128 rows), and smaller ones no faster."""


class Pages(Protocol):
    """Where pages are kept, by number."""

    def put(self, first: int, pages: Sequence[bytes]) -> None:
        """Write consecutive pages; OSError if that cannot be done."""

    def get(self, numbers: Sequence[int]) -> list[bytes]:
        """Read pages; UserError if one is not there."""

    def drop(self, before: int) -> None:
        """Forget pages before this one, now or with the next call."""

    def close(self) -> None:
        """Forget all."""


class Cold:
    """Rows [.., end) of one kind of record, on pages. `end` is the first row of a page."""

    def __init__(self, kind: np.dtype[Any], pages: Pages) -> None:
        """Start empty."""
        self._kind, self._pages = kind, pages
        self.begin()

    def begin(self) -> None:
        """Know nothing of what was read."""
        self._last: tuple[Rows, NDArray[Any]] = np.zeros(0, np.int64), np.zeros(0, self._kind)

    def put(self, first: int, records: NDArray[Any]) -> None:
        """Write whole pages of rows from `first` on."""
        data, size = records.tobytes(), PAGE * self._kind.itemsize
        self._pages.put(first // PAGE, [data[at : at + size] for at in range(0, len(data), size)])

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the records of these rows; what was asked for last is not read again."""
        wanted = np.unique(rows)
        known, records = self._last
        place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        if not len(known) or not (known[place] == wanted).all():
            known, records = self._last = wanted, self._read(wanted)
        found: NDArray[Any] = records[np.searchsorted(known, rows)]
        return found

    def _read(self, rows: Rows) -> NDArray[Any]:
        pages, page = np.unique(rows // PAGE, return_inverse=True)
        data = b"".join(self._pages.get(pages.tolist()))
        found: NDArray[Any] = np.frombuffer(data, self._kind)[page * PAGE + rows % PAGE]
        return found

    def forget(self, before: int) -> None:
        """Forget pages all of whose rows are before this one."""
        self._pages.drop(before // PAGE)

    def close(self) -> None:
        """Forget all."""
        self._pages.close()
