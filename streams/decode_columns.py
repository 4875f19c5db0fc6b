"""Python values and Columns into each other's forms: kinds, numbers and category codes, the same for every format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column
from interlock.streams.batch import MISSING_CODE, UNSEEN_CODE, Coded, Predictions


class Interned(dict[Any, int]):
    """Value -> code, in order of first appearance; looking up a new value gives it the next code."""

    def __missing__(self, value: object) -> int:
        """Give a new value the next code."""
        code = self[value] = len(self)
        return code


class Vocabulary(dict[Any, int]):
    """JSON value -> category code, as `category_code` would say, by one look-up."""

    def __init__(self, codes: Mapping[str, int]) -> None:
        """Add to the texts the numbers that they are the JSON text of."""
        super().__init__(codes)
        self.update({None: MISSING_CODE, UNSET: MISSING_CODE})
        for text, code in codes.items():
            number = canonical_number(text)
            if number is not None:
                self[number] = code

    def __missing__(self, value: object) -> int:
        """Say that the value is not in the vocabulary."""
        return UNSEEN_CODE


def number_text(number: float) -> str:
    """Return the JSON text that a number counts as in a categorical feature: 21 and 21.0 are both "21"."""
    return str(int(number)) if isinstance(number, int) or number.is_integer() else repr(number)


def canonical_number(text: str) -> float | None:
    """Return the number whose JSON text this is, if it is one."""
    for read in (int, float):
        try:
            number: float = read(text)
            return number if number_text(number) == text else None
        except (ValueError, OverflowError):
            continue  # no number, or infinite, or NaN
    return None


def coded(texts: Sequence[Any]) -> Coded:
    """Return texts as codes."""
    values = Interned()
    codes = np.fromiter(map(values.__getitem__, texts), dtype=np.int32, count=len(texts))
    return Coded(codes, list(values))


def column(values: Sequence[Any]) -> Column:
    """Return JSON scalars as a Column; UNSET is a missing key."""
    types = set(map(type, values))
    if types <= {int, float}:
        return numbers_column(np.array(values, dtype=np.float64))
    if bool in types and types & {int, float}:  # True, 1 and 1.0 are one key of a dict
        keys = Interned()
        mixed = np.array([keys[type(value), value] for value in values], dtype=np.int32)
        return _spread([value for _, value in keys], mixed)
    interned = coded(values)
    return _spread(interned.values, interned.codes)


def numbers_column(numbers: NDArray[np.float64]) -> Column:
    """Return numbers as a Column; NaN, which JSON cannot say, is null."""
    nan = np.isnan(numbers)
    kind = np.where(nan, NULL, NUMBER).astype(np.uint8)
    return Column(kind, np.where(nan, 0.0, numbers), np.zeros(len(numbers), dtype=np.int32), ())


def present_numbers_column(numbers: NDArray[np.float64]) -> Column:
    """Return numbers as a Column; NaN means that the key is missing."""
    found = numbers_column(numbers)
    return Column(np.where(found.kind == NULL, MISSING, NUMBER).astype(np.uint8), found.number, found.text, ())


def text_column(texts: Coded, absent: str | None = None) -> Column:
    """Return texts as a Column; the value `absent` means that the key is missing."""
    kinds = np.array([MISSING if value == absent else STRING for value in texts.values], dtype=np.uint8)
    kind = kinds[texts.codes] if len(kinds) else np.zeros(0, dtype=np.uint8)
    return Column(kind, np.zeros(len(texts.codes)), texts.codes, texts.values)


def missing_column(rows: int) -> Column:
    """Return a Column whose key no event has."""
    return Column(np.full(rows, MISSING, dtype=np.uint8), np.zeros(rows), np.zeros(rows, dtype=np.int32), ())


def numbers_of(values: Column) -> NDArray[np.float64]:
    """Return a Column as a numeric feature, float64[n]: bools are 0 and 1, all else is NaN."""
    return np.where((values.kind == NUMBER) | (values.kind == BOOL), values.number, np.nan)


def category_text(value: object) -> str:
    """Return the text that a feature's JSON value counts as; "" for null and for a missing key."""
    if value is None or value is UNSET:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float) else str(value)


def _spread(values: Sequence[Any], codes: NDArray[np.int32]) -> Column:
    kinds = np.array([_kind(value) for value in values], dtype=np.uint8)
    numbers = np.array([float(value) if isinstance(value, bool | int | float) else 0.0 for value in values])
    texts = [value for value in values if isinstance(value, str)]
    places = np.cumsum(kinds == STRING, dtype=np.int32) - 1
    return Column(kinds[codes], numbers[codes], np.maximum(places, 0).astype(np.int32)[codes], texts)


def _kind(value: object) -> int:
    if value is UNSET:
        return MISSING
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOL
    return STRING if isinstance(value, str) else NUMBER


def core_columns(batch: Predictions, paths: frozenset[str]) -> dict[str, Column]:
    """Return the Columns of wanted paths that are core fields; null counts as missing there."""
    readers: dict[str, Callable[[], Column]] = {
        "event_id": lambda: text_column(coded(batch.ids.texts.to_pylist())),
        "ts": lambda: numbers_column(batch.ts.astype(np.float64)),
        "model": lambda: text_column(batch.model),
        "model_version": lambda: text_column(batch.version, absent=""),
        "score": lambda: present_numbers_column(batch.score),
        "ood_score": lambda: present_numbers_column(batch.ood_score),
    }
    return {path: read() for path, read in readers.items() if path in paths}
