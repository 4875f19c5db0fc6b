"""A worker in which something dies or hangs once it has read: `python -m tests.stalling FAULT worker POLICY ...`."""

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from interlock.commands import command_line
from interlock.streams import app
from interlock.streams.worker import Worker


def fetcher(one: Any) -> None:
    """Let the task that fetches end, in silence: Faust takes its cancellation for an end that somebody wanted."""
    for task in one._fetcher._futures:
        task.cancel()


def loop(_: Any) -> None:
    """Let the event loop hang."""
    threading.Event().wait()


FAULTS: Mapping[str, Callable[[Any], None]] = {"fetcher": fetcher, "loop": loop}


def main() -> None:
    """Run the command line, with one fault."""
    fault, build = FAULTS[sys.argv.pop(1)], app.build

    def faulty(worker: Worker, group: app.Group) -> Any:
        one, happened = build(worker, group), threading.Event()

        async def look() -> None:
            if not happened.is_set() and any(held.positions.get("predictions") for held in worker.held.values()):
                happened.set()
                fault(one)

        one.timer(0.05)(look)
        return one

    app.build = faulty
    command_line.main()


if __name__ == "__main__":
    main()
