"""The store of the join against a dict: wherever its rows are, whatever was forgotten, and read back from blocks."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chaos.disk import mounting
from interlock.errors import Exhausted, UserError
from interlock.streams import checkpoint
from interlock.streams.blocks import Block, Name
from interlock.streams.budget import Budget
from interlock.streams.cold import PAGE
from interlock.streams.fingerprints import Fingerprints
from interlock.streams.spill import Spill
from interlock.streams.store import Store
from tests.processes import ROOT, environment

FIELDS = {"v": "i4"}
Written = dict[Name, bytes]


@pytest.fixture(scope="module")
def spill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spill]:
    made = Spill(tmp_path_factory.mktemp("spill"))
    yield made
    made.close()


def tiny(spill: Spill | None, rows: int = 7) -> Budget:
    """Return a budget under which blocks have a few rows and almost none stays in memory."""
    return Budget(None, None, rows) if spill is None else Budget(1, spill.shelf, rows)


def hashes(keys: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return ids; of the first 61, the first lanes collide in their upper bits on purpose."""
    keys = np.asarray(keys, np.uint64)
    few = (keys % np.uint64(5)) << np.uint64(60) | keys >> np.uint64(3)
    return np.where(keys < np.uint64(61), few, keys * np.uint64(0x9E3779B97F4A7C15)), keys


def added(store: Store, keys: Any, e: int) -> np.ndarray[Any, Any]:
    rows = store.append(*hashes(keys), np.full(len(keys), e, np.int64))
    store.fill(rows, {"v": rows})
    return rows


def written(store: Store, topic: Written, epoch: int = 1) -> bytes:
    """Return a state by the names of its blocks; those that have no name yet are written."""

    def name(block: Block) -> Name:
        found, data = block.named(epoch)
        if data is not None:
            topic[found] = data
        return found

    return checkpoint.encode(store.snapshot(blocks=True), name)


def read(state: bytes, topic: Written, budget: Budget, order: np.random.Generator) -> Store:
    """Return the store of a state, whose blocks come in any order."""
    blocks: list[Block] = []
    store = Store(FIELDS, budget)
    store.restore(checkpoint.decode(state, blocks))
    for place in order.permutation(len(blocks)):
        block = blocks[place]
        assert block.name is not None
        assert block.take is not None
        block.take(block, topic[block.name])
    return store


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 60), max_size=40)),
        st.tuples(st.just("mark"), st.lists(st.integers(0, 60), max_size=8)),
        st.tuples(st.just("forget"), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.integers(0, 5)),
    ),
    max_size=25,
)


@given(steps=STEPS, spilled=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_store_is_a_dict_wherever_its_rows_are_and_read_back_from_blocks(
    spill: Spill, steps: list[tuple[str, Any]], spilled: bool
) -> None:
    known: dict[int, int] = {}
    bits: dict[int, int] = {}
    topic: Written = {}
    store = Store(FIELDS, tiny(spill if spilled else None))
    for number, (what, how) in enumerate(steps):
        if what == "add":
            known |= zip(how, added(store, how, number).tolist(), strict=True)
        elif what == "mark":
            rows = store.find(*hashes(how))
            store.mark(rows[rows >= 0], 1 << (number % 8))
            bits |= {row: bits.get(row, 0) | 1 << (number % 8) for row in rows[rows >= 0].tolist()}
        elif what == "forget":
            for _ in range(min(how, len(store._blocks))):
                store.forget()
        else:
            again = read(written(store, topic), topic, tiny(spill if spilled else None), np.random.default_rng(how))
            store.close()
            store = again
        live = {key: row for key, row in known.items() if row >= store.first}
        keys = np.arange(61)
        found = store.find(*hashes(keys))

        assert {key: row for key, row in enumerate(found.tolist()) if row >= 0} == live
        assert (store.take(found[found >= 0])["v"] == found[found >= 0]).all()
        rows = np.arange(store.first, store.end)
        assert store.met(rows).tolist() == [bits.get(row, 0) for row in rows.tolist()]
        assert store.unmet().tolist() == [row for row in rows.tolist() if not bits.get(row)]
    store.close()


def test_a_tiny_budget_leaves_less_than_a_page_and_the_last_rows_in_memory(spill: Spill) -> None:
    store = Store(FIELDS, tiny(spill))
    for number in range(50):
        added(store, np.arange(number * 40, number * 40 + 40), number)

    assert store.size == 2000
    assert store.resident <= (PAGE + 40) * store.kind.itemsize
    assert (store.take(np.arange(2000))["v"] == np.arange(2000)).all()


def test_a_block_is_written_once_and_holds_under_512_kib() -> None:
    store, topic = Store(FIELDS), Written()
    rng, state = np.random.default_rng(0), b""
    for number in range(5):
        added(store, rng.integers(0, 1 << 63, 20_000), number)
        before = dict(topic)
        state = written(store, topic)
        assert before.items() <= topic.items()
    again = read(state, topic, Budget(), rng)
    size = len(topic)
    same = written(again, topic, epoch=9)

    assert len(topic) == size == len(store._blocks) > 3
    assert max(map(len, topic.values())) < 512 * 1024
    assert len(state) < 512 * 1024
    assert same == state


def test_bits_that_are_set_later_are_logged_in_blocks_too() -> None:
    store, topic = Store(FIELDS, Budget(rows=1000)), Written()
    rows = added(store, np.arange(100_000), 0)
    written(store, topic)
    size = len(topic)
    store.mark(rows[::2], 1)
    store.mark(rows[::3], 2)
    state = written(store, topic)
    again = read(state, topic, Budget(rows=1000), np.random.default_rng(1))

    assert len(topic) - size == 2
    assert (again.met(rows) == (rows % 2 == 0) + 2 * (rows % 3 == 0)).all()


def test_half_of_an_id_is_another_id() -> None:
    """64 bits may collide, or be made to; 128 decide."""
    store = Store({})
    same = np.array([5, 5], np.uint64)
    store.append(same, np.array([1, 2], np.uint64), np.zeros(2, np.int64))

    assert store.find(same, np.array([2, 1], np.uint64)).tolist() == [1, 0]
    assert store.find(same[:1], np.array([3], np.uint64)).tolist() == [-1]


@given(seed=st.integers(0, 1000), cut=st.floats(0, 1))
@settings(max_examples=20)
def test_a_table_of_hashes_finds_every_live_row_while_it_grows(seed: int, cut: float) -> None:
    rng = np.random.default_rng(seed)
    table, h1 = Fingerprints(), rng.integers(0, 1 << 64, 30_000, dtype=np.uint64)
    first = 0
    for part in np.array_split(np.arange(30_000), 11):
        table.add(h1[part], part, first)
        first = int(part[0] * cut)
    places, rows = table.find(h1, first)

    assert set(range(first, 30_000)) <= set(rows[places == rows].tolist())
    assert rows.min(initial=first) >= first
    assert table.nbytes <= 8 * (30_000 / 0.6) + 8 * 8 * 64


class Full(Spill):
    """A disk that takes nothing while `full`: what RocksDB says then."""

    full = True

    def _write(self, batch: Any) -> None:
        if self.full:
            raise RuntimeError("IO error: No space left on device")
        super()._write(batch)


def test_a_full_disk_loses_nothing_is_told_and_is_tried_again(tmp_path: Path) -> None:
    spill = Full(tmp_path)
    budget = Budget(40_000, spill.shelf)
    store = Store(FIELDS, budget)
    for number in range(80):
        added(store, np.arange(number * 20, number * 20 + 20), number)
    full = budget.resident > 40_000
    told, failures = budget.failing, budget.failures
    spill.full = False
    for number in range(80, 160):
        added(store, np.arange(number * 20, number * 20 + 20), number)

    found = store.find(*hashes(np.arange(3200)))
    spill.close()

    assert (found == np.arange(3200)).all()
    assert full
    assert told == "RocksDB: IO error: No space left on device"
    assert failures
    assert budget.failing is None
    assert budget.resident <= 40_000 + 20 * store.kind.itemsize


def fill_up(store: Store) -> None:
    for number in range(600):
        added(store, np.arange(number * 20, number * 20 + 20), number)


def test_a_disk_that_stays_full_ends_it_at_twice_the_memory_in_one_line(tmp_path: Path) -> None:
    spill = Full(tmp_path)
    store = Store(FIELDS, Budget(40_000, spill.shelf))
    with pytest.raises(Exhausted, match=r"takes nothing more .*No space left") as stopped:
        fill_up(store)

    spill.close()

    assert "\n" not in str(stopped.value)


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file grow: RocksDB's own threads meet it as they would meet a full disk, without a disk of our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_rocksdb_itself_on_a_full_disk_loses_nothing_and_lets_the_worker_stop(tmp_path: Path) -> None:
    """Its tables in memory are small where `memory` is, or it would not notice for long."""
    spill = Spill(tmp_path, 40_000)
    store = Store(FIELDS, Budget(40_000, spill.shelf))
    with no_room():
        with pytest.raises(Exhausted, match=r"takes nothing more .*File too large"):
            fill_up(store)
        found = store.find(*hashes(np.arange(store.end)))
        spill.close()
    again = Spill(tmp_path, 40_000)
    again.close()

    assert store.end > 3000
    assert (found == np.arange(store.end)).all()


@pytest.mark.slow
def test_a_disk_that_was_full_takes_writes_again_and_never_holds_the_worker_for_ever(tmp_path: Path) -> None:
    """RocksDB's own wait for room and its own recovery wait for each other."""
    mount = mounting(tmp_path)
    if not mount:
        pytest.skip("no small disk can be mounted here")
    ended = subprocess.run(
        [*mount, sys.executable, "-m", "tests.filling", str(tmp_path)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert ended.stdout.split("\n") == ["taken again"] * 3 + [""], ended.stderr


def test_a_disk_that_is_slower_than_the_worker_holds_it_up_and_loses_nothing(tmp_path: Path) -> None:
    """RocksDB refuses writes while its tables in memory are full: here they are tiny, so that nearly all have to be tried again."""
    spill = Spill(tmp_path, 40_000)
    shelf, pages = spill.shelf(), [bytes([n % 251]) * 1600 for n in range(2048)]
    for at in range(0, 30 * 2048, 2048):
        shelf.put(at, pages)
    found = shelf.get([0, 2047, 29 * 2048 + 300])
    spill.close()

    assert found == [pages[0], pages[2047], pages[300]]


def test_pages_that_are_gone_end_it_in_one_line(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    store = Store(FIELDS, tiny(spill))
    for number in range(5):
        added(store, np.arange(number * 40, number * 40 + 40), number)
    spill._db.delete_range(b"", b"\xff" * 12)
    with pytest.raises(UserError, match="the next start makes it anew"):
        store.take(np.arange(40))

    spill.close()


def test_two_workers_do_not_share_a_folder(tmp_path: Path) -> None:
    first = Spill(tmp_path)
    with pytest.raises(UserError, match="another worker has it"):
        Spill(tmp_path)
    first.close()

    Spill(tmp_path).close()
