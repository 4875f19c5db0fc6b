"""Errors that a user can mend: each prints as one clear line, without a traceback."""

from collections.abc import Sequence


class UserError(Exception):
    """A wrong flag, a missing file, an unreadable reference: the command stops with this line and exit code 2."""


class Unreachable(UserError):  # noqa: N818 - reads as what it is
    """A service that cannot be reached after bounded retries: exit code 3."""


class Exhausted(UserError):  # noqa: N818 - reads as what it is
    """Something ran out that a new start has again, such as memory beside a full disk: exit code 75."""


class FindingError(UserError):
    """A finding that a person must mend, such as an invalid policy: exit code 1. `lines` has all findings at once."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Keep every finding; the message is all of them, a line each."""
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
