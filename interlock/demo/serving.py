"""A process of the demo that serves: it asks a real Guard for the mode of every slice, and says when one changes.

Run as a module: BOOTSTRAP and a `Task` as JSON. Each change is a line of JSON on stdout (see `Report`).
"""

import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.guard import Connection, Guard
from interlock.protocol import ControlRecord

LOOK = 0.05
"""Seconds between looks when no control comes: a lease may have run out."""


class Slice(msgspec.Struct, frozen=True):
    """What a request is like."""

    segment: dict[str, str]
    version: str


class Task(msgspec.Struct, frozen=True):
    """Whose requests are served."""

    model: str
    slices: list[Slice]


class Report(msgspec.Struct, frozen=True):
    """What was seen at once: `changed` are (number of the slice, its mode before, its mode now).

    `clock` is the machine's monotonic clock (ns), `at` the wall clock (ms). With a control that the guard took in come
    the numbers of the slices that it is about.
    """

    clock: int
    at: int
    changed: list[tuple[int, str, str]]
    control_id: str = ""
    state: str = ""
    slices: list[int] = []


class Serving:
    """Asks a guard, remembers what it said."""

    def __init__(self, guard: Guard, task: Task) -> None:
        """Start with no mode known."""
        self._guard, self._task = guard, task
        self._modes = [""] * len(task.slices)

    def look(self, control: ControlRecord | None) -> Report | None:
        """Return what has changed; None if nothing has and no control came."""
        now = [self._guard.mode(**self._asked(one)) for one in self._task.slices]
        clock, at = time.monotonic_ns(), time.time_ns() // 1_000_000
        changed = [(i, old, new) for i, (old, new) in enumerate(zip(self._modes, now, strict=True)) if old != new]
        self._modes = now
        if control is None:
            return Report(clock, at, changed) if changed else None
        return Report(clock, at, changed, control.control_id, control.state, self._about(control))

    def _about(self, control: ControlRecord) -> list[int]:
        return [
            number
            for number, one in enumerate(self._task.slices)
            if any(x.control_id == control.control_id for x in self._guard.controls(**self._asked(one)))
        ]

    def _asked(self, one: Slice) -> dict[str, Any]:
        return {"model": self._task.model, "segment": one.segment, "version": one.version}


def serve(bootstrap: str, task: Task, stop: threading.Event) -> None:
    """Report until told to stop."""
    news: queue.SimpleQueue[ControlRecord] = queue.SimpleQueue()
    with Guard(
        connection=Connection(bootstrap=bootstrap), models=[task.model], on_change=lambda _, control: news.put(control)
    ) as guard:
        serving = Serving(guard, task)
        while not stop.is_set():
            try:
                report = serving.look(news.get(timeout=LOOK))
            except queue.Empty:
                report = serving.look(None)
            if report is not None:
                sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
                sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    bootstrap, task = arguments
    serve(bootstrap, msgspec.json.decode(task, type=Task), stop)


if __name__ == "__main__":
    main(sys.argv[1:])
