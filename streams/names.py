"""Names as small integers, with a hard limit: what a shard counts by."""

import json
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.columns import MISSING, STRING, Column
from interlock.streams.batch import Coded

OVERFLOW = "(overflow)"
"""The name of whatever comes after the limit: still counted, and reported."""


class Names:
    """Codes of names, in the order they were first seen; past `limit` all new names share one code."""

    def __init__(self, limit: int = 1 << 16) -> None:
        """Start with the overflow name alone, at code 0."""
        self.values = [OVERFLOW]
        self.overflowed = 0
        self._limit = limit
        self._codes = {OVERFLOW: 0}

    def code(self, name: str) -> int:
        """Return the code of a name, giving it the next one if it is new and there is room."""
        code = self._codes.get(name)
        if code is None:
            if len(self.values) >= self._limit:
                self.overflowed += 1
                return 0
            code = self._codes[name] = len(self.values)
            self.values.append(name)
        return code

    def snapshot(self) -> tuple[list[str], int]:
        """Return the names in order, and how many found no room."""
        return list(self.values), self.overflowed

    def restore(self, saved: tuple[Sequence[str], int]) -> None:
        """Take over a snapshot."""
        values, self.overflowed = saved
        self.values = list(values)
        self._codes = {name: code for code, name in enumerate(values)}


def local_codes(column: Column) -> tuple[NDArray[np.int64], list[str | float | bool | None]]:
    """Return codes 0.. of the distinct values of a column, int64[n], and those values; null and missing are one."""
    if (column.kind == STRING).all():
        return column.text.astype(np.int64), list(column.texts)
    values: list[str | float | bool | None] = list(column.texts)
    codes = np.where(column.kind == STRING, column.text, 0).astype(np.int64)
    rest = np.flatnonzero(column.kind != STRING)
    known: dict[str, int] = {}
    for row in rest.tolist():
        value = column.value(row)
        mark = repr(value)
        if mark not in known:
            known[mark] = len(values)
            values.append(value)
        codes[row] = known[mark]
    return codes, values


def slice_codes(columns: Mapping[str, Column], by: Sequence[str], rows: int, names: Names) -> NDArray[np.int64]:
    """Return the slice of each of n rows: the code of the JSON list of its values of `by`."""
    packed = np.zeros(rows, np.int64)
    tables = []
    for path in by:
        codes, values = local_codes(columns.get(path, _missing(rows)))
        packed = packed * len(values) + codes
        tables.append(values)
    found, place = distinct(packed, math.prod(map(len, tables)))
    return np.array([names.code(_name(code, tables)) for code in found.tolist()], np.int64)[place]


def pair_codes(first: Coded, second: Coded, code: Callable[[str, str], int]) -> NDArray[np.int64]:
    """Return the code of each row's pair of texts, int64[n]; `code` is asked once for each that occurs."""
    width = len(second.values)
    found, place = distinct(first.codes.astype(np.int64) * width + second.codes, width * len(first.values))
    pairs = [divmod(packed, width) for packed in found.tolist()]
    return np.array([code(first.values[a], second.values[b]) for a, b in pairs], np.int64)[place]


def distinct(codes: NDArray[np.int64], span: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct codes, in order, and the place of each row's among them; codes lie in [0, span)."""
    if span > 8 * len(codes):
        found, place = np.unique(codes, return_inverse=True)
        return found, place.astype(np.int64, copy=False)
    present = np.zeros(span, np.bool_)
    present[codes] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[codes]


def _name(packed: int, tables: Sequence[Sequence[object]]) -> str:
    parts = []
    for values in reversed(tables):
        packed, code = divmod(packed, len(values))
        parts.append(values[code])
    return json.dumps(parts[::-1], ensure_ascii=False, separators=(",", ":"))


def _missing(rows: int) -> Column:
    return Column(np.full(rows, MISSING, np.uint8), np.zeros(rows), np.zeros(rows, np.int32), ())
