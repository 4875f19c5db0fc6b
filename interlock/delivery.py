"""Delivery of events to Kafka by a thread that starts with the first event and ends with the process, or on close."""

import atexit
import logging
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any, Self

from interlock.outbox import EmitError, Outbox
from interlock.packing import Event, Limits
from interlock.sending import Sender

LOG = logging.getLogger("interlock.emit")

EXIT_PATIENCE = 10.0
"""Seconds that a process which ends without closing its emitter waits for acknowledgements."""

STOP_PATIENCE = 5.0
"""Seconds that the thread has to end once it has nothing to send."""


class Delivery:
    """Accepts events and delivers each at least once: a repeat has the same event id, and counts once."""

    def __init__(self, settings: Mapping[str, Any], limits: Limits) -> None:
        """Wait for the first event. `settings` are kafka-python's, with `bootstrap_servers`."""
        self._settings, self._limits = settings, limits
        self._outbox = Outbox(limits, self._start)
        self._sender = Sender(self._outbox, settings, limits, self._watch_exit)
        self._thread: Thread | None = None

    @property
    def sent(self) -> int:
        """Events accepted."""
        return self._outbox.sent

    @property
    def acknowledged(self) -> int:
        """Events that the broker has."""
        return self._outbox.acknowledged

    @property
    def failed(self) -> int:
        """Events that the broker refused for good."""
        return self._outbox.failed

    def put(self, events: Sequence[Event], size: int) -> None:
        """Accept events of this size together; see Outbox."""
        self._outbox.put(events, size)

    def flush(self, timeout: float | None) -> None:
        """Wait until all is acknowledged; see Outbox."""
        self._outbox.flush(timeout)

    def close(self, timeout: float | None) -> None:
        """Accept nothing more, wait until all is acknowledged, and stop.

        Raises:
            EmitError: Not all was acknowledged within `timeout` seconds: that is lost.
        """
        self._outbox.close()
        try:
            self._outbox.flush(timeout)
        finally:
            self._outbox.stop()
            atexit.unregister(self._at_exit)
            if self._thread is not None:
                self._thread.join(STOP_PATIENCE)

    def anew(self) -> Self:
        """Return one of the same settings for a forked process, where the thread is gone; the parent sends what waits."""
        atexit.unregister(self._at_exit)
        self._sender.disown()
        return type(self)(self._settings, self._limits)

    def _start(self) -> None:
        self._watch_exit()
        self._thread = Thread(target=self._run, name="interlock-emit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (taken := self._outbox.take(self._sender.until())) is not None:
                self._sender.handle(taken)
        except Exception as error:
            self._outbox.last_error = error
            LOG.exception("the emitter stops and accepts nothing more")
        finally:
            self._outbox.stop()
            self._sender.drop_producer()

    def _watch_exit(self) -> None:
        """Be the first who is called at exit: after the producer's own clean-up, nothing more could be sent."""
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        try:
            self.close(EXIT_PATIENCE)
        except EmitError as error:
            LOG.error("lost at exit: %s", error)  # noqa: TRY400 - the trace says nothing
