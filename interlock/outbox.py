"""What was accepted and is not yet acknowledged: bounded, counted, and shared by callers and the thread that sends."""

import time
from collections.abc import Callable, Sequence
from threading import Condition, Lock
from typing import NamedTuple

from interlock.packing import Event, Limits, Packed
from interlock.rights import why


class EmitError(RuntimeError):
    """Events cannot be accepted, or were not acknowledged; the message says how many, and what the broker said last."""


class Returned(NamedTuple):
    """A message that the broker did not take, its number, the reason, and which producer says so."""

    number: int
    packed: Packed
    error: Exception
    producer: object


class Taken(NamedTuple):
    """Events to be packed, since when (monotonic seconds) the first waits; messages that came back; the newest flush."""

    events: list[Event]
    since: float
    returned: list[Returned]
    flush: int


class Outbox:
    """Events from their acceptance to their acknowledgement.

    `sent` counts events accepted, `acknowledged` those that the broker has, `failed` those that it refused for good.
    Callers put and flush; one thread takes, and has the others called as the broker answers.
    """

    def __init__(self, limits: Limits, start: Callable[[], None]) -> None:
        """Start empty; `start` is called once, with the first event."""
        self.sent = self.acknowledged = self.failed = 0
        self.last_error: Exception | None = None
        self._limits, self._start = limits, start
        self._most_events, self._most_bytes = limits.max_events, limits.max_bytes
        self._is_started = self._is_closed = self._is_stopped = self._is_enough = False
        self._events: list[Event] = []
        self._since, self._fresh, self._size = 0.0, 0, 0
        self._away: dict[int, list[Packed]] = {}
        self._returned: list[Returned] = []
        self._numbers = self._through = 0
        self._asked = self._seen = self._served = self._told = 0
        self._lock = Lock()
        self._work, self._progress = Condition(self._lock), Condition(self._lock)

    def put(self, events: Sequence[Event], size: int) -> None:
        """Accept events of this size together, all of them or none.

        Raises:
            EmitError: There was no room for `max_block_ms`, or it is closed.
        """
        with self._lock:
            if self._is_closed or self._size + size > self._limits.buffer_bytes:
                self._wait_for_room(size, len(events))
            if not self._events:
                self._since = time.monotonic()
                self._work.notify()
            self._events += events
            self.sent += len(events)
            self._size += size
            self._fresh += size
            if not self._is_enough and (len(self._events) >= self._most_events or self._fresh >= self._most_bytes):
                self._is_enough = True
                self._work.notify()
            if not self._is_started:
                self._is_started = True
                self._start()

    def flush(self, timeout: float | None) -> None:
        """Have everything sent that was accepted so far, and wait until it is acknowledged.

        Raises:
            EmitError: Not all was acknowledged within `timeout` seconds, or some was refused since the last flush.
        """
        with self._lock:
            self._asked += 1
            ticket = self._asked
            self._work.notify()
            if self._is_started:
                self._progress.wait_for(lambda: self._is_stopped or self._is_done(ticket), timeout)
            is_missing = self.pending > 0 and not self._is_done(ticket)
            refused, self._told = self.failed - self._told, self.failed
        if is_missing:
            raise EmitError(f"{self.pending} events not acknowledged within {timeout} s{self._because()}")
        if refused:
            raise EmitError(f"{refused} events were refused{self._because()}")

    def close(self) -> None:
        """Accept nothing more."""
        with self._lock:
            self._is_closed = True
            self._progress.notify_all()

    def stop(self) -> None:
        """Accept nothing more, and let the thread end."""
        with self._lock:
            self._is_closed = self._is_stopped = True
            self._work.notify()
            self._progress.notify_all()

    @property
    def pending(self) -> int:
        """Events accepted that are neither acknowledged nor refused."""
        return self.sent - self.acknowledged - self.failed

    def take(self, until: float | None) -> Taken | None:
        """Wait for work, at most until a moment in monotonic seconds; None when it is stopped.

        Work is events that have lingered or fill a message, messages that came back, a flush.
        """
        with self._lock:
            while not self._is_urgent():
                moments = [moment for moment in (until, self._lingered()) if moment is not None]
                wait = min(moments) - time.monotonic() if moments else None
                if wait is not None and wait <= 0:
                    break
                self._work.wait(wait)
            if self._is_stopped:
                return None
            taken = Taken(self._events, self._since, self._returned, self._asked)
            self._events, self._returned, self._seen = [], [], self._asked
            self._fresh, self._is_enough = 0, False
            return taken

    def serve(self, flush: int) -> None:
        """Note that everything accepted before a flush is on its way."""
        with self._lock:
            self._served, self._through = flush, self._numbers
            self._progress.notify_all()

    def depart(self, packed: Packed) -> int:
        """Note that a message is on its way; return its number."""
        with self._lock:
            self._numbers += 1
            self._away[self._numbers] = [packed]
            return self._numbers

    def split(self, number: int, packed: Packed) -> tuple[Packed, Packed]:
        """Have a message go as two, under the same number."""
        with self._lock:
            first, second = packed.halves()
            self._away[number].remove(packed)
            self._away[number] += [first, second]
            return first, second

    def arrive(self, number: int, packed: Packed) -> None:
        """Note that the broker has a message."""
        with self._lock:
            self.acknowledged += self._settle(number, packed)

    def refuse(self, number: int, packed: Packed) -> None:
        """Note that the broker will never take a message."""
        with self._lock:
            self.failed += self._settle(number, packed)

    def come_back(self, returned: Returned) -> None:
        """Note that the broker may not have a message, so that it is sent again."""
        with self._lock:
            self.last_error = returned.error
            self._returned.append(returned)
            self._work.notify()

    def _settle(self, number: int, packed: Packed) -> int:
        parts = self._away.get(number, [])
        if packed not in parts:
            return 0
        parts.remove(packed)
        if not parts:
            del self._away[number]
        self._size -= packed.size
        self._progress.notify_all()
        return len(packed.events)

    def _wait_for_room(self, size: int, events: int) -> None:
        limit = self._limits.buffer_bytes
        self._progress.wait_for(lambda: self._is_closed or self._size + size <= limit, self._limits.max_block_ms / 1000)
        if self._is_closed:
            raise EmitError(f"the emitter is closed{self._because()}")
        if self._size + size > limit:
            raise EmitError(
                f"no room for {events} more events: {self.pending} wait in {self._size >> 10} KiB of"
                f" {limit >> 10}{self._because()}"
            )

    def _is_urgent(self) -> bool:
        return self._is_stopped or self._is_enough or bool(self._returned) or self._asked > self._seen

    def _lingered(self) -> float | None:
        return self._since + self._limits.linger_ms / 1000 if self._events else None

    def _is_done(self, flush: int) -> bool:
        return self._served >= flush and next(iter(self._away), self._through + 1) > self._through

    def _because(self) -> str:
        error = self.last_error
        return "" if error is None else f"; the last error: {why(error, 'Write')}"
