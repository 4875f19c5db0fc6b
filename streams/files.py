"""Files of events into chunks for the decoder: JSON lines, Parquet, Arrow and CSV, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from interlock.errors import UserError
from interlock.streams.batch import Frame, Lines
from interlock.streams.files_csv import read_csv
from interlock.streams.files_json import read_lines
from interlock.streams.mapping import Mapping, is_text_field

Kind = Literal["predictions", "outcomes", "abuse"]

NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "predictions": (("event_id",), ("ts",), ("model",)),
    "outcomes": (("event_id",), ("ts",), ("label", "confirmed_ood")),
    "abuse": (("event_id",), ("ts",), ("model",), ("category",)),
}
"""Per kind, the columns that a file needs; of each group one."""
CHUNK_ROWS = 8192
SHOWN_COLUMNS = 30


class Reader:
    """Reads files of one kind; `run_start` (ms) is the append time of events that carry no `appended_at`."""

    def __init__(
        self, kind: Kind, run_start: int, mapping: Mapping | None = None, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        """Keep what is common to the files."""
        self._kind = kind
        self._run_start = run_start
        self._mapping = None if mapping is None else mapping.of(kind)
        self._chunk_rows = chunk_rows

    def __call__(self, paths: Iterable[str | Path]) -> Iterator[Lines | Frame]:
        """Yield the events of all files in the order given; offsets number them across files.

        Raises UserError, one line, for a file that cannot be read, is of no known format, or lacks a needed column.
        An empty file holds no events.
        """
        offset = 0
        for path in map(Path, paths):
            for rows in self._rows(path):
                if isinstance(rows, list):
                    yield Lines(rows, offset, self._run_start)
                    offset += len(rows)
                elif rows.num_rows:
                    yield Frame(rows, offset, self._run_start)
                    offset += rows.num_rows

    def _rows(self, path: Path) -> Iterator[list[bytes] | pa.RecordBatch]:
        try:
            if path.is_file() and path.stat().st_size == 0:  # a pipe has no size
                return
            yield from self._parsed(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {_one_line(error)}") from None

    def _parsed(self, path: Path) -> Iterator[list[bytes] | pa.RecordBatch]:
        name = path.name.lower()
        if name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")):
            for lines in read_lines(path, self._chunk_rows):
                yield lines if self._mapping is None else list(map(self._mapping.line, lines))
            return
        reader = next((reader for ends, reader in READERS.items() if name.endswith(ends)), None)
        if reader is None:
            known = ".jsonl .ndjson .json (also .gz), .parquet, .arrow .feather .ipc, .csv"
            raise UserError(f"{path}: unknown kind of file; known are {known}")
        for batch in reader(path, self._chunk_rows):
            yield self._ours(batch, path)

    def _ours(self, batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
        if self._mapping is not None:
            try:
                batch = self._mapping.batch(batch)
            except KeyError as error:
                found = _columns(batch)
                raise UserError(f"{path}: no column {error.args[0]}, which --map asks for; it has {found}") from None
        for names in NEEDED[self._kind]:
            if not set(names) & set(batch.schema.names):
                wanted = " or ".join(names)
                raise UserError(f"{path}: {self._kind} need a column {wanted}; it has {_columns(batch)}")
        return _texts_as_text(batch)


def _parquet(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    parquet: Any = pyarrow.parquet
    with parquet.ParquetFile(path) as file:
        if not file.metadata.num_rows:
            yield _no_rows(file.schema_arrow)  # so that its columns are checked all the same
        yield from file.iter_batches(batch_size=rows)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    arrays: list[Any] = [pa.array([], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    ipc: Any = pyarrow.ipc
    with pa.memory_map(str(path)) as source:
        try:
            file = ipc.open_file(source)
            batches: Iterator[Any] = map(file.get_batch, range(file.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            batches = iter(ipc.open_stream(source))
        for batch in batches:
            batch.validate(full=True)
            yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


READERS: dict[tuple[str, ...], Callable[[Path, int], Iterator[pa.RecordBatch]]] = {
    (".parquet", ".pq"): _parquet,
    (".arrow", ".feather", ".ipc"): _arrow,
    (".csv",): read_csv,
}


def _texts_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast whole numbers to text where ours is text: a file's types are often only inferred."""
    arrays: Sequence[Any] = [
        array.cast(pa.string()) if is_text_field(name) and pa.types.is_integer(array.type) else array
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(list(arrays), names=batch.schema.names)


def _columns(batch: pa.RecordBatch) -> str:
    names = batch.schema.names
    more = f" and {len(names) - SHOWN_COLUMNS} more" if len(names) > SHOWN_COLUMNS else ""
    return ", ".join(names[:SHOWN_COLUMNS]) + more


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
