"""Files that commands read: policies and field mappings, each problem as one clear line."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from interlock.errors import FindingError, UserError
from interlock.policies.changes import misplaced, refusals
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.policies.positions import MAX_BYTES
from interlock.streams.mapping import Mapping, load


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        UserError: it cannot be read.
        PolicyErrors: it is invalid; all errors at once.
    """
    try:
        with path.open("rb") as file:
            return load_policy(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def read_time(text: str, option: str) -> int:
    """Return a time in ms: whole milliseconds since 1970, or RFC 3339 with a zone.

    Raises:
        UserError: it is neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UserError(
            f"{option}: found {text!r}; expected a time such as 2026-10-01T12:00:00Z, or milliseconds since 1970"
        )
    return round(at.timestamp() * 1000)


def read_changes(first: Policy, asked: Sequence[str], option: str) -> list[tuple[Policy, int]]:
    """Read policies that follow the first one in mid-stream, `FILE@TIME` each; return them with their times (ms).

    Raises:
        UserError: one cannot be read, or is not FILE@TIME.
        FindingError: a policy is invalid, or cannot follow.
    """
    known: list[tuple[Policy, int]] = [(first, 0)]
    for one in asked:
        file, at, time = one.rpartition("@")
        if not at:
            raise UserError(f"{option}: found {one!r}; expected FILE@TIME")
        new, ts = read_policy(Path(file)), read_time(time, option)
        lines = refusals(first, new) or [line for line in (misplaced(known, new, ts),) if line]
        if lines:
            raise FindingError([f"{file}: {line}" for line in lines])
        known.append((new, ts))
    return known[1:]


def read_mapping(path: Path | None) -> Mapping | None:
    """Read a field mapping, if one is given.

    Raises:
        UserError: it cannot be read, or is invalid.
    """
    if path is None:
        return None
    try:
        return load(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
