"""One JSON value at a time: what the fast decoder refused is read again, leniently where the contract allows it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from interlock.streams.decode_dead import Bad

Reader = Callable[[Any, str], Any]
"""(value, JSON path) -> what the fast decoder would have given, or raises Bad."""

ZONED = Annotated[datetime, msgspec.Meta(tz=True)]
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
MILLISECOND = timedelta(milliseconds=1)
INT64 = range(-(2**63), 2**63)
SCALARS = "a string, a number, a boolean or null"
MAX_REVISION = 2**31 - 1
NAMES = {
    "str": "a string", "bool": "a boolean", "int": "a number", "float": "a number", "dict": "an object",
    "list": "an array", "NoneType": "null",
}  # fmt: skip


def wrong(path: str, expected: str, value: object) -> Bad:
    """Return the fault of a value of the wrong type."""
    return Bad("wrong_type", f"{path}: expected {expected}, got {NAMES[type(value).__name__]}")


def out_of_range(path: str, expected: str, value: object) -> Bad:
    """Return the fault of a value outside what it may be."""
    return Bad("out_of_range", f"{path}: expected {expected}, got {str(value)[:40]}")


def missing(path: str) -> Bad:
    """Return the fault of a field that every event must have."""
    return Bad("missing_field", f"{path}: expected a value, found none")


def read_text(value: Any, path: str) -> str | None:
    """Read a text; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if not isinstance(value, str):
        raise wrong(path, "a string", value)
    return value


def read_ts(value: Any, path: str) -> int | None:
    """Read a time as milliseconds since 1970 UTC."""
    if value is UNSET or value is None:
        return None
    if isinstance(value, str):
        return rfc3339(value, path)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not (isinstance(value, int) and value in INT64):
        shown = NAMES[type(value).__name__] if isinstance(value, bool | dict | list) else str(value)[:40]
        raise Bad("bad_ts", f"{path}: expected whole milliseconds since 1970 or RFC 3339 with zone, got {shown}")
    return value


def read_appended(value: Any, path: str) -> int | None:
    """Read an append time, which only files carry; what is no time counts as absent."""
    try:
        return read_ts(value, path)
    except Bad:
        return None


def rfc3339(text: str, path: str) -> int:
    """Read RFC 3339 with a zone as milliseconds since 1970 UTC, rounded down."""
    try:
        return (msgspec.convert(text, ZONED) - EPOCH) // MILLISECOND
    except (msgspec.ValidationError, OverflowError):
        fault = f"{path}: expected whole milliseconds since 1970 or RFC 3339 with zone, got {text[:40]!r}"
        raise Bad("bad_ts", fault) from None


def read_number(value: Any, path: str) -> float | None:
    """Read a number; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "a number", value)
    return _float(value, path)


def read_number_feature(value: Any, path: str) -> float | None:
    """Read a numeric feature: a text is no number, which is not an error; a boolean is 0 or 1."""
    value = read_scalar(value, path)
    return float(value) if isinstance(value, int | float) else None


def read_category(value: Any, path: str) -> int | float | str | None:
    """Read a categorical feature: a boolean counts as its JSON text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise wrong(path, SCALARS, value)
    kept: int | float | str | None = None if value is UNSET else value
    return kept


def read_scalar(value: Any, path: str) -> Any:
    """Read what may be text, number, boolean, null or missing, as it is."""
    if isinstance(value, dict | list):
        raise wrong(path, SCALARS, value)
    return _float(value, path) if isinstance(value, int) and not isinstance(value, bool) else value


def read_raw(value: Any, path: str) -> msgspec.Raw:  # noqa: ARG001 - whatever it is, it is read by itself
    """Read a value as its JSON text; a missing key is empty."""
    found: msgspec.Raw = msgspec.Raw(b"") if value is UNSET else value
    return found


def read_flag(value: Any, path: str) -> bool | None:
    """Read true or false; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if not isinstance(value, bool):
        raise wrong(path, "true or false", value)
    return value


def read_revision(value: Any, path: str) -> int | None:
    """Read a revision; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, "a whole number", value)
    return value


def read_probabilities(value: Any, path: str) -> dict[str, float] | None:
    """Read probabilities by class; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if not isinstance(value, dict):
        raise wrong(path, "an object of numbers", value)
    found = {}
    for name, item in value.items():
        number = read_number(item, f"{path}.{name}")
        if number is None:
            raise wrong(f"{path}.{name}", "a number", None)
        found[name] = number
    return found


def read_vector(value: Any, path: str) -> list[float] | None:
    """Read an embedding or logits; null and a missing key are None."""
    if value is UNSET or value is None:
        return None
    if not isinstance(value, list):
        raise wrong(path, "an array of numbers", value)
    found = []
    for place, item in enumerate(value):
        number = read_number(item, f"{path}[{place}]")
        if number is None:
            raise wrong(f"{path}[{place}]", "a number", None)
        found.append(number)
    return found


def _float(value: float, path: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise out_of_range(path, "a number that a double holds", value) from None
