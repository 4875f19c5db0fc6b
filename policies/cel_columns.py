"""Evaluation of a syntax tree over columns.

Two forms of intermediate result, both elementwise, so that cutting the rows into batches changes nothing:

- a *truth*, int8: 1 true, 0 error, -1 false. With this order CEL's `&&` is the minimum, `||` the maximum and `!` the
  negative, which is what its absorption of errors says (CEL language definition, "Logical Operators"; Kleene 1952 §64).
- a `Column`, whose kind MISSING means an error: reading a missing field is one. Its arrays have one element a row, or
  one element for all rows.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column
from interlock.policies.cel_ast import (
    Arithmetic,
    Call,
    Compare,
    Conditional,
    Constant,
    Field,
    Has,
    Literal,
    Logic,
    Member,
    Negate,
    Node,
    Not,
)
from interlock.policies.cel_patterns import searching
from interlock.policies.cel_strings import Mask, joined, mapped, related, those
from interlock.policies.cel_types import kind_of

Truth = NDArray[np.int8]
_Numbers = NDArray[np.float64]

_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
_NO_NUMBER = np.zeros(1, np.float64)
_NO_TEXT = np.zeros(1, np.int32)
_ABSENT = Column(np.array([MISSING], np.uint8), _NO_NUMBER, _NO_TEXT, ())


@dataclass(frozen=True, slots=True)
class Batch:
    """The columns of `rows` events by path; a path that is not there is missing in every event."""

    columns: Mapping[str, Column]
    rows: int

    def column(self, path: str) -> Column:
        """Return a field's column.

        Raises:
            ValueError: it has not one value per row.
        """
        column = self.columns.get(path, _ABSENT)
        if column is not _ABSENT and column.kind.shape != (self.rows,):
            raise ValueError(f"column {path} has {column.kind.size} rows, expected {self.rows}")
        return column


def truth(node: Node, batch: Batch) -> Truth:  # noqa: PLR0911 - one return a kind of node
    """Return where the node is true (1), false (-1), or an error or no boolean (0)."""
    match node:
        case Has():
            return _truth_of(batch.column(node.path).kind != MISSING)
        case Not():
            return -truth(node.operand, batch)
        case Logic():
            combine = np.minimum if node.operator == "&&" else np.maximum
            return reduce(combine, (truth(operand, batch) for operand in node.operands))
        case Compare():
            return _compared(node, batch)
        case Member():
            return _member(value(node.item, batch), node.values)
        case Call(argument=argument) if argument is not None:
            return _predicate(node.name, value(node.target, batch), value(argument, batch))
        case Conditional():
            return _chosen(node, batch)
        case _:
            column = value(node, batch)
            return _where(column.kind == BOOL, column.number != 0)


def value(node: Node, batch: Batch) -> Column:  # noqa: PLR0911 - one return a kind of node
    """Return the node's value in each row; kind MISSING is an error."""
    match node:
        case Literal():
            return _constant(node.value)
        case Field():
            return batch.column(node.path)
        case Negate():
            column = value(node.operand, batch)
            return _numbers(column.kind == NUMBER, -column.number)
        case Arithmetic():
            return _arithmetic(node, batch)
        case Call(name="size"):
            column = value(node.target, batch)
            return _numbers(column.kind == STRING, mapped(len, column))
        case Conditional():
            return _merged(truth(node.condition, batch), value(node.then, batch), value(node.otherwise, batch))
        case _:
            signs = truth(node, batch)
            return Column((signs != 0) * np.uint8(BOOL), (signs > 0).astype(np.float64), _NO_TEXT, ())


def _truth_of(flags: Mask) -> Truth:
    return flags.view(np.int8) * np.int8(2) - np.int8(1)


def _where(known: Mask, flags: Mask) -> Truth:
    """Return the flags as a truth, an error where they are not known."""
    result: Truth = _truth_of(flags) * known.view(np.int8)
    return result


def _constant(constant: Constant) -> Column:
    kind = np.array([kind_of(constant)], np.uint8)
    if isinstance(constant, str):
        return Column(kind, _NO_NUMBER, _NO_TEXT, (constant,))
    return Column(kind, np.array([constant or 0], np.float64), _NO_TEXT, ())


def _numbers(known: Mask, numbers: _Numbers) -> Column:
    return Column(known * np.uint8(NUMBER), numbers, _NO_TEXT, ())


def _both(left: Column, right: Column, kind: int) -> Mask | None:
    """Return where both are of a kind; None if nowhere, which a literal of another kind tells at once."""
    if any(side.kind.size == 1 and side.kind[0] != kind for side in (left, right)):
        return None
    both = (left.kind == kind) & (right.kind == kind)
    return both if both.any() else None


def _no_rows(left: Column, right: Column) -> Mask:
    return np.zeros(np.broadcast_shapes(left.kind.shape, right.kind.shape), np.bool_)


def _alike(relation: Callable[[Any, Any], Any], left: Column, right: Column) -> tuple[Mask, Mask]:
    """Return where both are numbers, bools or strings of one kind, and where the relation then holds."""
    comparable, holds = _no_rows(left, right), _no_rows(left, right)
    for kind in (NUMBER, BOOL):
        if (both := _both(left, right, kind)) is not None:
            comparable |= both
    if comparable.any():
        holds |= relation(left.number, right.number) & comparable
    if (both := _both(left, right, STRING)) is not None:
        comparable |= both
        holds |= related(relation, left, right, both)
    return comparable, holds


def _compared(node: Compare, batch: Batch) -> Truth:
    left, right = value(node.left, batch), value(node.right, batch)
    match node.operator:
        case "==":
            return _equal(left, right)
        case "!=":
            return -_equal(left, right)
        case _:
            return _ordered(_RELATIONS[node.operator], left, right)


def _equal(left: Column, right: Column) -> Truth:
    """Return CEL's heterogeneous equality: values of different kinds differ, an error stays one."""
    _, equal = _alike(operator.eq, left, right)
    if (nulls := _both(left, right, NULL)) is not None:
        equal |= nulls
    return _where((left.kind != MISSING) & (right.kind != MISSING), equal)


def _ordered(relation: Callable[[Any, Any], Any], left: Column, right: Column) -> Truth:
    comparable, holds = _alike(relation, left, right)
    return _where(comparable, holds)


def _member(item: Column, values: tuple[Constant, ...]) -> Truth:
    found = (item.kind == NULL) & (None in values)
    for kind in (NUMBER, BOOL):
        numbers = [float(number) for number in values if kind_of(number) == kind and number is not None]
        if numbers:
            found |= (item.kind == kind) & np.isin(item.number, numbers)
    texts = {text for text in values if isinstance(text, str)}
    if texts:
        found |= those(texts.__contains__, item, item.kind == STRING)
    return _where(item.kind != MISSING, found)


def _predicate(name: str, target: Column, argument: Column) -> Truth:
    both = _both(target, argument, STRING)
    if both is None:
        return _no_rows(target, argument).view(np.int8)
    if name == "matches":  # the pattern is a literal: checked with the types
        return _where(both, those(searching(argument.texts[0]), target, both))
    relations = {"startsWith": str.startswith, "endsWith": str.endswith, "contains": str.__contains__}
    return _where(both, related(relations[name], target, argument, both))


def _arithmetic(node: Arithmetic, batch: Batch) -> Column:
    left, right = value(node.left, batch), value(node.right, batch)
    numbers = _ARITHMETIC[node.operator](left.number, right.number)
    result = _numbers((left.kind == NUMBER) & (right.kind == NUMBER), numbers)
    strings = _both(left, right, STRING) if node.operator == "+" else None
    if strings is None:
        return result
    text, texts = joined(left, right, strings)
    return Column(result.kind + strings * np.uint8(STRING), numbers, text, texts)


def _chosen(node: Conditional, batch: Batch) -> Truth:
    condition = truth(node.condition, batch)
    otherwise = np.where(condition < 0, truth(node.otherwise, batch), np.int8(0))
    return np.where(condition > 0, truth(node.then, batch), otherwise)


def _merged(condition: Truth, then: Column, otherwise: Column) -> Column:
    kind = np.where(condition > 0, then.kind, np.where(condition < 0, otherwise.kind, np.uint8(MISSING)))
    number = np.where(condition > 0, then.number, otherwise.number)
    text = np.where(condition > 0, then.text, otherwise.text + np.int32(len(then.texts)))
    return Column(kind, number, text, (*then.texts, *otherwise.texts))
