"""Literals of CEL: the value that a token spells."""

import math
import re

from lark import Token

from interlock.policies.cel_ast import Constant, ExpressionError

_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_ESCAPE = re.compile(
    r"""\\(?:(?P<simple>[abfnrtv\\?"'`])|[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})"""
    r"""|U(?P<U>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})|(?P<bad>.?))""",
    re.DOTALL,
)
_SURROGATES = range(0xD800, 0xE000)


def constant(token: Token) -> Constant:
    """Return the value of a literal; every number is a double, however it is written.

    Raises:
        ExpressionError: bytes, a number that no finite double holds, or an invalid escape.
    """
    match token.type:
        case "NULL_LIT":
            return None
        case "BOOL_LIT":
            return str(token) == "true"
        case "STRING_LIT" | "MLSTRING_LIT":
            return _string(str(token), token.start_pos or 0)
        case "BYTES_LIT":
            raise ExpressionError("bytes are not supported", token.start_pos or 0)
        case _:
            return _number(token)


def _number(token: Token) -> float:
    text = token.rstrip("uU") if token.type == "UINT_LIT" else str(token)
    try:
        number = float(int(text, 16)) if "x" in text else float(text)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ExpressionError("this number is too large for a double", token.start_pos or 0)
    return number


def _string(token: str, at: int) -> str:
    raw = token[0] in "rR"
    quoted = token[raw:]
    quote = quoted[:3] if len(quoted) >= 6 and quoted[:3] in {"'''", '"""'} else quoted[0]  # noqa: PLR2004
    begin = raw + len(quote)
    body = token[begin : len(token) - len(quote)]
    if not raw:
        return _ESCAPE.sub(lambda found: _unescaped(found, at + begin), body)
    if f"\\{quote[0]}" in body:  # the grammar would go on to the next quote, CEL ends the raw string here
        raise ExpressionError("a raw string cannot hold a backslash before its own quote", at)
    return body


def _unescaped(found: re.Match[str], at: int) -> str:
    if found["simple"]:
        return _ESCAPES[found["simple"]]
    if found["octal"]:
        return chr(int(found["octal"], 8))
    digits = found["x"] or found["u"] or found["U"]
    code = int(digits, 16) if digits else -1
    if not 0 <= code <= 0x10FFFF or code in _SURROGATES:  # noqa: PLR2004 - the end of Unicode
        raise ExpressionError(f"invalid escape `{found[0]}`; for a backslash write `\\\\`", at + found.start())
    return chr(code)
