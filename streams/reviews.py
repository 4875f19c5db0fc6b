"""What people review, as a table: CSV for spreadsheets, or JSON lines; out to them, and back filled in."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from interlock.errors import UserError
from interlock.events import Outcome
from interlock.sinks.files import JsonLines
from interlock.streams.due import Due

FILLED = ("confirmed_ood", "label", "revision", "reviewed_at")
"""Columns that a reviewer fills in; only the first is asked for."""

COLUMNS = (
    *("event_id", "ts", "model", "model_version", "slice", "why", "level", "probability", "reason", "due", "overdue"),
    *FILLED,
)

TRUTHS: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
FORMULA = "=+-@\t\r"
"""What makes a spreadsheet take a text for a formula: such a text gets an apostrophe in front, and loses it again."""

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})([.][0-9]{1,15})?")
"""A label in a CSV cell that is a number; 0012 is a code."""

MOST_REVISION = 2**31 - 1

Settled = set[tuple[str, int]]
"""Event ids and revisions that were reviewed."""


class _Bad(ValueError):  # noqa: N818 - reads as what it is
    """A row that cannot be read; the message says why."""


@dataclass(slots=True)
class Read:
    """A table that came back: outcomes, rows that nobody has filled in, and a line for each row that is refused."""

    outcomes: list[Outcome] = field(default_factory=list)
    blank: int = 0
    refused: list[str] = field(default_factory=list)


def still_due(due: Iterable[Due], settled: Settled) -> list[Due]:
    """Return what is due and not reviewed, each event once, the most urgent first."""
    done = {event_id for event_id, _ in settled}
    once = {one.event_id: one for one in due if one.event_id not in done}
    return sorted(once.values(), key=lambda one: (one.due, one.event_id))


def write_table(path: Path, rows: Sequence[Due], now: int) -> None:
    """Write a table for reviewers; `now` (ms) decides what is overdue.

    Raises:
        UserError: the file cannot be written, or is neither .csv nor .jsonl.
    """
    is_csv = _is_csv(path)
    with JsonLines(path) as file:  # a line at a time, whole or absent: CSV is no worse for it
        if is_csv:
            file.write(_csv(COLUMNS))
        for one in rows:
            cells = _cells(one, now)
            file.write(_csv([_safe(cells[name]) for name in COLUMNS]) if is_csv else msgspec.json.encode(cells) + b"\n")


def _cells(one: Due, now: int) -> dict[str, Any]:
    known = msgspec.structs.asdict(one) | {"ts": _time(one.ts), "due": _time(one.due), "overdue": one.due < now}
    return {name: known.get(name, "") for name in COLUMNS}


def _csv(cells: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    # A name may hold a line break, which CSV would keep inside quotes; a table for people has one line an event.
    return line.getvalue()[:-1].replace("\n", " ").encode() + b"\n"


def _safe(cell: object) -> object:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple(FORMULA)) else cell


def _unsafe(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:2] and cell[1] in FORMULA else cell


def read_table(path: Path, due: Mapping[str, Due], source: str, at: int | None) -> Read:
    """Read a table that reviewers filled in; `at` (ms) is when rows without `reviewed_at` were, None: when due.

    Raises:
        UserError: there is no such file, it is neither .csv nor .jsonl, or it lacks a column.
    """
    read, seen = Read(), dict[tuple[str, int], int]()
    for line, row in _rows(path):
        try:
            outcome = _outcome(row, due, source, at)
        except _Bad as bad:
            read.refused.append(f"{path}:{line}: {bad}")
            continue
        if outcome is None:
            read.blank += 1
            continue
        place = outcome.event_id, int(outcome.revision or 0)
        if place in seen:
            read.refused.append(f"{path}:{line}: event_id {place[0]}: line {seen[place]} has this revision already")
            continue
        seen[place] = line
        read.outcomes.append(outcome)
    return read


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the rows with their lines' numbers; a row that is none comes as the reason."""
    is_csv = _is_csv(path)
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets put a mark at the beginning
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    yield from (_csv_rows(path, text) if is_csv else _json_rows(text))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    names = next(rows, [])
    missing = [name for name in ("event_id", "confirmed_ood") if name not in names]
    if missing:
        raise UserError(f"{path}:1: no column {' and no column '.join(missing)}; it has {', '.join(names) or 'none'}")
    for row in rows:
        if len(row) > len(names):
            yield rows.line_num, f"{len(row)} cells; expected {len(names)}"
        elif row:
            yield rows.line_num, {name: _unsafe(cell.strip()) for name, cell in zip(names, row, strict=False)}


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"no JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else f"a {type(row).__name__}; expected an object"


def _outcome(row: dict[str, Any] | str, due: Mapping[str, Due], source: str, at: int | None) -> Outcome | None:
    """Return what a row says; None if nobody has filled it in."""
    if isinstance(row, str):
        raise _Bad(row)
    given = {name: value for name in FILLED if (value := row.get(name)) not in (None, "")}
    if not given.keys() & {"confirmed_ood", "label"}:
        return None
    event_id = row.get("event_id")
    asked = due.get(event_id) if isinstance(event_id, str) else None
    if asked is None:
        raise _Bad(f"event_id {event_id!r}: not on the due list")
    if "confirmed_ood" not in given:
        raise _Bad(f"event_id {event_id}: a label without confirmed_ood; expected true or false there too")
    when = _moment(given["reviewed_at"]) if "reviewed_at" in given else asked.due if at is None else at
    fields: dict[str, Any] = {"label": _label(given["label"])} if "label" in given else {}
    revision = _revision(given.get("revision", 0))
    fields |= {"revision": revision} if revision else {}
    return Outcome(asked.event_id, when, confirmed_ood=_truth(given["confirmed_ood"]), source=source, **fields)


def _truth(cell: object) -> bool:
    found = TRUTHS.get(str(cell).strip().lower()) if isinstance(cell, str | bool | int) else None
    if found is None:
        raise _Bad(f"confirmed_ood: found {cell!r}; expected true or false")
    return found


def _label(cell: object) -> str | float | bool:
    """Return a label; a CSV cell that spells a number or a truth is one."""
    if not isinstance(cell, str):
        if isinstance(cell, bool | int | float) and math.isfinite(cell):
            return cell
        raise _Bad(f"label: found a {type(cell).__name__}; expected text, a finite number, true or false")
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    return float(cell) if NUMBER.fullmatch(cell) else cell


def _revision(cell: object) -> int:
    try:
        revision = int(str(cell))
    except ValueError:
        revision = -1
    if not 0 <= revision <= MOST_REVISION:
        raise _Bad(f"revision: found {cell!r}; expected a whole number from 0")
    return revision


def moment(text: str) -> int:
    """Return a time, RFC 3339 with a zone or ms since 1970 UTC, as ms; UserError if it is neither."""
    try:
        return _moment(text)
    except _Bad as bad:
        raise UserError(str(bad)) from None


def _moment(cell: object) -> int:
    text = str(cell)
    if text.isdecimal() and len(text) < 16:  # noqa: PLR2004 - digits of a time in ms, far in the future
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _Bad(f"found {text!r}; expected a time such as 2026-03-01T12:00:00Z, or ms since 1970")
    return int(found.timestamp() * 1000)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_csv(path: Path) -> bool:
    if path.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{path}: expected a name that ends in .csv or .jsonl")
    return path.suffix == ".csv"
