"""Predictions that wait for their labels for weeks, on one shard of a real worker: speed, memory, a kill, and labels of any age.

What is beyond `MEMORY` is on disk. Every label must find its prediction.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import workload
from benchmarks.live_topics import Keyed, fill, frame_messages, make_topics
from benchmarks.live_worker import positions
from benchmarks.storing import Row
from tests.living import Running
from tests.living import records as standing

MEMORY, SPACING, DAY = 512, 100, 86_400_000
"""MiB of records in memory; milliseconds between events: fifty million are 58 days."""

MARKS, LABELS, BATCH, PATIENCE = 4, 50, 1 << 20, 3600.0
"""Looks at memory; predictions for each that gets a label; events made at a time; seconds that anything may take."""

NEVER = workload.SLO % ("never_event_violations", "== 0", "rolling", "")
POLICY = workload.HEAD + workload.NEVER + "labels: {join_ttl: 90d, maturity: 1h}\nslos:\n" + workload.ECE + NEVER


def rows(bootstrap: str, folder: Path, pending: int) -> Iterator[Row]:
    """Yield what so many pending predictions cost a worker.

    Raises:
        RuntimeError: a label did not find its prediction.
    """
    policy, prefix = folder / "pending.yaml", "pending."
    policy.write_text(POLICY)
    make_topics(bootstrap, prefix, 1)
    records = _filled(bootstrap, prefix + "predictions", predictions(pending))
    with TemporaryDirectory(dir=folder) as state:
        with _worker(policy, bootstrap, prefix, state) as worker:
            yield from _marks(worker, records, pending)
            yield Row("on disk", sum(file.stat().st_size for file in Path(state).rglob("*")) / 2**20, "MiB")
            worker.end()
        records += _filled(bootstrap, prefix + "predictions", violation(pending))
        start = time.perf_counter()
        with _worker(policy, bootstrap, prefix, state) as worker:
            _wait(lambda: worker.status().get("shards", {}) != {}, "the worker's partitions")
            yield Row("killed; the next one has its partitions after", time.perf_counter() - start, "s", 1)
            _wait(lambda: len(standing(bootstrap, prefix + "control")) > 0, "a control")
            yield Row("and acts on a never-event after", time.perf_counter() - start, "s", 1)
            _wait(lambda: worker.status()["restoring"] == [], "all that is pending")
            yield Row("and has all that is pending after", time.perf_counter() - start, "s", 1)
            _wait(lambda: positions([worker]) == records, "what came meanwhile")
            yield from _labelled(worker, pending)


def _labelled(worker: Running, pending: int) -> Iterator[Row]:
    found = pending // LABELS
    _filled(worker.bootstrap, worker.prefix + "outcomes", labels(pending, found))
    start = time.perf_counter()
    _wait(lambda: _counted(worker, "outcomes") == found, "all labels")
    yield Row("labels of any age", found / (time.perf_counter() - start), "/s")
    yield Row("resident afterwards", resident(worker), "MiB")
    if _counted(worker, "joined") != found:
        raise RuntimeError(f"of {found} labels only {_counted(worker, 'joined')} found their predictions")


def _worker(policy: Path, bootstrap: str, prefix: str, folder: str) -> Running:
    options = ("--state-dir", folder, "--memory", str(MEMORY))
    return Running(policy, bootstrap, prefix, options, {})


def _marks(worker: Running, records: int, pending: int) -> Iterator[Row]:
    _wait(lambda: bool(worker.status().get("shards")), "the worker's partitions")
    start = time.perf_counter()
    for mark in range(1, MARKS + 1):
        _wait(lambda mark=mark: positions([worker]) >= records * mark // MARKS, "a quarter of the topic")  # type: ignore[misc]
        now, events = time.perf_counter(), pending * mark // MARKS
        yield Row(f"taken, up to {events:,}", pending / MARKS / (now - start), "events/s")
        yield Row(f"resident with {events:,} pending", resident(worker), "MiB")
        start = now


def resident(worker: Running) -> float:
    """Return the resident MiB of a worker."""
    if worker.process is None:
        raise RuntimeError("it does not run")
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def _counted(worker: Running, what: str) -> int:
    return sum(shard["counted"].get(what, 0) for shard in worker.status().get("shards", {}).values())


def predictions(count: int) -> Iterator[pa.RecordBatch]:
    """Yield predictions without features."""
    for start in range(0, count, BATCH):
        numbers = np.arange(start, min(start + BATCH, count), dtype=np.int64)
        rng = np.random.default_rng(start)
        score = rng.random(len(numbers)).round(4) * 0.998 + 0.001
        same: Any = pa.array(np.zeros(len(numbers), np.int32))
        yield pa.RecordBatch.from_arrays(
            [
                ids(numbers),
                pa.array(workload.START + SPACING * numbers),
                pa.DictionaryArray.from_arrays(same, pa.array(["claims"])),
                pa.DictionaryArray.from_arrays(same, pa.array(["3"])),
                pa.array(score),
                pa.array(np.where(score < 0.5, "approve", "deny")),
            ],
            ["event_id", "ts", "model", "model_version", "score", "decision"],
        )


def violation(pending: int) -> Iterator[pa.RecordBatch]:
    """Yield a prediction after all others that breaks the policy's rule."""
    [made] = predictions(1)
    late = {"ts": workload.START + SPACING * pending, "score": 0.00005, "decision": "approve"}
    ids_after = ids(np.array([pending], np.int64))
    columns = [
        ids_after if name == "event_id" else pa.array([late[name]]) if name in late else made.column(name)
        for name in made.schema.names
    ]
    yield pa.RecordBatch.from_arrays(columns, made.schema.names)


def labels(pending: int, count: int) -> Iterator[pa.RecordBatch]:
    """Yield labels of some predictions, in the order of chance, as of the end."""
    rng = np.random.default_rng(0)
    numbers = rng.choice(pending, count, replace=False)
    ts = np.full(count, workload.START + SPACING * pending, np.int64)
    yield pa.RecordBatch.from_arrays(
        [ids(numbers), pa.array(ts), pa.array(rng.random(count) < 0.5)], ["event_id", "ts", "label"]
    )


def ids(numbers: np.ndarray) -> Any:
    """Return event ids as long as UUIDs."""
    digits: Any = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 12, "0")
    return pc.binary_join_element_wise(pa.scalar("00000000-0000-4000-8000"), digits, "-")


def _filled(bootstrap: str, topic: str, batches: Iterator[pa.RecordBatch]) -> int:
    records = 0

    def counted() -> Iterator[Keyed]:
        nonlocal records
        for message in frame_messages(batches, 1024):
            records += 1
            yield message

    fill(bootstrap, topic, counted(), 1)
    return records


def _wait(look: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise RuntimeError(f"waited an hour for {what}")
        time.sleep(0.05)
