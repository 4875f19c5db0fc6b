"""Names that expressions may use, and words for those that they may not."""

from difflib import get_close_matches

MAPS = ("segment", "features", "probabilities")
SCALARS = (
    "event_id", "ts", "model", "model_version", "prediction", "score", "decision", "route", "served", "control_id",
    "instance", "variant", "ood_score", "group_id", "rank", "trace_id", "batch_id", "subject",
)  # fmt: skip
PREDICATES = ("startsWith", "endsWith", "contains", "matches")
METHODS = ("size", *PREDICATES)
FUNCTIONS = ("size", "matches", "has")
KEYWORDS = frozenset({"in", "null", "true", "false"})
_SPELLINGS = (("not", "!"), ("and", "&&"), ("or", "||"))

_UNSUPPORTED = {
    "macros such as all(), exists() and map() are not supported": "all exists exists_one existsOne map filter",
    "conversions are not supported: every number is a double already": "int uint double string bool",
    "bytes are not supported": "bytes",
    "type() and dyn() are not supported: each value has the type that it has in the event": "type dyn",
    "timestamps and durations are not supported": "timestamp duration getDate getDayOfMonth getDayOfWeek getDayOfYear"
    " getFullYear getHours getMilliseconds getMinutes getMonth getSeconds",
}


def unknown_function(name: str, known: tuple[str, ...]) -> str:
    """Return why a function cannot be called: not supported, or not known, with the nearest name that is."""
    for reason, names in _UNSUPPORTED.items():
        if name in names.split():
            return reason
    return f"unknown function `{name}`{_nearest(name, known)}"


def unknown_field(name: str) -> str:
    """Return that there is no such field, with the nearest name that is one."""
    hint = _nearest(name, (*MAPS, *SCALARS))
    return f"unknown field `{name}`{hint or '; a field of the features is written features.' + name}"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower().replace("_", ""), [key.replace("_", "") for key in by_lower], n=1)
    names = {key.replace("_", ""): candidate for key, candidate in by_lower.items()}
    return f"; did you mean `{names[found[0]]}`?" if found else ""
