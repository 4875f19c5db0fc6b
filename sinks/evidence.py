"""The events behind an engagement as they were sent, where few may read them: a directory of files, one per control."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from interlock.errors import Unreachable, UserError

State = Literal["frozen", "removed", "unknown", "another"]
"""`removed`: Kafka does not have it any more; `unknown`: no tally says where it stood; `another`: no such event there."""

PRIVATE, OTHERS = 0o700, 0o077


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a control names. `ts`: when the control engaged, event time; all times in ms since 1970 UTC.

    `payload` is the event as JSON, "" unless `state` is frozen; `partition`, `offset` and `index` are -1 where unknown.
    """

    control_id: str
    event_id: str
    model: str
    slo: str
    scope: str
    reason: str
    ts: int
    event_ts: int
    state: State
    payload: str
    partition: int
    offset: int
    index: int
    frozen_at: int
    expires_at: int


class EvidenceFiles:
    """A directory (mode 0700) with one JSON file (0600) per control; what has expired is removed."""

    def __init__(self, folder: Path, *, make: bool = True) -> None:
        """Open the directory, or make it.

        Raises:
            UserError: others may read it, or it cannot be made or read.
        """
        self._folder = folder
        try:
            if make:
                folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            found = folder.stat()
            next(folder.iterdir(), None)
        except PermissionError as error:
            raise UserError(f"{folder}: no right to read it") from error
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}; expected a directory of `interlock sink evidence`") from error
        if found.st_mode & OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise UserError(f"{folder}: others may read it (mode {mode:o}); expected 700: chmod 700 {folder}")

    def write(self, rows: Sequence[Frozen]) -> None:
        """Add the events of a control; those that are there already stay as they are.

        Raises:
            ValueError: the control's id is none.
            Unreachable: the disk does not take them.
        """
        if not rows:
            return
        path = self._path(rows[0].control_id)
        known = self._read(path)
        whole = {row.event_id: row for row in (*rows, *known)}
        whole |= {row.event_id: row for row in (*rows, *known) if row.state == "frozen"}
        self._replace(path, msgspec.json.encode([whole[event] for event in sorted(whole)]))

    def read(self, controls: Sequence[str], now: int) -> list[Frozen]:
        """Return the events of controls that have not expired at `now`."""
        paths = [self._path(one) for one in dict.fromkeys(controls) if one.isalnum()]
        return [row for path in paths for row in self._read(path) if row.expires_at > now]

    def purge(self, now: int) -> int:
        """Remove the files in which everything has expired, and what a crash has left half written; return how many."""
        gone = [path for path in self._folder.glob("*.json") if all(x.expires_at <= now for x in self._read(path))]
        for path in (*gone, *self._folder.glob(".*.part")):
            path.unlink(missing_ok=True)
        return len(gone)

    def close(self) -> None:
        """Hold nothing."""

    def _path(self, control_id: str) -> Path:
        if not control_id.isalnum():
            raise ValueError(f"{control_id!r} is no id of a control")
        return self._folder / f"{control_id}.json"

    def _read(self, path: Path) -> list[Frozen]:
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Frozen])
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise UserError(f"{path}: no right to read it") from error
        except (OSError, msgspec.MsgspecError) as error:
            raise UserError(f"{path}: no frozen events: {error}") from error

    def _replace(self, path: Path, data: bytes) -> None:
        """Put a file in its place, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise Unreachable(f"{path}: {error.strerror}") from error


def wall() -> int:
    """Return the time in ms since 1970 UTC: what is kept for a while is kept by the wall clock."""
    return int(time.time() * 1000)  # noqa: TID251 - a driver


Clock = Callable[[], int]
