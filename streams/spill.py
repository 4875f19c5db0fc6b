"""Records of stores on disk, in RocksDB: a cache of what `checkpoints` holds, made anew at every start."""

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from interlock.errors import UserError

AT_ONCE = 2048
"""Pages of a write."""

MEMTABLE, SHARE = 16 << 20, 16
"""Bytes that RocksDB collects in memory before it writes a file, in each of at most two tables; at most this part of `memory`."""

STALLED, TRIES, PAUSE = "Write stall", 100, 0.01
"""What RocksDB says when its tables in memory are full, how often a write is tried then, and seconds in between."""


class StalledError(OSError):
    """A write that RocksDB may take in a moment."""


class Spill:
    """A folder of a worker's own. What an earlier process left there is removed: nothing says what of it was whole."""

    def __init__(self, folder: Path, memory: int = MEMTABLE * SHARE) -> None:
        """Take the folder; `memory` is the bytes of records that stay out of it.

        Raises:
            UserError: it cannot be written, or another worker has it.
        """
        rocksdict: Any = import_module("rocksdict")  # of an extra, and only where a folder is given
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            shutil.rmtree(folder / "join", ignore_errors=True)
            with _plainly():
                self._db: Any = rocksdict.Rdict(str(folder / "join"), _options(rocksdict, memory))
        except BlockingIOError as error:
            raise UserError(f"--state-dir {folder}: another worker has it; each needs a folder of its own") from error
        except OSError as error:
            raise UserError(f"--state-dir {folder}: {error.strerror or error}") from error
        self._rocksdict, self._options = rocksdict, rocksdict.WriteOptions()
        self._options.disable_wal = True  # after a crash all of it is removed anyway
        self._options.no_slowdown = True  # else it waits, for ever after a full disk: what mends that waits for us
        self._shelves = 0

    def shelf(self) -> "Shelf":
        """Return a place for the pages of one store."""
        self._shelves += 1
        return Shelf(self, self._shelves)

    def write(self, pages: Mapping[bytes, bytes]) -> None:
        """Write these at once, after a second at most; OSError if that cannot be done."""
        for _ in range(TRIES):
            with suppress(StalledError), _plainly():
                return self._write(self._batch(pages))
            time.sleep(PAUSE)
        raise OSError(f"RocksDB: {STALLED}")

    def _batch(self, pages: Mapping[bytes, bytes]) -> Any:
        """Return a batch, made for each attempt: one that was refused cannot be written again."""
        batch = self._rocksdict.WriteBatch(raw_mode=True)
        for key, page in pages.items():
            batch.put(key, page)
        return batch

    def _write(self, batch: Any) -> None:
        self._db.write(batch, self._options)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what stands under these keys; OSError if that cannot be read."""
        with _plainly():
            found: list[bytes | None] = self._db[list(keys)]
            return found

    def delete(self, start: bytes, stop: bytes) -> bool:
        """Forget the keys of a range; return whether that could be done: a full disk keeps them a while longer."""
        with suppress(OSError), _plainly():
            self._db.delete_range(start, stop, self._options)
            return True
        return False

    def close(self) -> None:
        """Let the folder go."""
        with suppress(OSError), _plainly():  # a full disk: it would write what nobody needs any more
            self._db.close()
        self._lock.close()


class Shelf:
    """The pages of one store: `Pages` of `streams/cold.py`."""

    def __init__(self, spill: Spill, number: int) -> None:
        """Start empty."""
        self._spill, self._prefix, self._after = spill, number.to_bytes(4, "big"), (number + 1).to_bytes(4, "big")
        self._from = 0

    def _key(self, page: int) -> bytes:
        return self._prefix + page.to_bytes(8, "big")

    def put(self, first: int, pages: Sequence[bytes]) -> None:
        """Write consecutive pages; OSError if that cannot be done."""
        for at in range(0, len(pages), AT_ONCE):
            some = enumerate(pages[at : at + AT_ONCE], first + at)
            self._spill.write({self._key(number): page for number, page in some})

    def get(self, numbers: Sequence[int]) -> list[bytes]:
        """Read pages.

        Raises:
            UserError: one is not there, or cannot be read.
        """
        try:
            found = self._spill.read([self._key(number) for number in numbers])
        except OSError as error:
            raise UserError(
                f"--state-dir cannot be read ({error}); nothing is lost: the next start makes it anew"
            ) from error
        pages = [page for page in found if page is not None]
        if len(pages) < len(found):
            raise UserError("--state-dir has lost pending events; nothing is lost: the next start makes it anew")
        return pages

    def drop(self, before: int) -> None:
        """Forget pages before this one, now or with the next call."""
        if before > self._from and self._spill.delete(self._key(self._from), self._key(before)):
            self._from = before

    def close(self) -> None:
        """Forget all; what a full disk keeps, the next start removes."""
        self._spill.delete(self._prefix, self._after)


def _locked(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _options(rocksdict: Any, memory: int) -> Any:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(min(MEMTABLE, memory // SHARE))
    options.set_max_write_buffer_number(2)
    options.set_compression_type(rocksdict.DBCompressionType.none())  # two thirds of a record are hashes
    options.set_keep_log_file_num(1)
    return options


@contextmanager
def _plainly() -> Iterator[None]:
    """Say what RocksDB says, which knows one exception for all, as OSError."""
    try:
        yield
    except Exception as error:
        raise (StalledError if STALLED in str(error) else OSError)(f"RocksDB: {error}") from error
