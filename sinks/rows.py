"""Outputs as rows of ClickHouse's tables: pure, so that what cannot be a row is known before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.records import Control, Labels, Page, TallyTable, Verdict, canonical_json, rounded

LATEST = 10_413_791_999_999
"""The last millisecond of 2299, where ClickHouse's calendar ends."""

_INSTANT = pa.timestamp("ms", tz="UTC")
_TIME_FIELDS = frozenset({"ts", "window_start", "window_end", "issued_at"})
_NUMBER_FIELDS = frozenset({"value", "lower", "upper", "label_coverage"})
_JSON_FIELDS = frozenset({"scope", "evidence", "parameters", "details"})
_LETTER_FIELDS = ("source", "topic", "offset", "index", "reason", "detail", "raw", "size", "digest")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, with the time that decides the month of each: int64[n], ms."""

    name: str
    table: Any
    times: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A dead letter as it is stored: `at` (ms) is when it was read, `source` who read it, `raw` its start as text."""

    at: int
    source: str
    topic: str
    offset: int
    index: int
    reason: str
    detail: str
    raw: str
    size: int
    digest: str


def verdict_rows(verdicts: Sequence[Verdict]) -> Rows:
    """Return rows of verdicts; ValueError or OverflowError if a number or a time does not fit, here and below."""
    return _record_rows("verdicts", verdicts)


def control_rows(controls: Sequence[Control]) -> Rows:
    """Return rows of controls."""
    return _record_rows("controls", controls)


def page_rows(pages: Sequence[Page]) -> Rows:
    """Return rows of pages; where to read on is left out."""
    return _record_rows("pages", pages, without=("links",))


def tally_rows(tallies: TallyTable, source: Labels) -> Rows:
    """Return rows of counts, each with who counted it."""
    table = pa.table(
        {
            "pane_start": instants(tallies.pane_start),
            "pane_ms": pa.array(tallies.pane_ms, pa.uint32()),
            "cohort_start": instants(tallies.cohort_start),
            "chain": _dictionary(tallies.chain),
            "model": _dictionary(tallies.model),
            "model_version": _dictionary(tallies.model_version),
            "slice": _dictionary(tallies.slice),
            "series": _dictionary(tallies.series),
            "cell": pa.array(tallies.cell, pa.uint32()),
            "count": pa.array(tallies.count),
            "source": _dictionary(source),
        }
    )
    return Rows("tallies", table, tallies.pane_start)


def letter_rows(letters: Sequence[LetterRow]) -> Rows:
    """Return rows of dead letters."""
    times = np.array([x.at for x in letters], np.int64)
    columns = {name: pa.array([getattr(x, name) for x in letters]) for name in _LETTER_FIELDS}
    return Rows("dead_letters", pa.table({"at": instants(times)} | columns), times)


def together(name: str, parts: Sequence[Rows]) -> Rows:
    """Return the rows of several parts of one table, in their order."""
    if len(parts) == 1:
        return parts[0]
    times = [part.times for part in parts]
    table = pa.concat_tables([part.table for part in parts]).unify_dictionaries() if parts else pa.table({})
    return Rows(name, table, np.concatenate(times) if parts else np.zeros(0, np.int64))


def _record_rows(
    name: str, records: Sequence[Verdict] | Sequence[Control] | Sequence[Page], without: Sequence[str] = ()
) -> Rows:
    fields = [field for field in type(records[0]).model_fields if field not in without] if records else []
    table = pa.table({field: _column([getattr(x, field) for x in records], field) for field in fields})
    return Rows(name, table, np.array([x.ts for x in records], np.int64))


def _column(values: Sequence[Any], field: str) -> Any:
    if field in _TIME_FIELDS:
        return instants(np.array(values, np.int64))
    if field in _NUMBER_FIELDS:
        return pa.array([None if value is None else rounded(value) for value in values], pa.float64())
    if field in _JSON_FIELDS:
        return pa.array([canonical_json(value) for value in values])
    if field == "epoch":
        return pa.array(values, pa.uint32())
    return pa.array(values)


def instants(times: NDArray[np.int64]) -> Any:
    """Return times (ms) as a column; ValueError for one that ClickHouse's calendar does not have."""
    if len(times) and not 0 <= int(times.min()) <= int(times.max()) <= LATEST:
        raise ValueError("a time before 1970 or after 2299")
    return pa.array(times, pa.int64()).cast(_INSTANT)


def _dictionary(labels: Labels) -> Any:
    return pa.DictionaryArray.from_arrays(labels.codes, pa.array(labels.texts, pa.string()))
