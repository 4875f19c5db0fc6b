"""The syntax tree of the CEL subset: what an expression means, with places in its source."""

from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias

from interlock.errors import UserError

Constant: TypeAlias = str | float | bool | None
ArithmeticOperator: TypeAlias = OneOf["+", "-", "*", "/"]
CompareOperator: TypeAlias = OneOf["==", "!=", "<", "<=", ">", ">="]

MAX_MESSAGE = 300


class ExpressionError(UserError):
    """An expression that Interlock refuses; `offset` counts characters of its source from 0."""

    def __init__(self, message: str, offset: int) -> None:
        """Keep the place; the message, which may quote the source, becomes one short printable line."""
        line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        self.message = line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 1]}…"
        super().__init__(self.message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Literal:
    """A number (always a double), string, bool or null."""

    value: Constant
    at: int


@dataclass(frozen=True, slots=True)
class Field:
    """The value of a field, such as `decision` or `features.amount`; an error where the event lacks it."""

    path: str
    at: int


@dataclass(frozen=True, slots=True)
class Has:
    """Whether the event has the field: `has(features.amount)`, `'amount' in features`."""

    path: str
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation."""

    operand: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    operand: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two operands of `+ - * /`; `at` is the operator's place."""

    operator: ArithmeticOperator
    left: "Node"
    right: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands of a comparison; `at` is the operator's place."""

    operator: CompareOperator
    left: "Node"
    right: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Logic:
    """A chain of two or more operands of one logical operator; its order does not change its value."""

    operator: OneOf["&&", "||"]
    operands: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? then : otherwise`."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    """`item in [literals]`; `at` is the operator's place."""

    item: "Node"
    values: tuple[Constant, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a string and, but for `size`, one argument; `at` is the function's name."""

    name: str
    target: "Node"
    argument: "Node | None"
    at: int


Node: TypeAlias = Literal | Field | Has | Not | Negate | Arithmetic | Compare | Logic | Conditional | Member | Call
