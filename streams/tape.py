"""Values of consecutive rows in memory: new ones at the end, the oldest go first."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Rows = NDArray[np.int64]
LEAST = 1024


class Tape:
    """Rows [first, end) of one kind. Nothing that it returns shares its memory."""

    def __init__(self, kind: DTypeLike, first: int = 0) -> None:
        """Start empty; `first` is the number of the row that comes first."""
        self._data: NDArray[Any] = np.zeros(LEAST, kind)
        self._skipped = 0
        self.first = self.end = first

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are held."""
        return (self.end - self.first) * self._data.itemsize

    def extend(self, values: NDArray[Any]) -> None:
        """Add rows at the end."""
        held = self.end - self.first
        if self._skipped + held + len(values) > len(self._data):
            self._move(held + len(values))
        self._data[self._skipped + held : self._skipped + held + len(values)] = values
        self.end += len(values)

    def cut(self, first: int) -> None:
        """Forget the rows before `first`; room that half of them took is given back."""
        self._skipped += first - self.first
        self.first = first
        if self._skipped > max(LEAST, len(self._data) // 2):
            self._move(self.end - self.first)

    def _move(self, size: int) -> None:
        held = self.end - self.first
        data = np.zeros(max(LEAST, size + size // 2), self._data.dtype)
        data[:held] = self._data[self._skipped : self._skipped + held]
        self._data, self._skipped = data, 0

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the values of these rows."""
        return self._data[rows - (self.first - self._skipped)]

    def span(self, start: int, stop: int) -> NDArray[Any]:
        """Return the values of the rows from `start` up to `stop`."""
        shift = self._skipped - self.first
        return self._data[start + shift : stop + shift].copy()

    def fill(self, rows: Rows, name: str, values: NDArray[Any]) -> None:
        """Set one field of these rows."""
        self._data[name][rows - (self.first - self._skipped)] = values

    def add_bits(self, rows: Rows, bits: NDArray[np.uint8]) -> None:
        """Set bits of these rows; a row may come more than once."""
        np.bitwise_or.at(self._data, rows - (self.first - self._skipped), bits)

    def zeros(self) -> Rows:
        """Return the rows whose value is 0."""
        held = self._data[self._skipped : self._skipped + self.end - self.first]
        return np.flatnonzero(held == 0) + self.first
