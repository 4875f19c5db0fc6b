"""Lets aiokafka read records whose header names are no UTF-8: one such record would stop every consumer, for ever.

Kafka and most clients take any bytes for a header's name; aiokafka's parser in C raises, and fetches the same again. A
batch that it refuses so is parsed once more, by aiokafka's own parser in Python, which shows such names escaped. It
reaches into names of aiokafka 0.14 that are not public; tests/test_conformance.py says which.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class Records(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka's types are not checked
    """What one fetch brought of a partition, batch by batch."""

    def next_batch(self, *arguments: Any) -> Any:
        """Return the next batch; None after the last."""
        raw = self._next_slice
        batch = super().next_batch(*arguments)
        return _Batch(batch, raw) if isinstance(batch, DefaultRecordBatch) else batch


class _Batch:
    """A batch as the parser in C reads it, and where that refuses a name, as the one in Python does."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch, self._raw = batch, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            slow = _DefaultRecordBatchPy(self._raw)
            slow._maybe_uncompress()  # noqa: SLF001 - see above
            slow._buffer = _Escaped(slow._buffer)  # noqa: SLF001
            return iter(slow)


class _Escaped(bytearray):
    """Bytes of which every piece can be shown as text."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Escaped(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


def install() -> None:
    """Let all consumers of this process read so."""
    fetcher.MemoryRecords = Records
