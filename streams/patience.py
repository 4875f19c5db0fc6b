"""Waiting: for a service that is away, longer each time, said less and less often; for work, as long as it goes on."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds between attempts: the first time, and at most."""

T = TypeVar("T")


class Patience:
    """Counts the failures of one service, one after another; `log` is where they are said."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without failures; `clock` is in seconds."""
        self._log, self._clock = log, clock
        self._failures, self._since = 0, 0.0
        self.total = 0
        """Failures since the start, each of which was followed by another attempt."""
        self.failing: str | None = None
        """Why the service is away, at the moment."""

    def failed(self, reason: str) -> float:
        """Note a failure; return the seconds to wait. It is said the 1st, 2nd, 4th, 8th… time."""
        self._failures, self.total, self.failing = self._failures + 1, self.total + 1, reason
        if self._failures == 1:
            self._since = self._clock()
        wait = min(LONGEST_WAIT, FIRST_WAIT * float(1 << min(self._failures - 1, 20)))
        if self._failures & (self._failures - 1) == 0:
            self._log.warning("%s (attempt %d; again in %g s)", reason, self._failures, wait)
        return wait

    def succeeded(self) -> None:
        """Note that the service is there, and say so if it was away."""
        if self._failures:
            self._log.warning("back after %.0f s and %d attempts", self._clock() - self._since, self._failures)
        self._failures, self.failing = 0, None


async def lasting(work: Awaitable[T], progress: Callable[[], int], seconds: float) -> T:
    """Return what some work returns, however long it takes, as long as `progress` grows.

    Raises:
        TimeoutError: it has stood still for so many seconds, and was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        before = None
        while before != (before := progress()):
            if (await asyncio.wait({task}, timeout=seconds))[0]:
                return await task
        raise TimeoutError
    finally:
        task.cancel()
