"""Frozen events in ClickHouse's table `evidence`, which forgets each when its time is over."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from interlock.errors import Unreachable, UserError
from interlock.sinks.clickhouse import Batch, ClickHouseSink
from interlock.sinks.evidence import Frozen
from interlock.sinks.rows import Rows, instants

TIMES = frozenset({"ts", "event_ts", "frozen_at", "expires_at"})
NAMES = tuple(field.name for field in msgspec.structs.fields(Frozen))
DENIED = "ACCESS_DENIED"

_COLUMNS = ", ".join(f"toUnixTimestamp64Milli({n}) AS {n}_ms" if n in TIMES else f"`{n}`" for n in NAMES)
FIND = (
    f"SELECT {_COLUMNS} FROM interlock.evidence FINAL"  # noqa: S608 - our own names
    " WHERE control_id IN {controls:Array(String)} AND toUnixTimestamp64Milli(expires_at) > {now:Int64}"
    " ORDER BY control_id, event_id"
)


class EvidenceTable:
    """Writes and reads frozen events; `connect` opens ClickHouse, anew after a failure."""

    def __init__(self, connect: Callable[[], ClickHouseSink]) -> None:
        """Start without a connection."""
        self._connect = connect
        self._sink: ClickHouseSink | None = None

    def write(self, rows: Sequence[Frozen]) -> None:
        """Insert the events of a control; the same again changes nothing, and what was frozen once stays.

        Raises:
            Unreachable: ClickHouse does not take them.
        """
        if not rows:
            return
        try:
            self._open().insert(evidence_rows(rows), Batch(rows[0].control_id, _covers(rows)))
        except Unreachable:
            self.close()
            raise

    def read(self, controls: Sequence[str], now: int) -> list[Frozen]:
        """Return the events of controls that have not expired at `now`.

        Raises:
            UserError: this user may not read them, or there is no such table.
            Unreachable: ClickHouse does not answer.
        """
        try:
            found = self._open().ask(FIND, {"controls": list(dict.fromkeys(controls)), "now": now})
        except Unreachable as error:
            if DENIED in str(error):
                raise UserError("this user of ClickHouse may not read interlock.evidence") from error
            raise
        return [msgspec.convert({n.removesuffix("_ms"): v for n, v in row.items()}, Frozen) for row in found]

    def purge(self, now: int) -> int:  # noqa: ARG002 - as a directory is purged
        """Do nothing: the table has a TTL."""
        return 0

    def close(self) -> None:
        """Let go of ClickHouse."""
        if self._sink is not None:
            self._sink.close()
        self._sink = None

    def _open(self) -> ClickHouseSink:
        if self._sink is None:
            self._sink = self._connect()
        return self._sink


def evidence_rows(rows: Sequence[Frozen]) -> Rows:
    """Return frozen events as rows; those of a control have its month."""
    columns = {name: [getattr(row, name) for row in rows] for name in NAMES}
    table = {n: instants(np.array(v, np.int64)) if n in TIMES else pa.array(v) for n, v in columns.items()}
    return Rows("evidence", pa.table(table), np.array(columns["ts"], np.int64))


def _covers(rows: Sequence[Frozen]) -> str:
    """Return what tells batches of a control apart: which events, and what became of each."""
    return " ".join(sorted(f"{row.event_id}/{row.state}/{row.partition}/{row.offset}/{row.index}" for row in rows))
