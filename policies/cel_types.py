"""Type errors that are certain: an operation that fails whatever the event holds."""

from collections.abc import Iterable

from interlock.columns import BOOL, NULL, NUMBER, STRING
from interlock.policies.cel_ast import (
    Arithmetic,
    Call,
    Compare,
    Conditional,
    Constant,
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
from interlock.policies.cel_patterns import PatternError, searching

Kinds = frozenset[int]

_WORDS = {NULL: "null", NUMBER: "a number", STRING: "a string", BOOL: "a bool"}
_ANY = frozenset(_WORDS)
_BOOL, _NUMBER, _STRING = frozenset({BOOL}), frozenset({NUMBER}), frozenset({STRING})
_ADDED, _ORDERED = _NUMBER | _STRING, _NUMBER | _STRING | _BOOL


def check_types(root: Node) -> None:
    """Check that the expression can be true or false, and each of its parts can have a value.

    Raises:
        ExpressionError: a part certainly fails, or the whole is certainly no boolean.
    """
    found = kinds(root)
    if BOOL not in found:
        raise ExpressionError(f"the expression must be true or false, found {_words(found)}", root.at)


def kinds(node: Node) -> Kinds:  # noqa: PLR0911 - one return a kind of node
    """Return the kinds of value that a node can have."""
    match node:
        case Literal():
            return frozenset({kind_of(node.value)})
        case Field():
            return _ANY
        case Has():
            return _BOOL
        case Arithmetic() | Negate():
            return _arithmetic(node)
        case Conditional():
            _require(node.condition, _BOOL, "the condition before `?`")
            return kinds(node.then) | kinds(node.otherwise)
        case Call():
            return _call(node)
        case _:
            return _truth(node)


def kind_of(value: Constant) -> int:
    """Return the column kind of a literal's value."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case str():
            return STRING
        case _:
            return NUMBER


def _truth(node: Not | Compare | Logic | Member) -> Kinds:
    match node:
        case Not():
            _require(node.operand, _BOOL, "`!`")
        case Logic():
            for operand in node.operands:
                _require(operand, _BOOL, f"`{node.operator}`")
        case Member():
            kinds(node.item)
        case Compare(operator="==" | "!="):
            kinds(node.left), kinds(node.right)
        case Compare():
            _common(node, _ORDERED, "two numbers, two strings or two bools")
    return _BOOL


def _arithmetic(node: Arithmetic | Negate) -> Kinds:
    if isinstance(node, Negate):
        return _require(node.operand, _NUMBER, "unary `-`")
    if node.operator == "+":
        return _common(node, _ADDED, "two numbers or two strings")
    return _common(node, _NUMBER, "two numbers")


def _call(node: Call) -> Kinds:
    _require(node.target, _STRING, f"{node.name}()")
    if node.argument is None:
        return _NUMBER
    _require(node.argument, _STRING, f"the argument of {node.name}()")
    if node.name == "matches":
        _check_pattern(node.argument)
    return _BOOL


def _check_pattern(argument: Node) -> None:
    if not isinstance(argument, Literal) or not isinstance(argument.value, str):
        raise ExpressionError("the pattern of matches() must be a string literal", argument.at)
    try:
        searching(argument.value)
    except PatternError as error:
        raise ExpressionError(str(error), argument.at) from None


def _require(node: Node, allowed: Kinds, what: str) -> Kinds:
    found = kinds(node)
    if not found & allowed:
        raise ExpressionError(f"{what} needs {_words(allowed)}, found {_words(found)}", node.at)
    return found & allowed


def _common(node: Arithmetic | Compare, allowed: Kinds, needed: str) -> Kinds:
    left, right = kinds(node.left), kinds(node.right)
    both = left & right & allowed
    if not both:
        raise ExpressionError(f"`{node.operator}` needs {needed}, found {_words(left)} and {_words(right)}", node.at)
    return both


def _words(found: Iterable[int]) -> str:
    words = [_WORDS[kind] for kind in sorted(found)]
    return "any value" if len(words) == len(_ANY) else " or ".join(words)
