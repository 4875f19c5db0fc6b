"""Arrow columns of any width into arrays and Columns, with the same meaning as the JSON of the same rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column
from interlock.streams.batch import MISSING_CODE, Coded
from interlock.streams.decode_columns import Vocabulary, category_text, missing_column
from interlock.streams.decode_dead import Bad, Faults, blame
from interlock.streams.decode_json_read import missing, read_ts

Arrow = Any
"""An Arrow array: its published stubs do not follow its own conversions."""
pc: Any = pyarrow.compute

MS_PER = {"s": 1000, "ms": 1}
PER_MS = {"us": 1000, "ns": 1_000_000}


class Table:
    """A record batch whose fields are found by path: a dotted column, or a member of a struct column."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        """Flatten struct columns once; a null struct makes its members null."""
        self.rows = batch.num_rows
        self.batch = batch
        self._columns: dict[str, Arrow] = {}
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            kind: Any = array.type
            if pa.types.is_struct(kind):
                parts = zip(kind, array.flatten(), strict=True)  # type: ignore[attr-defined]
                self._columns = {f"{name}.{part.name}": values for part, values in parts} | self._columns
            else:
                self._columns[name] = array

    def get(self, path: str) -> Arrow | None:
        """Return the array of a path, None where there is no such column."""
        return self._columns.get(path)

    def arrays(self) -> list[Arrow]:
        """Return all arrays."""
        return list(self._columns.values())

    def below(self, group: str) -> dict[str, Arrow]:
        """Return the arrays under a group by field name, in the order of their names."""
        start = group + "."
        return {path[len(start) :]: self._columns[path] for path in sorted(self._columns) if path.startswith(start)}


def is_text(kind: Any) -> bool:
    """Return whether a type is text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: Any) -> bool:
    """Return whether a type is a number of any width, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_number(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_scalar(kind: Any) -> bool:
    """Return whether JSON says such values as text, number, boolean or null."""
    simple = pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_temporal(kind)
    return bool(simple or is_text(kind) or is_number(kind))


def present(array: Arrow) -> NDArray[np.bool_]:
    """Return which rows are not null."""
    valid: NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def text_lengths(array: Arrow) -> NDArray[np.int64]:
    """Return the lengths in bytes of text, 0 for null and for all else."""
    if not is_text(array.type):
        return np.zeros(len(array), dtype=np.int64)
    if pa.types.is_dictionary(array.type):
        codes, values = encoded(array)
        return look_up([len(value.encode()) for value in values], codes, 0).astype(np.int64)
    lengths: NDArray[np.int64] = pc.binary_length(array).fill_null(0).to_numpy().astype(np.int64)
    return lengths


def doubles(array: Arrow) -> NDArray[np.float64]:
    """Return numbers, or booleans as 0 and 1, as float64; null is NaN."""
    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    found: NDArray[np.float64] = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def encoded(array: Arrow) -> tuple[NDArray[np.int32], list[Any]]:
    """Return codes (-1: null) and the distinct values; numbers wider than a double stay exact."""
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_dictionary(array.type) or array.dictionary.null_count:
        array = (array.dictionary_decode() if pa.types.is_dictionary(array.type) else array).dictionary_encode()
    values = array.dictionary
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    indices = array.indices.cast(pa.int32())
    codes: NDArray[np.int32] = (indices.fill_null(-1) if indices.null_count else indices).to_numpy()
    return codes, values.to_pylist()


def look_up(table: list[int], codes: NDArray[np.int32], absent: int) -> NDArray[np.int32]:
    """Return table[code] per row, `absent` where the code is -1."""
    return np.array([*table, absent], dtype=np.int32)[codes]


def category_codes(array: Arrow, vocabulary: Vocabulary) -> NDArray[np.int32]:
    """Return a categorical feature as codes: each distinct value is looked up once."""
    codes, values = encoded(array)
    known = [MISSING_CODE if _is_nan(value) else vocabulary[_key(value)] for value in values]
    return look_up(known, codes, MISSING_CODE)


def number_feature(array: Arrow) -> NDArray[np.float64]:
    """Return a numeric feature, float64[n]: text is no number, hence NaN."""
    if is_number(array.type) or pa.types.is_boolean(array.type):
        return doubles(array)
    return np.full(len(array), np.nan)


def column(array: Arrow | None, rows: int) -> Column:
    """Return a Column; a null is NULL, and without an array all rows are MISSING."""
    if array is None:
        return missing_column(rows)
    if is_number(array.type) or pa.types.is_boolean(array.type):
        numbers = doubles(array)
        null = np.isnan(numbers)
        kind = BOOL if pa.types.is_boolean(array.type) else NUMBER
        kinds = np.where(null, NULL, kind).astype(np.uint8)
        return Column(kinds, np.where(null, 0.0, numbers), np.zeros(rows, dtype=np.int32), ())
    if not is_scalar(array.type) or pa.types.is_null(array.type):
        return Column(np.full(rows, NULL, dtype=np.uint8), np.zeros(rows), np.zeros(rows, dtype=np.int32), ())
    codes, values = encoded(array)
    kinds = np.where(codes < 0, NULL, STRING).astype(np.uint8)
    return Column(kinds, np.zeros(rows), np.maximum(codes, 0), values)


def absent_as_missing(found: Column) -> Column:
    """Return a Column in which a null counts as a missing key."""
    kinds = np.where(found.kind == NULL, MISSING, found.kind).astype(np.uint8)
    return Column(kinds, found.number, found.text, found.texts)


def nested_faults(array: Arrow | None, path: str, faults: Faults) -> None:
    """Add a fault per value that JSON would show as an object, an array or bytes."""
    if array is not None and not is_scalar(array.type):
        expected = "a string, a number, a boolean or null"
        blame(faults, present(array), lambda _: mistyped(path, expected, array))


def mistyped(path: str, expected: str, array: Arrow) -> Bad:
    """Return the fault of a column of the wrong type."""
    return Bad("wrong_type", f"{path}: expected {expected}, got {array.type}")


def texts(table: Table, name: str, faults: Faults, required: bool = True) -> Arrow:
    """Return a text field as an Arrow string array without nulls; faults where it is no text, or needed and null."""
    array = table.get(name)
    path = f"$.{name}"
    if array is None or pa.types.is_null(array.type) or not is_text(array.type):
        wrong = np.zeros(table.rows, dtype=np.bool_) if array is None else present(array)
        blame(faults, wrong, lambda _: mistyped(path, "a string", array))
        strings: Arrow = pa.array([""] * table.rows, type=pa.string())
        if required:
            blame(faults, ~wrong, lambda _: missing(path))
        return strings
    if required and array.null_count:
        blame(faults, ~present(array), lambda _: missing(path))
    return array.cast(pa.string()).fill_null("") if array.null_count else array.cast(pa.string())


def coded_texts(table: Table, name: str, faults: Faults, required: bool = True) -> Coded:
    """Return a text field as codes; see `texts`."""
    array = table.get(name)
    if (
        array is None
        or not pa.types.is_dictionary(array.type)
        or array.null_count
        or array.dictionary.null_count
        or not is_text(array.type)
    ):
        array = texts(table, name, faults, required)
    return Coded(*encoded(array))


def fractions(table: Table, name: str, faults: Faults) -> NDArray[np.float64]:
    """Return a number field, NaN where absent; a NaN in the data itself is a fault."""
    array = table.get(name)
    if array is None or pa.types.is_null(array.type):
        return np.full(table.rows, np.nan)
    if not is_number(array.type):
        blame(faults, present(array), lambda _: mistyped(f"$.{name}", "a number", array))
        return np.full(table.rows, np.nan)
    found = doubles(array)
    nan = np.isnan(found)
    if nan.any():
        fault = Bad("out_of_range", f"$.{name}: expected a number, got NaN")
        blame(faults, nan & present(array), lambda _: fault)
    return found


def times(table: Table, name: str, faults: Faults, required: bool = True) -> NDArray[np.int64]:
    """Return a time field as int64 ms since 1970 UTC, 0 where absent; a timestamp without zone is UTC."""
    array = table.get(name)
    if array is None or array.null_count:
        empty = np.ones(table.rows, dtype=np.bool_) if array is None else ~present(array)
        if required:
            blame(faults, empty, lambda _: missing(f"$.{name}"))
    if array is None or pa.types.is_null(array.type):
        return np.zeros(table.rows, dtype=np.int64)
    kind: Any = array.type
    if pa.types.is_timestamp(kind):
        ticks: NDArray[np.int64] = array.cast(pa.int64()).fill_null(0).to_numpy()
        return ticks * MS_PER[kind.unit] if kind.unit in MS_PER else ticks // PER_MS[kind.unit]
    if pa.types.is_integer(kind) and kind != pa.uint64():
        whole: NDArray[np.int64] = array.cast(pa.int64()).fill_null(0).to_numpy()
        return whole
    return _times_one_by_one(array, f"$.{name}", faults)


def _times_one_by_one(array: Arrow, path: str, faults: Faults) -> NDArray[np.int64]:
    found = np.zeros(len(array), dtype=np.int64)
    for row, value in enumerate(array.to_pylist()):
        try:
            plain = value if value is None or isinstance(value, str | int | float | bool) else str(value)
            found[row] = read_ts(plain, path) or 0
        except Bad as fault:
            faults.setdefault(row, fault)
    return found


def _key(value: object) -> object:
    return category_text(value) if isinstance(value, bool) else value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124 - NaN is the only such value
