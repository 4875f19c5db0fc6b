"""From source to parse tree: the grammar of cel-python, with our positions and our words for syntax errors."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from interlock.policies.cel_ast import ExpressionError

MAX_LENGTH = 4096


def parse(source: str) -> Tree[Token]:
    """Return the parse tree of a CEL expression.

    Raises:
        ExpressionError: it is empty, longer than 4096 characters, or not CEL.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, found {len(source)}", MAX_LENGTH)
    if not source.strip():
        raise ExpressionError("the expression is empty", 0)
    try:
        return _parser().parse(source)
    except UnexpectedInput as error:
        raise ExpressionError(*_explained(error, source)) from None


def offset(tree: Tree[Token]) -> int:
    """Return where a part of the parse tree begins; only a whole empty source has no beginning."""
    return tree.meta.start_pos


def subtrees(tree: Tree[Token]) -> Iterator[Tree[Token]]:
    """Yield the children that are trees, in order."""
    return (child for child in tree.children if isinstance(child, Tree))


@cache  # building the tables takes 0.1 s; they never change
def _parser() -> Lark:
    # The grammar file is read by itself: importing celpy would bring its evaluator and pendulum along.
    spec = find_spec("celpy")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("cel-python is not installed")
    return Lark.open(
        f"{spec.submodule_search_locations[0]}/cel.lark",
        parser="lalr",
        start="expr",
        g_regex_flags=re.MULTILINE,
        lexer_callbacks={"IDENT": _word},
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )


def _word(token: Token) -> Token:
    # celpy's own callback does this too, but loses the position.
    return Token.new_borrow_pos("BOOL_LIT", token.value, token) if token.value in {"true", "false"} else token


def _explained(error: UnexpectedInput, source: str) -> tuple[str, int]:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return "the expression ends too early", len(source)
    place: int = getattr(error, "pos_in_stream", None) or 0
    if isinstance(error, UnexpectedCharacters) and source[place] in "'\"":
        return "this string is not closed", place
    if isinstance(error, UnexpectedToken):
        return f"unexpected `{error.token}`{_hint(str(error.token))}", place
    return f"unexpected `{source[place]}`{_hint(source[place])}", place


def _hint(found: str) -> str:
    hints = {"and": "&&", "or": "||", "not": "!", "is": "==", "=": "==", "&": "&&", "|": "||"}
    return f"; did you mean `{hints[found]}`?" if found in hints else ""
