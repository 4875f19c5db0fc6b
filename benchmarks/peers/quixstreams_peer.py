"""Quix Streams: consume, decode, count per tenant in a dict. `python quixstreams_peer.py BOOTSTRAP TOPIC EVENTS`.

Runs in a venv of its own; prints the seconds from the first event on, by the clock and of a processor. A dict is the cheapest
count there is: the library's own windows and state cost more.
"""

import sys
import time
from collections import Counter
from tempfile import TemporaryDirectory

from event import Event, decode
from quixstreams import Application

counts: Counter[str] = Counter()
began: list[tuple[float, float]] = []


def count(event: Event) -> None:
    """Count an event."""
    if not began:
        began.append((time.perf_counter(), time.process_time()))
    counts[event.segment["tenant"]] += 1


def main(bootstrap: str, name: str, events: str) -> None:
    """Read so many events, and print seconds."""
    with TemporaryDirectory() as folder:
        app = Application(
            bootstrap,
            consumer_group=f"quix-{time.time_ns()}",
            auto_offset_reset="earliest",
            auto_create_topics=False,
            state_dir=folder,
            loglevel="ERROR",
        )
        frame = app.dataframe(app.topic(name, value_deserializer="bytes"))
        frame.apply(decode).update(count)
        app.run(count=int(events), collect=False)
        if sum(counts.values()) != int(events):
            raise SystemExit(f"counted {sum(counts.values())} of {events}")
        print(time.perf_counter() - began[0][0], time.process_time() - began[0][1])


if __name__ == "__main__":
    main(*sys.argv[1:])
