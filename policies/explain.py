"""What pydantic found wrong with a policy, in plain words: what was found, what was expected, what may be meant."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic_core import ErrorDetails

from interlock.policies.model import Policy
from interlock.policies.model_base import Part
from interlock.policies.positions import SHOWN, Finding, Loc

_PATTERNS = {
    "^[a-z][a-z0-9_]*$": "a name of small letters, digits and _ that starts with a letter",
    "^sha256:": "sha256: and 8 to 64 hex digits",
    "^https?://": "an address that starts with https:// or http://",
    "^[^": "a field of the event, such as segment.endpoint",
}
_EXPECTED = {
    "string_type": "text (in quotes if it looks like a number)",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} letters",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `; did you mean …?` for the known word nearest to one, or nothing; `cutoff` is how near, up to 1."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean `{near[0]}`?" if near else ""


def show(value: object) -> str:
    """Return a value as a message repeats it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return f"the text {text}" if isinstance(value, str) else text


def explain(errors: Iterable[ErrorDetails]) -> list[Finding]:
    """Return one finding per error of pydantic; what only follows from another error is left out."""
    listed = list(errors)
    meant = {_meant(error["loc"]) for error in listed if error["type"] == "extra_forbidden"}
    return [_one(error) for error in listed if not _follows(error, meant)]


def _follows(error: ErrorDetails, meant: set[Loc]) -> bool:
    """Whether an error is another one's: the key is only misspelt, or the list short of its invalid items."""
    if error["type"] == "too_short" and isinstance(error["input"], tuple):
        return len(error["input"]) >= int(error["ctx"]["min_length"])
    return error["type"] == "missing" and error["loc"] in meant


def _meant(loc: Loc) -> Loc:
    near = difflib.get_close_matches(str(loc[-1]), _keys(loc[:-1]), n=1, cutoff=0.6)
    return (*loc[:-1], *near)


def _one(error: ErrorDetails) -> Finding:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return Finding(loc, _unknown_key(loc), at_key=True)
    if kind == "missing":
        return Finding(loc, f"found no `{loc[-1]}`; expected it here ({_description(loc)})")
    return Finding(loc, f"found {show(error['input'])}; expected {expected(error)}")


def _unknown_key(loc: Loc) -> str:
    keys = _keys(loc[:-1])
    hint = did_you_mean(str(loc[-1]), keys)
    return f"unknown key `{str(loc[-1])[:SHOWN]}`" + (hint or f"; expected one of {', '.join(keys)}, or an x- key")


def expected(error: ErrorDetails) -> str:
    """Return what was expected where pydantic found something else."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _choice(str(context["expected"]), error["input"])
    if kind in {"model_type", "model_attributes_type"}:
        return f"a mapping with keys such as {', '.join(_keys(error['loc'])[:4])}"
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return next((words for start, words in _PATTERNS.items() if pattern.startswith(start)), f"text like {pattern}")
    return _filled(_EXPECTED.get(kind, error["msg"]), context)


def _filled(words: str, context: Mapping[str, Any]) -> str:
    return words.format(**context) if "{" in words and context else words


def _choice(expected: str, value: object) -> str:
    choices = re.sub(r"'([^']*)'", r"\1", expected)
    hint = did_you_mean(value, re.split(r", | or ", choices)) if isinstance(value, str) else ""
    return choices + hint


def _description(loc: Loc) -> str:
    part = _part(loc[:-1])
    for name, field in part.model_fields.items() if part else ():
        if loc[-1] in {name, field.alias}:
            return (field.description or name).rstrip(".")
    return str(loc[-1])


def _keys(loc: Loc) -> list[str]:
    part = _part(loc)
    return [field.alias or name for name, field in part.model_fields.items()] if part else []


def _part(loc: Loc) -> type[Part] | None:
    """Return the mapping that stands at a place of the policy."""
    part: type[Part] | None = Policy
    for step in loc:
        if isinstance(step, str) and part is not None:
            fields = {field.alias or name: field for name, field in part.model_fields.items()}
            part = _inner(fields[step].annotation) if step in fields else None
    return part


def _inner(annotation: object) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for one in get_args(annotation) if (found := _inner(one))), None)
