"""From parse tree to syntax tree: what the subset has is kept, what it lacks is refused with its place."""

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from lark import Token, Tree

from interlock.policies.cel_ast import (
    Arithmetic,
    ArithmeticOperator,
    Call,
    Compare,
    CompareOperator,
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
from interlock.policies.cel_grammar import offset, parse, subtrees
from interlock.policies.cel_literals import constant
from interlock.policies.cel_names import FUNCTIONS, KEYWORDS, MAPS, METHODS, SCALARS, unknown_field, unknown_function

MAX_DEPTH = 64
MAX_NODES = 512

_LEVELS = frozenset(
    ("expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member", "primary")
)
_COMPARE: dict[str, CompareOperator] = {
    "relation_eq": "==", "relation_ne": "!=", "relation_lt": "<", "relation_le": "<=", "relation_gt": ">",
    "relation_ge": ">=",
}  # fmt: skip
_ARITHMETIC: dict[str, ArithmeticOperator] = {
    "addition_add": "+", "addition_sub": "-", "multiplication_mul": "*", "multiplication_div": "/",
}  # fmt: skip
_REFUSED = {
    "list_lit": "lists are supported only on the right of `in`",
    "map_lit": "maps are not supported",
    "member_object": "messages are not supported",
    "dot_ident": "names with a leading dot are not supported",
    "dot_ident_arg": "names with a leading dot are not supported",
}

_Tree: TypeAlias = Tree[Token]


def read(source: str) -> Node:
    """Return the syntax tree of an expression; its names, but not its types, are checked.

    Raises:
        ExpressionError: it is not CEL, is outside the subset, or is too long, too deep or too large.
    """
    return _Reader().node(parse(source), 0)


class _Reader:
    """Walks one parse tree and counts what it has read."""

    def __init__(self) -> None:
        self._nodes = 0

    def node(self, tree: _Tree, depth: int) -> Node:
        """Return the syntax tree below one part of the parse tree."""
        tree = _innermost(tree)
        self._count(tree, depth)
        if tree.data in _REFUSED:
            raise ExpressionError(_REFUSED[tree.data], offset(tree))
        return self._readers[tree.data](self, tree, depth + 1)

    def _count(self, tree: _Tree, depth: int) -> None:
        self._nodes += tree.data != "paren_expr"
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH}", offset(tree))
        if self._nodes > MAX_NODES:
            raise ExpressionError(f"the expression has more than {MAX_NODES} parts", offset(tree))

    def _parentheses(self, tree: _Tree, depth: int) -> Node:
        return self.node(next(subtrees(tree)), depth)

    def _conditional(self, tree: _Tree, depth: int) -> Node:
        condition, then, otherwise = (self.node(child, depth) for child in subtrees(tree))
        return Conditional(condition, then, otherwise, offset(tree))

    def _logic(self, tree: _Tree, depth: int) -> Node:
        # The grammar nests a chain to the left: walked in a loop, a long list of alternatives is not deep.
        level, chain = tree.data, []
        begin = offset(tree)
        while tree.data == level and len(tree.children) > 1:
            tree, right = subtrees(tree)
            chain.append(right)
        operands = tuple(self.node(child, depth) for child in (tree, *reversed(chain)))
        return Logic("||" if level == "conditionalor" else "&&", operands, begin)

    def _relation(self, tree: _Tree, depth: int) -> Node:
        head, right = subtrees(tree)
        left = next(subtrees(head))
        if head.data == "relation_in":
            return self._membership(left, right, depth)
        operator = _COMPARE[head.data]
        return Compare(operator, self.node(left, depth), self.node(right, depth), _operator(head, operator))

    def _arithmetic(self, tree: _Tree, depth: int) -> Node:
        head, right = subtrees(tree)
        if head.data == "multiplication_mod":
            raise ExpressionError("`%` is not supported: every number is a double, and CEL has no remainder of doubles",
                                  _operator(head, "%"))  # fmt: skip
        operator = _ARITHMETIC[head.data]
        left = self.node(next(subtrees(head)), depth)
        return Arithmetic(operator, left, self.node(right, depth), _operator(head, operator))

    def _unary(self, tree: _Tree, depth: int) -> Node:
        head, right = subtrees(tree)
        operand = self.node(right, depth)
        if head.data == "unary_not":
            return Not(operand, offset(tree))
        if isinstance(operand, Literal) and isinstance(operand.value, float):
            return Literal(-operand.value, offset(tree))
        return Negate(operand, offset(tree))

    def _literal(self, tree: _Tree, _depth: int) -> Node:
        return Literal(constant(_token(tree)), offset(tree))

    def _name(self, tree: _Tree, _depth: int) -> Node:
        name = str(_token(tree))
        if name in MAPS:
            raise ExpressionError(f"`{name}` needs a key, as in {name}.x", offset(tree))
        if name not in SCALARS:
            raise ExpressionError(unknown_field(name), offset(tree))
        return Field(name, offset(tree))

    def _selection(self, tree: _Tree, _depth: int) -> Node:
        owner, key = next(subtrees(tree)), _token(tree)
        if key in KEYWORDS:
            raise ExpressionError(f"`{key}` is a word of CEL: write ['{key}']", key.start_pos or 0)
        return Field(f"{_map_name(owner)}.{key}", offset(tree))

    def _index(self, tree: _Tree, _depth: int) -> Node:
        owner, index = (_innermost(child) for child in subtrees(tree))
        name = _map_name(owner)
        key = constant(_token(index)) if index.data == "literal" else None
        if not isinstance(key, str):
            raise ExpressionError(f"the key must be a string literal, as in {name}['x']", offset(index))
        return Field(f"{name}.{key}", offset(tree))

    def _membership(self, left: _Tree, right: _Tree, depth: int) -> Node:
        right = _innermost(right)
        if right.data == "ident" and _token(right) in MAPS:
            return self._key_in(left, str(_token(right)), depth)
        if right.data != "list_lit":
            raise ExpressionError("`in` needs a list literal, segment, features or probabilities", offset(right))
        values = tuple(self._element(child) for group in subtrees(right) for child in subtrees(group))
        return Member(self.node(left, depth), values, offset(left))

    def _key_in(self, left: _Tree, name: str, depth: int) -> Node:
        key = self.node(left, depth)
        if not isinstance(key, Literal) or not isinstance(key.value, str):
            raise ExpressionError(f"only a string literal can be looked up in {name}", offset(left))
        return Has(f"{name}.{key.value}", offset(left))

    def _element(self, tree: _Tree) -> Constant:
        element = _innermost(tree)
        if element.data not in {"literal", "unary"}:
            raise ExpressionError("a list holds only literals", offset(element))
        node = self.node(element, 0)
        if not isinstance(node, Literal):
            raise ExpressionError("a list holds only literals", offset(element))
        return node.value

    def _function(self, tree: _Tree, depth: int) -> Node:
        name, arguments = _token(tree), _arguments(tree)
        if name not in FUNCTIONS:
            hint = f"; write it as a method, x.{name}(…)" if name in METHODS else ""
            reason = f"`{name}` is not a function{hint}" if hint else unknown_function(name, (*FUNCTIONS, *METHODS))
            raise ExpressionError(reason, offset(tree))
        _check_count(name, arguments, 2 if name == "matches" else 1)
        if name == "has":
            return self._has(_innermost(arguments[0]))
        target, *rest = (self.node(argument, depth) for argument in arguments)
        return Call(str(name), target, rest[0] if rest else None, offset(tree))

    def _method(self, tree: _Tree, depth: int) -> Node:
        name, arguments = _token(tree), _arguments(tree)
        if name not in METHODS:
            raise ExpressionError(unknown_function(name, METHODS), name.start_pos or 0)
        _check_count(name, arguments, 0 if name == "size" else 1)
        target = self.node(next(subtrees(tree)), depth)
        argument = self.node(arguments[0], depth) if arguments else None
        return Call(str(name), target, argument, name.start_pos or 0)

    def _has(self, tree: _Tree) -> Node:
        if tree.data != "member_dot":
            raise ExpressionError("has() needs a selection, such as has(features.x)", offset(tree))
        field = self._selection(tree, 0)
        return Has(field.path, offset(tree)) if isinstance(field, Field) else field

    _readers: ClassVar[dict[str, Callable[["_Reader", _Tree, int], Node]]] = {
        "paren_expr": _parentheses,
        "expr": _conditional,
        "conditionalor": _logic,
        "conditionaland": _logic,
        "relation": _relation,
        "addition": _arithmetic,
        "multiplication": _arithmetic,
        "unary": _unary,
        "literal": _literal,
        "ident": _name,
        "member_dot": _selection,
        "member_index": _index,
        "ident_arg": _function,
        "member_dot_arg": _method,
    }


def _innermost(tree: _Tree) -> _Tree:
    """Return what a chain of grammar levels holds: each level has one child unless its operator is there."""
    while tree.data in _LEVELS and len(tree.children) == 1:
        tree = next(subtrees(tree))
    return tree


def _token(tree: _Tree) -> Token:
    return next(child for child in tree.children if isinstance(child, Token))


def _operator(head: _Tree, operator: str) -> int:
    return head.meta.end_pos - len(operator)


def _map_name(owner: _Tree) -> str:
    owner = _innermost(owner)
    if owner.data == "ident":
        name = str(_token(owner))
        if name in MAPS:
            return name
        if name in SCALARS:
            raise ExpressionError(f"`{name}` has no fields; segment, features and probabilities have", offset(owner))
        raise ExpressionError(unknown_field(name), offset(owner))
    raise ExpressionError("only segment, features and probabilities have fields, one level deep", offset(owner))


def _arguments(tree: _Tree) -> list[_Tree]:
    return [child for group in subtrees(tree) if group.data == "exprlist" for child in subtrees(group)]


def _check_count(name: Token, arguments: list[_Tree], count: int) -> None:
    if len(arguments) != count:
        raise ExpressionError(f"`{name}` takes {count or 'no'} argument{'s' * (count != 1)} here, found"
                              f" {len(arguments)}", name.start_pos or 0)  # fmt: skip
