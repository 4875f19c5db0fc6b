"""Tallies, verdicts, controls and dead letters in ClickHouse: a server, or chdb in a directory, by one class.

Every insert carries a token derived from the batch's identity, its table and its month. So it may be sent again by
anyone who did not see the answer: by clickhouse-connect, which replays a lost one by itself, by `_send` here, and by a
caller that crashed and resumed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.errors import Unreachable, UserError
from interlock.records import Control, Labels, Refused, TallyTable, Verdict, shown
from interlock.sinks.rows import LetterRow, Rows, control_rows, letter_rows, tally_rows, verdict_rows

DATABASE = "interlock"
ATTEMPTS = 3
CONNECT_TIMEOUT, TIMEOUT = 5, 60
"""Seconds that a server has to be reached, and to answer."""

WRONG_USER = frozenset({192, 193, 194, 516})
"""ClickHouse's codes for a user or a password that it does not know."""

NO_TABLE = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE")
"""What ClickHouse calls it when our tables are not there."""

LOCAL_LIMITS = {
    "background_pool_size": "2",
    "index_mark_cache_size": "8388608",
    "mark_cache_size": "33554432",
    "max_server_memory_usage": "2147483648",  # counts the whole process, not chdb's share alone
    "primary_index_cache_size": "33554432",
    "uncompressed_cache_size": "0",
}
"""Options of an engine that shares a process: its defaults are 0.9 of the machine's memory and caches of 5 GiB."""


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

    def __init__(self, client: Any, *, lay: bool = True) -> None:
        """Take over an open client and lay the schema, which changes nothing where it stands already."""
        self.client = client
        for statement in statements() if lay else ():
            self.client.command(statement)

    @classmethod
    def connect(cls, directory: Path | None = None, url: str | None = None, *, lay: bool = True) -> Self:
        """Open chdb in a directory, or a server at `http://user:password@host:8123`; one of the two.

        Whoever only reads does not `lay` the schema.

        Raises:
            UserError: The packages are missing, the directory cannot be opened (another process may hold it), or the
                server does not know the user.
            Unreachable: No server answers at the URL, or it cannot lay the schema.
        """
        if (directory is None) == (url is None):
            raise ValueError("give a directory or a URL")
        if directory is not None:
            return cls(_local_client(directory), lay=lay)
        return cls._serve(str(url), lay=lay)

    @classmethod
    def _serve(cls, url: str, *, lay: bool) -> Self:
        client_of, errors = _server_package()
        try:
            return cls(client_of(dsn=url, connect_timeout=CONNECT_TIMEOUT, send_receive_timeout=TIMEOUT), lay=lay)
        except errors as error:
            place, said = _without_password(url), _first_line(error)
            if getattr(error, "code", None) in WRONG_USER:
                raise UserError(f"ClickHouse at {place} does not know the user or the password") from error
            raise Unreachable(f"cannot reach ClickHouse at {place}: {said}") from error

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
        self.insert(tally_rows(tallies, Labels.constant(batch.source, len(tallies))), batch)

    def insert_verdicts(self, verdicts: Sequence[Verdict], batch: Batch) -> None:
        """Insert verdicts; the same batch, or the same verdict in another batch, changes nothing."""
        self.insert(verdict_rows(verdicts), batch)

    def insert_controls(self, controls: Sequence[Control], batch: Batch) -> None:
        """Insert transitions of controls; the same again changes nothing."""
        self.insert(control_rows(controls), batch)

    def insert_dead_letters(self, letters: Sequence[Refused], at: int, batch: Batch) -> None:
        """Insert refused events read at `at` (ms); the same batch again changes nothing."""
        told = ("topic", "offset", "index", "reason", "detail", "size", "digest")
        rows = [
            LetterRow(at=at, source=batch.source, raw=shown(x.raw), **{name: getattr(x, name) for name in told})
            for x in letters
        ]
        self.insert(letter_rows(rows), batch)

    def query(self, sql: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query, for tables of a few hundred; `values` are those of its `{name:Type}`."""
        return list(self.client.query(sql, parameters=values).named_results())

    def ask(self, sql: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
        """Return the rows of a query on our tables.

        Raises:
            UserError: Our tables are not there.
            Unreachable: ClickHouse does not answer it.
        """
        _, errors = _server_package()
        try:
            return self.query(sql, values)
        except errors as error:
            if any(name in str(error) for name in NO_TABLE):
                raise UserError(
                    "no tables of Interlock are in that ClickHouse: nothing was written there yet"
                ) from error
            raise Unreachable(f"ClickHouse does not answer: {_first_line(error)}") from error

    def insert(self, rows: Rows, batch: Batch) -> None:
        """Insert rows of one table, month by month; the same batch again changes nothing.

        Raises:
            Unreachable: ClickHouse did not take them; some months may be stored.
        """
        for month, chosen in _months(rows.times):
            part = rows.table if len(chosen) == len(rows.times) else rows.table.take(chosen)
            self._send(rows.name, part, batch.token(rows.name, month))

    def _send(self, name: str, table: pa.Table, token: str) -> None:
        """Insert one block; a lost answer is asked for again under the same token, so that it counts once."""
        _, errors = _server_package()
        settings = {"insert_deduplication_token": token, "async_insert": 0, "max_partitions_per_insert_block": 1}
        for attempt in range(ATTEMPTS):
            try:
                self.client.insert_arrow(name, table, database=DATABASE, settings=settings)
            except errors as error:
                if attempt == ATTEMPTS - 1:
                    raise Unreachable(f"ClickHouse does not take rows of {name}: {_first_line(error)}") from error
            else:
                return


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


def _server_package() -> tuple[Callable[..., Any], type[Exception]]:
    """Return what makes a client, and the error that all of its errors are."""
    try:
        from clickhouse_connect import get_client  # noqa: PLC0415 - optional dependency
        from clickhouse_connect.driver.exceptions import DatabaseError  # noqa: PLC0415 - optional dependency
    except ImportError as error:
        raise UserError("a ClickHouse server needs: pip install 'interlock[clickhouse]'") from error
    return get_client, DatabaseError


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
