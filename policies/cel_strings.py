"""Columns of strings: work is done once for each distinct text, or pair of texts, and spread over the rows."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from interlock.columns import STRING, Column

Mask = NDArray[np.bool_]
_Result = TypeVar("_Result", str, bool)


def mapped(function: Callable[[str], float], column: Column) -> NDArray[np.float64]:
    """Return the function of each row's text; undefined where the row is no string."""
    column = compact(column)
    table = np.array([function(text) for text in column.texts] or [0.0], np.float64)
    return table.take(column.text, mode="clip")


def those(predicate: Callable[[str], bool], column: Column, strings: Mask) -> Mask:
    """Return which rows' text satisfies the predicate; `strings` says which rows have one."""
    column = compact(column)
    hits = [code for code, text in enumerate(column.texts) if predicate(text)]
    if not hits:
        return np.zeros_like(strings)
    if len(hits) == 1:  # the common `field == 'literal'` then costs one comparison of integers a row
        one: Mask = (column.text == hits[0]) & strings
        return one
    table = np.zeros(len(column.texts), np.bool_)
    table[hits] = True
    return table.take(column.text, mode="clip") & strings


def related(relation: Callable[[str, str], bool], left: Column, right: Column, both: Mask) -> Mask:
    """Return for which rows the relation holds between two texts; `both` says which rows have two strings."""
    if right.text.size == 1:
        other = right.texts[right.text[0]]
        return those(lambda text: relation(text, other), left, both)
    if left.text.size == 1:
        other = left.texts[left.text[0]]
        return those(lambda text: relation(other, text), right, both)
    results, index = _pairwise(relation, left, right, both)
    found = np.zeros_like(both)
    found[both] = np.array(results, np.bool_)[index]
    return found


def joined(left: Column, right: Column, both: Mask) -> tuple[NDArray[np.int32], list[str]]:
    """Return codes and texts of two strings, one after the other; codes are undefined outside `both`."""
    if right.text.size == 1:
        end, left = right.texts[right.text[0]], compact(left)
        return left.text, [text + end for text in left.texts]
    if left.text.size == 1:
        start, right = left.texts[left.text[0]], compact(right)
        return right.text, [start + text for text in right.texts]
    results, index = _pairwise(str.__add__, left, right, both)
    codes = np.zeros(both.shape, np.int32)
    codes[both] = index
    return codes, results


def compact(column: Column) -> Column:
    """Return the column with no more texts than rows: a dictionary may have grown over many batches."""
    if len(column.texts) <= column.text.size:
        return column
    shape = np.broadcast_shapes(column.kind.shape, column.text.shape)
    strings = np.broadcast_to(column.kind == STRING, shape)
    used, index = np.unique(np.broadcast_to(column.text, shape)[strings], return_inverse=True)
    text = np.zeros(shape, np.int32)
    text[strings] = index
    return Column(column.kind, column.number, text, [column.texts[code] for code in used.tolist()])


def _pairwise(
    function: Callable[[str, str], _Result], left: Column, right: Column, both: Mask
) -> tuple[list[_Result], NDArray[np.intp]]:
    """Return the function of each distinct pair, and which pair each row of `both` has."""
    width = len(right.texts)
    codes = [np.broadcast_to(side.text, both.shape)[both].astype(np.int64) for side in (left, right)]
    pairs = codes[0] * width + codes[1]
    distinct, index = np.unique(pairs, return_inverse=True)
    results = [function(left.texts[pair // width], right.texts[pair % width]) for pair in distinct.tolist()]
    return results, index
