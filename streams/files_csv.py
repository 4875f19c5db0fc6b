"""CSV with dotted columns: types are inferred from the whole file, so that no result depends on where a block ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from interlock.streams.mapping import is_text_field

pc: Any = pyarrow.compute
csv: Any = pyarrow.csv

LADDER: tuple[Any, ...] = (pa.int64(), pa.float64(), pa.bool_(), pa.string())
"""Types to try, in order; every text is a string."""
LEADING_ZERO = r"^[+-]?0[0-9]"
"""Codes such as 0012 are no numbers."""


def read_csv(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield record batches of at most `rows`; an empty field is null."""
    types = _infer(path)
    for batch in _blocks(path, types):
        yield from (batch.slice(start, rows) for start in range(0, max(batch.num_rows, 1), rows))


def _infer(path: Path) -> dict[str, Any]:
    names = _header(path)
    steps = {name: len(LADDER) - 1 if is_text_field(name) else 0 for name in names}
    for batch in _blocks(path, dict.fromkeys(names, pa.string())):
        for name in names:
            while not _fits(batch.column(name), LADDER[steps[name]]):
                steps[name] += 1
    return {name: LADDER[step] for name, step in steps.items()}


def _header(path: Path) -> list[str]:
    with csv.open_csv(path, convert_options=_options({})) as reader:
        return list(reader.schema.names)


def _blocks(path: Path, types: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    with csv.open_csv(path, convert_options=_options(types)) as reader:
        yield from reader


def _options(types: dict[str, Any]) -> Any:
    return csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)


def _fits(texts: Any, kind: Any) -> bool:
    if kind == pa.string():
        return True
    if pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py():
        return False
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
