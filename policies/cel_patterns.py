"""Regular expressions of CEL's `matches`: the syntax of RE2, run by RE2 (github.com/google/re2).

RE2 does not backtrack: its time is at most proportional to the length of the text, whatever the pattern, so that no
policy can stall the judge. What would need backtracking, a backreference or lookaround, it refuses.
"""

from collections.abc import Callable

import re2

_MAX_MEMORY = 1 << 20  # bytes a pattern; beyond it RE2 refuses the pattern, or searches in less memory and more slowly


class PatternError(ValueError):
    """A pattern that RE2 refuses; the message gives RE2's reason."""


def searching(pattern: str) -> Callable[[str], bool]:
    """Return the function that tells whether the pattern is found anywhere in a text.

    Raises:
        PatternError: RE2 refuses the pattern, as not valid or as too large.
    """
    try:
        search = re2.compile(_utf8(pattern), _options()).search
    except re2.error as error:
        reason = error.args[0].decode(errors="backslashreplace")
        raise PatternError(f"RE2 refuses the pattern: {reason}") from None
    return lambda text: search(_utf8(text)) is not None


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False  # it would write to the standard error stream
    options.never_capture = True  # only whether there is a match counts
    return options


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a lone surrogate, which JSON can spell, is no reason to fail
