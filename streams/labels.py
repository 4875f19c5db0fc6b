"""What a label says: whether it is the positive class, and whether it is the class that the model thought likeliest."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.columns import MISSING, NULL, Column, among
from interlock.streams.names import local_codes

NO_CLASS = 0
"""Hash of no class: the prediction is judged by its score."""

SAME = {"true": "1", "false": "0"}
"""Two spellings of one class: where a label is true, a class of probabilities that is called 1 is meant by it."""


def positives(label: Column, positive: Sequence[str | float | bool]) -> NDArray[np.int8]:
    """Return 1 for a label of the positive class, 0 for another, -1 for none: int8[n]."""
    y = among(label, positive).astype(np.int8)
    y[(label.kind == MISSING) | (label.kind == NULL)] = -1
    return y


def class_hashes(column: Column) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each value's text, uint64[n], never NO_CLASS but for null: equal classes, equal hashes."""
    codes, values = local_codes(column)
    table = np.array([class_hash(value) for value in values] or [NO_CLASS], np.uint64)
    return table[codes]


def top_classes(top: Column | None, rows: int, scored: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the class that a prediction without a score is judged by: its likeliest; NO_CLASS where it has a score."""
    if top is None:
        return np.zeros(rows, np.uint64)
    return np.where(scored, np.uint64(NO_CLASS), class_hashes(top))


def class_hash(value: str | float | bool | None) -> int:
    """Return the hash of one class: a text and the number or truth that it spells are the same; NO_CLASS for None."""
    if value is None:
        return NO_CLASS
    text = value if isinstance(value, str) else _spell(value)
    text = SAME.get(text, text)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") | 1


def _spell(value: float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value.is_integer() else repr(value)
