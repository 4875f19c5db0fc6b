"""A process of the demo that sends: predictions and outcomes in the order of time, at an even pace, by the SDK's Emitter.

Run as a module: BOOTSTRAP, two Parquet files (predictions, outcomes), seconds. Every step that it has handed to the
Emitter is a line of JSON on stdout (see `Step`).
"""

import heapq
import sys
import time
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from interlock.emit import Connection, Emitter

STEP = 0.01
"""Seconds from one step to the next."""

PATIENCE_MS = 60_000
"""How long a step may wait for room, when the broker is slow."""

Sent = tuple[int, str, dict[str, Any]]
"""Event time (ms), topic, event."""


class Step(msgspec.Struct, frozen=True):
    """Events handed over so far, the event time (ms) that they reach, and when their last step began.

    `clock` is the machine's monotonic clock (ns), which all its processes share; `at` is the wall clock (ms).
    """

    events: int
    ts: int
    clock: int
    at: int


def events(path: Path, topic: str) -> Iterator[Sent]:
    """Yield the events of a file as serving systems send them: `segment.office` becomes a field within `segment`."""
    for batch in pq.ParquetFile(path).iter_batches(4096):
        for row in _nested(batch).to_pylist():
            yield row["ts"], topic, row


def _nested(batch: pa.RecordBatch) -> pa.Table:
    groups: dict[str, dict[str, Any]] = {}
    columns: dict[str, Any] = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        group, _, within = name.partition(".")
        if within:
            groups.setdefault(group, {})[within] = values
        else:
            columns[name] = values
    for group, fields in groups.items():
        columns[group] = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    return pa.table(columns)


def send(emitter: Emitter, rows: Iterator[Sent], rate: float) -> int:
    """Send events at a rate (per second), saying every step; return how many."""
    size = max(1, round(rate * STEP))
    start, sent = time.monotonic(), 0
    while step := list(islice(rows, size)):
        time.sleep(max(0.0, start + sent / rate - time.monotonic()))
        begun = Step(sent + len(step), step[-1][0], time.monotonic_ns(), time.time_ns() // 1_000_000)
        for topic in ("predictions", "outcomes"):
            emitter.send_many(topic, [row for _, of, row in step if of == topic])
        sent += len(step)
        sys.stdout.write(msgspec.json.encode(begun).decode() + "\n")
        sys.stdout.flush()
    return sent


def main() -> None:
    """Send the files of the arguments."""
    bootstrap, predictions, outcomes, seconds = sys.argv[1:]
    files = {"predictions": Path(predictions), "outcomes": Path(outcomes)}
    total = sum(int(pq.read_metadata(path).num_rows) for path in files.values())
    rows = heapq.merge(*(events(path, topic) for topic, path in files.items()), key=itemgetter(0))
    with Emitter(connection=Connection(bootstrap=bootstrap), max_block_ms=PATIENCE_MS) as emitter:
        send(emitter, rows, total / float(seconds))


if __name__ == "__main__":
    main()
