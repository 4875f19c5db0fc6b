"""Tallies, verdicts, controls and dead letters in ClickHouse: a server, or chdb in a directory, by one class.

Every insert carries a token derived from the batch's identity, its table and its month. So it may be sent again by
anyone who did not see the answer: by clickhouse-connect, which replays a lost one by itself, by `_send` here, and by a
caller that crashed and resumed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.errors import Unreachable, UserError
from interlock.records import Control, Labels, Refused, TallyTable, Verdict, canonical_json, rounded, shown

DATABASE = "interlock"
ATTEMPTS = 3

LOCAL_LIMITS = {
    "background_pool_size": "2",
    "index_mark_cache_size": "8388608",
    "mark_cache_size": "33554432",
    "max_server_memory_usage": "2147483648",  # counts the whole process, not chdb's share alone
    "primary_index_cache_size": "33554432",
    "uncompressed_cache_size": "0",
}
"""Options of an engine that shares a process: its defaults are 0.9 of the machine's memory and caches of 5 GiB."""

_INSTANT = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, slots=True)
class Batch:
    """The identity of what is sent: who counted it, and what it covers (offsets or panes; never a clock's time)."""

    source: str
    covers: str

    def token(self, table: str, month: str) -> str:
        """Return the token under which ClickHouse knows these rows again."""
        identity = f"interlock/1\x1f{self.source}\x1f{self.covers}\x1f{table}\x1f{month}"
        return hashlib.sha256(identity.encode()).hexdigest()


class ClickHouseSink:
    """Writes outputs through a clickhouse-connect client; use it as a context manager."""

    def __init__(self, client: Any) -> None:
        """Take over an open client and lay the schema, which changes nothing where it stands already."""
        self.client = client
        for statement in statements():
            self.client.command(statement)

    @classmethod
    def connect(cls, directory: Path | None = None, url: str | None = None) -> Self:
        """Open chdb in a directory, or a server at `http://user:password@host:8123`; one of the two.

        Raises:
            UserError: The packages are missing, or the directory cannot be opened (another process may hold it).
            Unreachable: No server answers at the URL.
        """
        if (directory is None) == (url is None):
            raise ValueError("give a directory or a URL")
        return cls(_local_client(directory) if directory is not None else _server_client(str(url)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory or the connections."""
        self.client.close()

    def insert_tallies(self, tallies: TallyTable, batch: Batch) -> None:
        """Insert counts; the same batch again changes nothing, and other counts under the same keys replace them."""
        table = pa.table(
            {
                "pane_start": _instants(tallies.pane_start),
                "pane_ms": pa.array(tallies.pane_ms, pa.uint32()),
                "cohort_start": _instants(tallies.cohort_start),
                "chain": _dictionary(tallies.chain),
                "model": _dictionary(tallies.model),
                "model_version": _dictionary(tallies.model_version),
                "slice": _dictionary(tallies.slice),
                "series": _dictionary(tallies.series),
                "cell": pa.array(tallies.cell, pa.uint32()),
                "count": pa.array(tallies.count),
                "source": _dictionary(Labels.constant(batch.source, len(tallies))),
            }
        )
        self._insert("tallies", table, tallies.pane_start, batch)

    def insert_verdicts(self, verdicts: Sequence[Verdict], batch: Batch) -> None:
        """Insert verdicts; the same batch, or the same verdict in another batch, changes nothing."""
        self._insert_records("verdicts", verdicts, batch)

    def insert_controls(self, controls: Sequence[Control], batch: Batch) -> None:
        """Insert transitions of controls; the same again changes nothing."""
        self._insert_records("controls", controls, batch)

    def insert_dead_letters(self, letters: Sequence[Refused], at: int, batch: Batch) -> None:
        """Insert refused events read at `at` (ms); the same batch again changes nothing."""
        rows = len(letters)
        columns = {name: pa.array([getattr(x, name) for x in letters]) for name in _LETTER_FIELDS}
        instants = np.full(rows, at, np.int64)
        fixed = {
            "at": _instants(instants),
            "source": pa.array([batch.source] * rows),
            "raw": pa.array([shown(x.raw) for x in letters]),
        }
        self._insert("dead_letters", pa.table(fixed | columns), instants, batch)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query, for tables of a few hundred."""
        return list(self.client.query(sql).named_results())

    def _insert_records(self, name: str, records: Sequence[Verdict] | Sequence[Control], batch: Batch) -> None:
        if not records:
            return
        fields = type(records[0]).model_fields
        table = pa.table({field: _column([getattr(x, field) for x in records], field) for field in fields})
        self._insert(name, table, np.array([x.ts for x in records], np.int64), batch)

    def _insert(self, name: str, table: pa.Table, times: NDArray[np.int64], batch: Batch) -> None:
        for month, rows in _months(times):
            part = table if len(rows) == len(times) else table.take(rows)
            self._send(name, part, batch.token(name, month))

    def _send(self, name: str, table: pa.Table, token: str) -> None:
        """Insert one block; a lost answer is asked for again under the same token, so that it counts once."""
        from clickhouse_connect.driver.exceptions import OperationalError  # noqa: PLC0415 - optional dependency

        settings = {"insert_deduplication_token": token, "async_insert": 0, "max_partitions_per_insert_block": 1}
        for attempt in range(ATTEMPTS):
            try:
                self.client.insert_arrow(name, table, database=DATABASE, settings=settings)
            except OperationalError as error:
                if attempt == ATTEMPTS - 1:
                    raise Unreachable(f"ClickHouse does not take rows of {name}: {_first_line(error)}") from error
            else:
                return


_LETTER_FIELDS = ("topic", "offset", "index", "reason", "detail", "size", "digest")
_TIME_FIELDS = frozenset({"ts", "window_start", "window_end", "issued_at"})
_NUMBER_FIELDS = frozenset({"value", "lower", "upper", "label_coverage"})
_JSON_FIELDS = frozenset({"scope", "evidence", "parameters"})


def statements() -> list[str]:
    """Return the statements of schema.sql."""
    text = resources.files("interlock.sinks").joinpath("schema.sql").read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in code.split(";") if statement.strip()]


def _local_client(directory: Path) -> Any:
    try:
        import chdb  # noqa: F401, PLC0415 - optional dependency
        import clickhouse_connect  # noqa: PLC0415 - optional dependency
        from clickhouse_connect.driver.exceptions import ProgrammingError  # noqa: PLC0415 - optional dependency
    except ImportError as error:
        raise UserError("ClickHouse in a directory needs: pip install 'interlock[local]'") from error
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(interface="chdb", path=str(directory), chdb_options=LOCAL_LIMITS)
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror}") from error
    except ProgrammingError as error:
        raise UserError(f"cannot open {directory}: {_why_closed(error)}") from error


def _why_closed(error: Exception) -> str:
    if "already initialized with path" in str(error):
        return "this process has another ClickHouse directory open, and chdb allows one"
    if "Error initializing EmbeddedServer" in str(error):
        return "another process holds it (stop that process), or it is not a ClickHouse directory"
    return _first_line(error)


def _server_client(url: str) -> Any:
    try:
        import clickhouse_connect  # noqa: PLC0415 - optional dependency
        from clickhouse_connect.driver.exceptions import OperationalError  # noqa: PLC0415 - optional dependency
    except ImportError as error:
        raise UserError("a ClickHouse server needs: pip install 'interlock[clickhouse]'") from error
    try:
        return clickhouse_connect.get_client(dsn=url)
    except OperationalError as error:
        raise Unreachable(f"cannot reach ClickHouse at {_without_password(url)}: {_first_line(error)}") from error


def _without_password(url: str) -> str:
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _months(times: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield each month (UTC) and its rows: an insert that spans several partitions is not atomic."""
    months = times.astype("datetime64[ms]").astype("datetime64[M]")
    for month in np.unique(months):
        yield str(month), np.flatnonzero(months == month)


def _instants(times: NDArray[np.int64]) -> Any:
    return pa.array(times, pa.int64()).cast(_INSTANT)


def _dictionary(labels: Labels) -> Any:
    return pa.DictionaryArray.from_arrays(labels.codes, pa.array(labels.texts, pa.string()))


def _column(values: Sequence[Any], field: str) -> Any:
    if field in _TIME_FIELDS:
        return _instants(np.array(values, np.int64))
    if field in _NUMBER_FIELDS:
        return pa.array([None if value is None else rounded(value) for value in values], pa.float64())
    if field in _JSON_FIELDS:
        return pa.array([canonical_json(value) for value in values])
    return pa.array(values)
