"""Helpers of the decoding tests: a Wanted, and batches as plain values that can be compared."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from interlock.streams.batch import Frame, Lines, Predictions, Wanted
from interlock.streams.decode import prediction_decoder

KEY = b"key"
WANTED = Wanted(
    numbers=("amount", "age"),
    categories={"code": {"a": 0, "5": 1, "0.5": 2, "true": 3}, "age": {"7": 0}},
    paths=frozenset({"features.amount", "segment.tenant", "decision", "score", "model_version", "probabilities.yes"}),
)
DECODE = prediction_decoder(WANTED, KEY)


def event(**fields: Any) -> dict[str, Any]:
    """A prediction that is fine, with these fields changed; a field that is ... is left out."""
    whole = {"event_id": "e", "ts": 1_700_000_000_000, "model": "claims"} | fields
    return {name: value for name, value in whole.items() if value is not ...}


def line(**fields: Any) -> bytes:
    return json.dumps(event(**fields)).encode()


def decode_lines(lines: list[bytes], decode: Any = DECODE) -> Any:
    return decode(Lines(lines, 0, 5))


def decode_rows(rows: list[dict[str, Any]], schema: Any = None, decode: Any = DECODE) -> Any:
    return decode(Frame(pa.RecordBatch.from_pylist(rows, schema=schema), 0, 5))


def plain(batch: Predictions) -> list[dict[str, Any]]:
    """A batch as one dict per event, NaN as None."""
    return [
        {
            "id": (batch.ids.text(row), int(batch.ids.h1[row]), int(batch.ids.h2[row])),
            "ts": int(batch.ts[row]),
            "place": (int(batch.offset[row]), int(batch.index[row]), int(batch.appended[row])),
            "model": (batch.model.text(row), batch.version.text(row)),
            "scores": [_none(values[row]) for values in (batch.score, batch.ood_score, batch.top_probability)],
            "top": None if batch.top is None else batch.top.value(row),
            "numbers": [_none(value) for value in batch.numbers[:, row]],
            "categories": batch.categories[:, row].tolist(),
            "texts": [batch.category_text(feature, row) for feature in range(len(batch.categories))],
            "columns": {
                path: (int(column.kind[row]), column.value(row)) for path, column in sorted(batch.columns.items())
            },
        }
        for row in range(batch.rows())
    ]


def _none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
