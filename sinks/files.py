"""JSON lines in files that are whole or absent."""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from interlock.errors import UserError


class JsonLines:
    """A file of JSON lines, written beside its name as `.partial` and renamed when it is complete.

    Use it as a context manager. A run that fails leaves `.partial` and, under the real name, what stood there before.
    """

    def __init__(self, path: Path) -> None:
        """Create the folder and start the partial file; an older partial file is overwritten.

        Raises:
            UserError: The file cannot be written there.
        """
        self.path = path
        self.lines = 0
        self._partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self._partial.open("wb")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def write(self, line: bytes) -> None:
        r"""Append one line, which ends with its only `\n`.

        Raises:
            ValueError: It is not one line.
        """
        if not line.endswith(b"\n") or line.count(b"\n") > 1:
            raise ValueError("a JSON line ends with its only newline")
        self._file.write(line)
        self.lines += 1

    def close(self) -> None:
        """Make the file durable and give it its name; closing twice is harmless."""
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.path)
        _sync_folder(self.path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
