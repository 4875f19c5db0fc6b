"""Batches one after another as one batch."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from interlock.columns import Column
from interlock.streams.batch import AbuseReports, Coded, Embedded, Ids, Outcomes, Predictions
from interlock.streams.decode_columns import Interned, missing_column
from interlock.streams.vectors import Vectors, joined

B = TypeVar("B", bound=Predictions | Outcomes | AbuseReports)


def concat(batches: Sequence[B]) -> B:
    """Return the rows of all batches, in order; they share one Wanted. There must be at least one."""
    full = [batch for batch in batches if batch.rows()] or [batches[0]]
    if len(full) == 1:
        return full[0]
    rows = [batch.rows() for batch in full]
    joined: dict[str, Any] = {}
    for part in fields(full[0]):
        values = [getattr(batch, part.name) for batch in full]
        joined[part.name] = _join(part.name, values, rows)
    if "origin" in joined:
        joined["origin"] = np.arange(sum(rows))
        joined["raw_category"] = _namer(full, rows)
    return type(full[0])(**joined)


def _join(name: str, values: list[Any], rows: list[int]) -> Any:
    if name in ("origin", "raw_category"):
        return None
    if name == "top":
        known = any(value is not None for value in values)
        return _columns([value or missing_column(n) for value, n in zip(values, rows, strict=True)]) if known else None
    if values[0] is None:  # not read, of none of them
        return None
    if name == "columns":
        return {path: _columns([value[path] for value in values]) for path in values[0]}
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values, axis=-1)
    joins: dict[type, Callable[[Any], Any]] = {
        Coded: _coded,
        Ids: _ids,
        Column: _columns,
        Vectors: joined,
        Embedded: _embedded,
    }
    return joins[type(values[0])](values)


def _embedded(parts: list[Embedded]) -> Embedded:
    return Embedded(np.concatenate([part.present for part in parts]), concat([part.batch for part in parts]))


def _ids(parts: list[Ids]) -> Ids:
    texts: Any = pa.concat_arrays([part.texts for part in parts])
    return Ids(np.concatenate([part.h1 for part in parts]), np.concatenate([part.h2 for part in parts]), texts)


def _coded(parts: list[Coded]) -> Coded:
    values = Interned()
    codes = [np.array([values[text] for text in part.values], dtype=np.int32)[part.codes] for part in parts]
    return Coded(np.concatenate(codes), list(values))


def _columns(parts: list[Column]) -> Column:
    texts = _coded([Coded(part.text, list(part.texts) or [""]) for part in parts])
    return Column(
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.number for part in parts]),
        texts.codes,
        texts.values,
    )


def _namer(batches: Sequence[Any], rows: list[int]) -> Callable[[int, int], str]:
    ends = np.cumsum(rows)

    def name(feature: int, row: int) -> str:
        part = int(np.searchsorted(ends, row, side="right"))
        return str(batches[part].category_text(feature, row - int(ends[part]) + rows[part]))

    return name
