"""Values that a policy writes as text: durations (`7d`), rates (`200/h`) and targets (`<= 0.05`)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR_DAYS = 365.25
"""Days of a Julian year."""

UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
LONGEST = 36_500 * DAY
DURATION_PATTERN = r"^(?=[0-9])(?:[0-9]{1,9}d)?(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?(?:[0-9]{1,9}ms)?$"
RATE_PATTERN = r"^[0-9]{1,12}(?:\.[0-9]{1,9})?/(?:s|m|h|d)$"
TARGET_PATTERN = r"^(<=|>=|==) *[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:e-?[0-9]{1,2})?$"
_DURATION = re.compile(DURATION_PATTERN)
_RATE = re.compile(RATE_PATTERN)
_TARGET = re.compile(TARGET_PATTERN)
_PART = re.compile(r"([0-9]+)(ms|[dhms])")
_HINTS = {
    "≤": "; write <= instead of ≤",
    "≥": "; write >= instead of ≥",
    "=<": "; write <= instead of =<",
    "=>": "; write >= instead of =>",
    "%": "; write 0.05 instead of 5%",
}

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EPOCH = date(1970, 1, 1).toordinal()

DATE_WORDS = "a day such as 2026-12-31"
DURATION_WORDS = "a duration such as 30s, 10m, 2h, 7d or 1d12h"
RATE_WORDS = "a rate such as 200/h or 7000/d"
TARGET_WORDS = 'a target such as "<= 0.05", ">= 0.90" or "== 0"'

Op = Literal["<=", ">=", "=="]


@dataclass(frozen=True, slots=True)
class Target:
    """The value that an indicator must keep to."""

    op: Op
    value: float

    def __str__(self) -> str:
        """Return it as a policy writes it."""
        return f"{self.op} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of events per `per` milliseconds."""

    count: float
    per: int

    @property
    def per_day(self) -> float:
        """Events a day."""
        return self.count * DAY / self.per


def parse_duration(text: object) -> int:
    """Return a duration in milliseconds; parts go from days to milliseconds, each at most once.

    Raises:
        ValueError: not such a text, or longer than 100 years; the message says what is expected.
    """
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(DURATION_WORDS)
    total = sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))
    if total > LONGEST:
        raise ValueError("a duration of at most 36500d")
    return total


def parse_positive_duration(text: object) -> int:
    """Return a duration above zero in milliseconds; ValueError as `parse_duration`."""
    duration = parse_duration(text)
    if duration == 0:
        raise ValueError("a duration above zero")
    return duration


@lru_cache(1024)
def show_duration(milliseconds: int) -> str:
    """Return a duration as people write it: days from three days on."""
    parts, rest = "", milliseconds
    for unit, size in UNITS.items():
        if unit == "d" and milliseconds < 3 * DAY:
            continue
        count, rest = divmod(rest, size)
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def parse_date(value: object) -> int:
    """Return the last millisecond of a day, UTC, in ms since 1970; ValueError says what is expected."""
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValueError(DATE_WORDS)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(DATE_WORDS) from None
    return (day.toordinal() - EPOCH + 1) * DAY - 1


def parse_rate(text: object) -> Rate:
    """Return a rate; ValueError says what is expected."""
    if not isinstance(text, str) or not _RATE.fullmatch(text):
        raise ValueError(RATE_WORDS)
    count, unit = text.split("/")
    if float(count) <= 0:
        raise ValueError("a rate above zero")
    return Rate(float(count), UNITS[unit])


def parse_target(text: object) -> Target:
    """Return a target; ValueError says what is expected, with a hint for `≤` and the like."""
    if not isinstance(text, str):
        raise ValueError(TARGET_WORDS)  # noqa: TRY004 - pydantic turns only ValueError into a finding
    found = _TARGET.fullmatch(text)
    if found is None:
        hint = next((hint for mark, hint in _HINTS.items() if mark in text), "")
        raise ValueError(TARGET_WORDS + hint)
    op: Op = "<=" if found[1] == "<=" else ">=" if found[1] == ">=" else "=="
    return Target(op, float(text[2:]))


def parse_window(text: object) -> int | Literal["rolling"]:
    """Return a window in milliseconds, or `rolling`."""
    if text == "rolling":
        return "rolling"
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or rolling") from error


def duration_field(default: str, description: str, parse: Callable[[object], int] = parse_duration) -> Any:
    """Return a pydantic field with a default that the JSON Schema shows as text."""
    return Field(default=parse(default), description=description, json_schema_extra={"default": default})


_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "10m", "2h", "7d", "1d12h"]}
Duration = Annotated[int, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Milliseconds, written as `7d`, `30s`, `500ms` or `1d12h`."""
PositiveDuration = Annotated[int, BeforeValidator(parse_positive_duration), WithJsonSchema(_DURATION_SCHEMA)]
Window = Annotated[
    int | Literal["rolling"],
    BeforeValidator(parse_window),
    WithJsonSchema(
        {"type": "string", "pattern": f"^rolling$|{DURATION_PATTERN}", "examples": ["24h", "7d", "rolling"]}
    ),
]
"""Milliseconds, or `rolling`: since the control was last released."""
RateText = Annotated[
    Rate,
    BeforeValidator(parse_rate),
    WithJsonSchema({"type": "string", "pattern": RATE_PATTERN, "examples": ["200/h", "7000/d"]}),
]
TargetText = Annotated[
    Target,
    BeforeValidator(parse_target),
    WithJsonSchema({"type": "string", "pattern": TARGET_PATTERN, "examples": ["<= 0.05", ">= 0.90", "== 0"]}),
]
