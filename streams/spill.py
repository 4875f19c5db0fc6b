"""Records of stores on disk, in RocksDB: a cache of what `checkpoints` holds, made anew at every start."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from interlock.errors import UserError

AT_ONCE = 2048
"""Pages of a write."""

MEMTABLE, SHARE = 16 << 20, 8
"""Bytes that RocksDB collects in memory before it writes a file, in each of at most two tables; at most this part of `memory`."""


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
        self._rocksdict, self._writing = rocksdict, rocksdict.WriteOptions()
        self._writing.disable_wal = True  # after a crash all of it is removed anyway
        self._shelves = 0

    def shelf(self) -> "Shelf":
        """Return a place for the pages of one store."""
        self._shelves += 1
        return Shelf(self._db, self._shelves, self._write, self._rocksdict)

    def _write(self, batch: Any) -> None:
        self._db.write(batch, self._writing)

    def close(self) -> None:
        """Let the folder go."""
        with suppress(OSError), _plainly():  # a full disk: it would write what nobody needs any more
            self._db.close()
        self._lock.close()


class Shelf:
    """The pages of one store: `Pages` of `streams/cold.py`."""

    def __init__(self, db: Any, number: int, write: Callable[[Any], None], rocksdict: Any) -> None:
        """Start empty."""
        self._db, self._write, self._rocksdict = db, write, rocksdict
        self._prefix = number.to_bytes(4, "big")
        self._from = 0

    def _key(self, page: int) -> bytes:
        return self._prefix + page.to_bytes(8, "big")

    def put(self, first: int, pages: Sequence[bytes]) -> None:
        """Write consecutive pages; OSError if that cannot be done."""
        for at in range(0, len(pages), AT_ONCE):
            batch = self._rocksdict.WriteBatch(raw_mode=True)
            for number, page in enumerate(pages[at : at + AT_ONCE], first + at):
                batch.put(self._key(number), page)
            with _plainly():
                self._write(batch)

    def get(self, numbers: Sequence[int]) -> list[bytes]:
        """Read pages.

        Raises:
            UserError: one is not there, or cannot be read.
        """
        try:
            with _plainly():
                pages: list[bytes] = self._db[[self._key(number) for number in numbers]]
        except OSError as error:
            raise UserError(
                f"--state-dir cannot be read ({error}); nothing is lost: the next start makes it anew"
            ) from error
        if None in pages:
            raise UserError("--state-dir has lost pending events; nothing is lost: the next start makes it anew")
        return pages

    def drop(self, before: int) -> None:
        """Forget pages before this one, now or with the next call."""
        if before > self._from:
            with suppress(OSError), _plainly():  # a full disk: they stay a while longer
                self._db.delete_range(self._key(self._from), self._key(before))
                self._from = before

    def close(self) -> None:
        """Forget all."""
        with suppress(OSError), _plainly():  # the next start removes all
            self._db.delete_range(self._prefix, (int.from_bytes(self._prefix, "big") + 1).to_bytes(4, "big"))


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
        raise OSError(f"RocksDB: {error}") from error
