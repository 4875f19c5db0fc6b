"""Messages that cannot be read: skipped, counted, and said less and less often."""

import logging

from pydantic import ValidationError

from interlock.streams.sink_target import Message


class Junk:
    """Counts what a target skips."""

    def __init__(self, log: logging.Logger) -> None:
        """Start with none."""
        self._log, self.count = log, 0

    def skip(self, message: Message, reason: str) -> None:
        """Count a message; the 1st, 2nd, 4th, 8th… is logged with where it is and what is wrong with it."""
        self.count += 1
        if self.count & (self.count - 1) == 0:
            place = f"{message.topic}-{message.partition} at offset {message.offset}"
            self._log.warning("skipped %s: %s (%d so far)", place, reason, self.count)


def reason(error: Exception) -> str:
    """Return what is wrong with a message, in one short line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return " ".join(str(error).split())[:200] or type(error).__name__
