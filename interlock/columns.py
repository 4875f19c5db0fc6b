"""A column of JSON values of mixed kind, as arrays: what expressions are evaluated over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSING, NULL, NUMBER, STRING, BOOL = range(5)


@dataclass(frozen=True, slots=True)
class Column:
    """One field of n events.

    `kind` uint8[n]: MISSING (no such key), NULL, NUMBER, STRING or BOOL. `number` float64[n]: the number, or 0/1 of a
    bool; undefined elsewhere. `text` int32[n]: index into `texts` where kind is STRING; undefined elsewhere.
    """

    kind: NDArray[np.uint8]
    number: NDArray[np.float64]
    text: NDArray[np.int32]
    texts: Sequence[str]

    def value(self, row: int) -> str | float | bool | None:
        """Return the JSON value of one row; None for null and for a missing key."""
        kind = self.kind[row]
        if kind == STRING:
            return self.texts[int(self.text[row])]
        if kind == BOOL:
            return bool(self.number[row])
        return float(self.number[row]) if kind == NUMBER else None

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Column":
        """Return the column of these rows only."""
        return Column(self.kind[rows], self.number[rows], self.text[rows], self.texts)


def among(column: Column, values: Sequence[str | float | bool]) -> NDArray[np.bool_]:
    """Return which rows hold one of these values; kinds matter: true is not 1, and "1" is neither."""
    found = np.zeros(len(column.kind), np.bool_)
    texts = {v for v in values if isinstance(v, str)}
    if texts:
        hits = np.array([text in texts for text in column.texts] or [False])
        string = column.kind == STRING
        found[string] = hits[column.text[string]]
    for value in values:
        if not isinstance(value, str):
            kind = BOOL if isinstance(value, bool) else NUMBER
            found |= (column.kind == kind) & (column.number == float(value))
    return found
