"""What it costs to remember predictions until their labels come: speed, memory, and bytes of checkpoints.

Speeds are by CPU time of the process, RocksDB's threads included: this is what a core can do, whatever else runs beside it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pyarrow as pa

from benchmarks.drifting import machine_of, quiet
from benchmarks.memory import resident
from interlock.streams import checkpoint
from interlock.streams.admitting import admit
from interlock.streams.batch import Ids
from interlock.streams.budget import Budget
from interlock.streams.checkpoints import Found, Owner, Writer
from interlock.streams.clock import Times
from interlock.streams.join import PREDICTION
from interlock.streams.spill import Spill
from interlock.streams.store import Store

CHUNK = 8192
"""Events at a time, as a worker reads frames."""

FIELDS = PREDICTION | {"slice0": "i4"}
LOOKED_UP, EACH, TABLED = 500_000, 50_000, 1_000_000
"""Labels looked up at most; events of the peer that makes a call for each; events of a dict."""

FOREVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, how much of what."""

    what: str
    value: float
    unit: str
    digits: int = 0


def rows(pending: int, slices: int) -> Iterator[Row]:
    """Yield the rows of the table; memory is that of this process, before and after."""
    few = min(pending, TABLED)
    with Room(None) as made:
        yield Row(f"in memory, {few:,}: inserts, each after a look-up", insert(made.store, few), "/s of CPU")
        yield Row("in memory: labels of any age", look_up(made.store, few, shuffled=True), "/s of CPU")
    yield from peers(min(few, TABLED))
    before = resident()
    with Room(pending * 56 // 50) as made:
        yield Row(
            f"2 % in memory, {pending:,}: inserts, each after a look-up", insert(made.store, pending), "/s of CPU"
        )
        yield Row("2 % in memory: labels in the order of their predictions", look_up(made.store, pending), "/s of CPU")
        yield Row("2 % in memory: labels of any age", look_up(made.store, pending, shuffled=True), "/s of CPU")
        yield Row("2 % in memory: resident", resident() - before, "MB")
        yield Row("2 % in memory: index and bits", made.store._index.nbytes / pending + 1, "bytes a prediction", 1)  # noqa: SLF001
    yield from checkpoints(few)
    yield Row(f"read back from blocks, {pending:,} predictions", read_back(pending), "s of CPU", 2)
    yield Row(f"restore of {slices:,} slices x 20 features", restore(slices), "s of CPU", 2)


class Room:
    """A store with a budget of so many bytes, its folder removed at the end; None: all in memory."""

    def __init__(self, memory: int | None) -> None:
        self._folder = TemporaryDirectory()
        self._spill = None if memory is None else Spill(Path(self._folder.name))
        self.store = Store(FIELDS, Budget() if self._spill is None else Budget(memory, self._spill.shelf))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spill is not None:
            self._spill.close()
        self._folder.cleanup()


def ids(places: np.ndarray) -> Ids:
    """Return the ids of events by their numbers: two rounds of a 64-bit mixer (splitmix64, Steele et al. 2014)."""
    lanes = []
    for seed in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03):
        h = places.astype(np.uint64) * np.uint64(seed) + np.uint64(seed)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        lanes.append(h ^ (h >> np.uint64(31)))
    return Ids(lanes[0], lanes[1], pa.array([], pa.string()))


def insert(store: Store, events: int) -> float:
    """Remember predictions, a chunk at a time, as a shard does; return how many a second."""
    took = 0.0
    for at in range(0, events, CHUNK):
        places = np.arange(at, min(at + CHUNK, events))
        some, times = ids(places), Times(places, places, np.zeros(len(places), np.bool_))
        codes = dict.fromkeys(FIELDS, places % 100)
        start = time.process_time()
        store.fill(admit(store, some, times, FOREVER).rows, codes)
        took += time.process_time() - start
    return events / took


def look_up(store: Store, events: int, *, shuffled: bool = False) -> float:
    """Find predictions, read all that is remembered of them, and mark them as met; return how many a second."""
    wanted = np.arange(events)[:LOOKED_UP]
    if shuffled:
        wanted = np.random.default_rng(0).integers(0, events, len(wanted))
    took = 0.0
    for at in range(0, len(wanted), CHUNK):
        some = ids(wanted[at : at + CHUNK])
        start = time.process_time()
        found = store.find(some.h1, some.h2)
        store.take(found)
        store.mark(found, 1)
        took += time.process_time() - start
    return len(wanted) / took


def peers(events: int) -> Iterator[Row]:
    """Yield what a dict of tuples does in memory, and a call of RocksDB for each event on disk."""
    some, known = ids(np.arange(events)), dict[tuple[int, int], tuple[int, ...]]()
    keys = list(zip(some.h1.tolist(), some.h2.tolist(), strict=True))
    before = resident()
    yield Row(
        "peer, a dict: inserts, each after a look-up", each(keys, lambda key: known.setdefault(key, (*key, 1))), "/s"
    )
    yield Row("peer, a dict: resident", (resident() - before) * 1e6 / events, "bytes a prediction")
    rocksdict: Any = import_module("rocksdict")
    with TemporaryDirectory() as folder:
        db = rocksdict.Rdict(folder, rocksdict.Options(raw_mode=True))
        names = [h1.to_bytes(8, "big") + h2.to_bytes(8, "big") for h1, h2 in keys[:EACH]]

        def insert_one(name: bytes) -> None:
            if db.get(name) is None:
                db[name] = name * 3

        yield Row("peer, RocksDB by event: inserts, each after a look-up", each(names, insert_one), "/s of CPU")
        yield Row("peer, RocksDB by event: labels", each(names, db.get), "/s of CPU")
        db.close()


def each(keys: list[Any], work: Callable[[Any], object]) -> float:
    """Return calls a second."""
    start = time.process_time()
    for key in keys:
        work(key)
    return len(keys) / (time.process_time() - start)


def checkpoints(events: int) -> Iterator[Row]:
    """Yield the bytes of a checkpoint every tenth of the events: in blocks, and as the whole state each time."""
    store, writer, blocks, whole = Store(FIELDS), Writer(Owner("run", "shard", 0), 1, 0, []), 0, 0
    for part in np.array_split(np.arange(events), 10):
        some = ids(part)
        store.fill(store.append(some.h1, some.h2, part), {"p": part % 1000, "level": part % 3})
        state = {"positions": {}, "store": store.snapshot(blocks=True)}
        blocks += sum(len(message.value or b"") for message in writer.write(state))
        whole += len(checkpoint.encode(store.snapshot()))
    yield Row("ten checkpoints in blocks", blocks / events, "bytes an event", 1)
    yield Row("ten checkpoints of the whole state, compressed too", whole / events, "bytes an event", 1)


def read_back(events: int) -> float:
    """Return the seconds from the messages of a checkpoint to a store that goes on; a worker counts nothing meanwhile."""
    store, owner, found = Store(FIELDS), Owner("run", "shard", 0), Found()
    insert(store, events)
    written = Writer(owner, 1, 0, []).write({"positions": {}, "store": store.snapshot(blocks=True)})
    for offset, message in enumerate(written):
        found.put(message.key, message.value, offset)
    start = time.process_time()
    saved, again = found.furthest(owner), Store(FIELDS)
    if saved is None:
        raise RuntimeError("no checkpoint was found")
    again.restore(saved.state["store"])
    for offset, blocks in saved.blocks.items():
        for block in blocks:
            if block.take is not None:
                block.take(block, written[offset].value or b"")
    if again.end != store.end:
        raise RuntimeError(f"{again.end} of {store.end} are back")
    return time.process_time() - start


def restore(slices: int) -> float:
    """Return the seconds from the bytes of a judge's state to its going on."""
    machine = machine_of(slices)
    machine.judge(0, quiet(np.random.default_rng(0), slices))
    data = checkpoint.encode({"machine": machine.snapshot()})
    start = time.process_time()
    machine_of(slices).restore(checkpoint.decode(data)["machine"])
    return time.process_time() - start
