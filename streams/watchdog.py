"""Ends a worker that stands still, so that whoever supervises it starts it anew: in a thread, since its loop may be stuck.

Nothing is lost by it: a worker may be killed at any moment. It asks the broker itself how much there is to read, by a
client of its own: what the worker's consumer says of that is as old as its last fetch.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from interlock.streams.held import Place
from interlock.streams.stalls import Stalls
from interlock.streams.worker import Worker

LOOKS, SELDOM = 6, 10.0
"""Looks within the time that a worker may stand still; seconds between two of them at the most."""

TIMEOUT_MS = 5_000
"""Within which a broker must say where its partitions end."""

log = logging.getLogger("interlock.watchdog")


class Watchdog:
    """Looks now and then at what the loop told last; `leave` must end the process, whatever state it is in."""

    def __init__(
        self, connect: Callable[[], KafkaConsumer], prefix: str, after: float, leave: Callable[[str], None]
    ) -> None:
        """Watch nothing before `start`; `after` are the seconds that a worker may stand still."""
        self._connect, self._prefix, self._after, self._leave = connect, prefix, after, leave
        self._every = min(SELDOM, after / LOOKS)
        self._stalls = Stalls(after)
        self._told: tuple[int, Mapping[Place, int | None]] = (0, {})
        self._heard, self._heard_at = 0, 0.0
        self._client: KafkaConsumer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def tell(self, reached: Mapping[Place, int | None]) -> None:
        """Say from within the loop how far everything is read: the next offset, None for a place that may stand still."""
        self._told = (self._told[0] + 1, reached)

    def start(self) -> None:
        """Begin to look, unless it may stand still for ever."""
        if self._after:
            self._thread.start()

    def stop(self) -> None:
        """Look no more; it may be in the middle of a look."""
        self._stop.set()

    def _run(self) -> None:
        watched, last = 0.0, time.monotonic()
        while not self._stop.wait(self._every):
            now = time.monotonic()
            watched += min(
                now - last, 2 * self._every
            )  # a process that was frozen, or its machine, does not stand still
            last = now
            said = self._look(watched)
            if said is not None and not self._stop.is_set():
                self._leave(said)
        self._disconnect()

    def _look(self, now: float) -> str | None:
        """Return what to say of a worker that is to end."""
        number, reached = self._told
        if number != self._heard:
            self._heard, self._heard_at = number, now
        if number and now - self._heard_at >= self._after:
            return f"its event loop has not come round for {now - self._heard_at:.0f} s"
        stall = self._stalls.look(now, reached, self._ends(reached))
        return None if stall is None else str(stall)

    def _ends(self, reached: Mapping[Place, int | None]) -> dict[Place, int]:
        """Return where partitions end; nothing while the broker does not tell."""
        places = {TopicPartition(self._prefix + place.topic, place.partition): place for place in reached}
        if not places:
            return {}
        try:
            if self._client is None:
                self._client = self._connect()
            found = self._client.end_offsets(list(places), timeout_ms=TIMEOUT_MS)
        except (KafkaError, KeyError, OSError) as error:  # kafka-python leaves out what it did not hear in time
            log.debug("the broker does not say where partitions end: %r", error)
            self._disconnect()
            return {}
        return {places[name]: end for name, end in found.items()}

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(KafkaError, OSError):
                client.close(timeout_ms=TIMEOUT_MS)


class Reading:
    """How far a worker has read, and which places have a good reason to wait."""

    def __init__(self, app: Any, worker: Worker, reached: Callable[[Place, int], int | None], patience: float) -> None:
        """Look at a Faust app.

        `reached` says up to where a place is read by a state of this position, None if it waits. A rebalance is a reason
        for `patience` seconds, and for as long as states are read back: that one never ends is known of Faust, too.
        """
        self._app, self._worker, self._reached, self._patience = app, worker, reached, patience
        self._rebalance: tuple[tuple[int, int], float] = ((-1, 0), 0.0)

    def reached(self) -> dict[Place, int | None]:
        """Return for each place the offset that comes next, None if it waits for a good reason."""
        if self._rebalances() or self._worker.outbox.blocked:
            return {}
        held = self._worker.held.items()
        places = {Place(topic, key.number): (at, one) for key, one in held for topic, at in one.positions.items()}
        return {place: None if one.missing else self._reached(place, at) for place, (at, one) in places.items()}

    def _rebalances(self) -> bool:
        if not self._app.rebalancing:
            return False
        mark = self._app.rebalancing_count, self._worker.taken_back
        if self._rebalance[0] != mark:
            self._rebalance = (mark, time.monotonic())
        return time.monotonic() - self._rebalance[1] < self._patience
