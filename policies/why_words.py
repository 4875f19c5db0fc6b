"""Numbers, times and factors in the words of an explanation."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from interlock.policies.scalars import DAY, HOUR, MINUTE, SECOND

MILLION, BILLION, TRILLION = 1e6, 1e9, 1e12
LARGEST = 300 * math.log(10)


def when(ts: int) -> str:
    """Return event time (ms) as text, to the minute; to the second where it is not a whole minute."""
    form = "%Y-%m-%d %H:%M:%S UTC" if ts % MINUTE else "%Y-%m-%d %H:%M UTC"
    return datetime.fromtimestamp(ts / 1000, UTC).strftime(form)


def span(ms: int) -> str:
    """Return a duration as people say it, in its two largest units."""
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))
    parts, rest = [], ms
    for size, name in units:
        count, rest = divmod(rest, size)
        parts.append((count, name))
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {name}" for count, name in parts[first : first + 2] if count) or "0 s"


def place(scope: Mapping[str, str]) -> str:
    """Return a scope in words."""
    said = (value if key == "slice" else f"{key} {value}" for key, value in sorted(scope.items()))
    return ", ".join(said) or "the whole model"


def odds(log: float) -> str:
    """Return a factor of evidence, given its natural logarithm, as `1 : 3,200`."""
    if log > LARGEST:
        return f"1 : 10^{log / math.log(10):,.0f}"
    factor = math.exp(log)
    if factor >= TRILLION:
        return f"1 : 10^{log / math.log(10):.0f}"
    for size, name in ((BILLION, "billion"), (MILLION, "million")):
        if factor >= size:
            return f"1 : {factor / size:.3g} {name}"
    return f"1 : {round_to(factor):,.0f}" if factor >= 10 else f"1 : {factor:.2g}"  # noqa: PLR2004 - digits


def round_to(value: float, digits: int = 2) -> float:
    """Return a number that is rounded to some significant digits."""
    return float(f"{value:.{digits}g}") if value else 0.0


def about(count: float) -> str:
    """Return a number of events, as one says `about` it."""
    return f"{math.ceil(round_to(count)):,}"


def many(count: int, name: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def number(value: float | None) -> str:
    """Return a value with the digits that people need, `-` for None."""
    return "-" if value is None else f"{value:.3g}"
