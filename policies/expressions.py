"""Expressions of a policy (`where`, `when`): a typed subset of CEL, evaluated over whole columns.

The syntax is CEL's, read by cel-python's grammar; the meaning is that of the CEL language definition
(github.com/google/cel-spec, doc/langdef.md) with every number a double. What the subset lacks is refused in
`cel_syntax`, what certainly fails in `cel_types`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interlock.columns import Column
from interlock.policies.cel_ast import (
    Arithmetic,
    Call,
    Compare,
    Conditional,
    ExpressionError,
    Field,
    Has,
    Literal,
    Logic,
    Member,
    Negate,
    Node,
    Not,
)
from interlock.policies.cel_columns import Batch, truth
from interlock.policies.cel_syntax import read
from interlock.policies.cel_types import check_types

__all__ = ["FALSE", "TRUE", "UNDECIDED", "Expression", "ExpressionError", "compile_expression"]

TRUE, FALSE, UNDECIDED = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its source and the dotted paths of the fields that it reads."""

    source: str
    paths: frozenset[str]
    _root: Node = field(repr=False)

    def evaluate(self, columns: Mapping[str, Column], rows: int) -> NDArray[np.int8]:
        """Return TRUE, FALSE or UNDECIDED for each of `rows` events.

        UNDECIDED is what CEL ends with an error (a missing field, operands of kinds that do not go together, unless
        `&&`, `||` or `?:` make it irrelevant) and what is no boolean. `columns` holds the fields by path; those in
        `paths` that are not in it are missing in every event. Each row's result depends on that row alone.

        Raises:
            ValueError: a column has not one value per row.
        """
        with np.errstate(all="ignore"):  # division by zero and NaN are values of IEEE 754, as CEL has it
            signs = truth(self._root, Batch(columns, rows))
        decided = (signs > 0).view(np.int8) - (signs == 0).view(np.int8)
        return decided if decided.shape == (rows,) else np.broadcast_to(decided, (rows,)).copy()


def compile_expression(source: str) -> Expression:
    """Return the expression that a CEL source means.

    Raises:
        ExpressionError: a syntax error, something outside the subset, an unknown name, a type error that is certain,
            or an expression that is too long, too deep or too large; with its offset in the source.
    """
    root = read(source)
    check_types(root)
    return Expression(source, frozenset(_paths(root)), root)


def _paths(node: Node) -> Iterator[str]:
    if isinstance(node, Field | Has):
        yield node.path
    for child in _children(node):
        yield from _paths(child)


def _children(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 - one return a kind of node
    match node:
        case Not() | Negate():
            return (node.operand,)
        case Arithmetic() | Compare():
            return (node.left, node.right)
        case Logic():
            return node.operands
        case Conditional():
            return (node.condition, node.then, node.otherwise)
        case Member():
            return (node.item,)
        case Call():
            return (node.target,) if node.argument is None else (node.target, node.argument)
        case Literal() | Field() | Has():
            return ()
