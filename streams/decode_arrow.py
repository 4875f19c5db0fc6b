"""Arrow record batches into whole batches, one class per message type; no Python per event."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.columns import MISSING, STRING, Column
from interlock.events import MAX_EVENT_BYTES
from interlock.streams import decode_arrow_read as read
from interlock.streams.batch import AbuseReports, Embedded, Ids, Outcomes, Predictions, Wanted
from interlock.streams.decode_columns import Vocabulary, category_text
from interlock.streams.decode_dead import Bad, Faults, Where, blame, embed
from interlock.streams.decode_json_read import MAX_REVISION
from interlock.streams.decode_json_shape import PREDICTION
from interlock.streams.decode_vectors import EMBEDDING, LOGITS, of_arrow
from interlock.streams.ids import IdHash

DOTTED = "prediction."
"""How the columns of a prediction that an outcome carries begin, where they are not one struct."""

CORE = frozenset(field.name for field in PREDICTION)


class ArrowPredictions:
    """Predictions from Arrow."""

    def __init__(self, wanted: Wanted, ids: IdHash) -> None:
        """Prepare the vocabularies."""
        self._wanted = wanted
        self._vocabularies = {name: Vocabulary(codes) for name, codes in wanted.categories.items()}
        self._paths = sorted(wanted.paths - CORE)
        self._ids = ids

    def __call__(self, batch: pa.RecordBatch, where: Where) -> tuple[Predictions, Faults]:
        """Return every event, the faulty ones with defaults, and the faults."""
        table, faults = read.Table(batch), oversized(batch)
        self._find_faults(table, faults)
        top, top_probability = tops(table, faults)
        raw = [table.get(f"features.{name}") for name in self._wanted.categories]
        found = Predictions(
            ids=self._ids(read.texts(table, "event_id", faults)),
            ts=read.times(table, "ts", faults),
            appended=where.appended,
            model=read.coded_texts(table, "model", faults),
            version=read.coded_texts(table, "model_version", faults, required=False),
            score=read.fractions(table, "score", faults),
            ood_score=read.fractions(table, "ood_score", faults),
            top=top,
            top_probability=top_probability,
            numbers=self._numbers(table),
            categories=self._codes(table),
            columns={path: path_column(table, path) for path in self._paths},
            offset=where.offset,
            index=where.index,
            raw_category=lambda feature, row: _name(raw[feature], row),
            origin=np.arange(table.rows),
            embedding=of_arrow(EMBEDDING, table, faults) if self._wanted.embedding else None,
            logits=of_arrow(LOGITS, table, faults) if self._wanted.logits else None,
        )
        return found, faults

    def _find_faults(self, table: read.Table, faults: Faults) -> None:
        for group in ("features", "segment", "probabilities"):
            group_faults(table, group, faults)
        features = {f"features.{name}" for name in (*self._wanted.numbers, *self._wanted.categories)}
        for path in sorted(features.union(self._paths)):
            read.nested_faults(table.get(path), f"$.{path}", faults)

    def _numbers(self, table: read.Table) -> NDArray[np.float64]:
        found = np.full((len(self._wanted.numbers), table.rows), np.nan)
        for place, name in enumerate(self._wanted.numbers):
            array = table.get(f"features.{name}")
            if array is not None:
                found[place] = read.number_feature(array)
        return found

    def _codes(self, table: read.Table) -> NDArray[np.int32]:
        found = np.full((len(self._vocabularies), table.rows), -1, dtype=np.int32)
        for place, (name, vocabulary) in enumerate(self._vocabularies.items()):
            array = table.get(f"features.{name}")
            if array is not None and read.is_scalar(array.type):
                found[place] = read.category_codes(array, vocabulary)
        return found


class ArrowOutcomes:
    """Outcomes from Arrow."""

    def __init__(self, wanted: Wanted | None, ids: IdHash) -> None:
        """Keep what is `wanted` of the predictions that they carry; None: those are not read."""
        self._ids = ids
        self._predictions = None if wanted is None else ArrowPredictions(wanted, ids)

    def __call__(self, batch: pa.RecordBatch, where: Where) -> tuple[Outcomes, Faults]:
        """Return every event, the faulty ones with defaults, and the faults."""
        table, faults = read.Table(batch), oversized(batch)
        for name in ("label", "confirmed_ood"):
            read.nested_faults(table.get(name), f"$.{name}", faults)
        found = Outcomes(
            ids=self._ids(read.texts(table, "event_id", faults)),
            ts=read.times(table, "ts", faults),
            appended=where.appended,
            label=read.column(table.get("label"), table.rows),
            confirmed_ood=flags(table, "confirmed_ood", faults),
            revision=revisions(table, faults),
            offset=where.offset,
            index=where.index,
        )
        if self._predictions is None:
            return found, faults
        present, theirs = embedded(batch, found.ids, faults)
        predictions, inside = self._predictions(theirs, where.take(present))
        embed(faults, inside, present)
        return replace(found, embedded=Embedded(present, predictions)), faults


class ArrowAbuse:
    """Abuse reports from Arrow."""

    def __init__(self, wanted: Wanted, ids: IdHash) -> None:
        """Keep the paths under `segment`."""
        self._paths = sorted(path for path in wanted.paths if path.startswith("segment."))
        self._ids = ids

    def __call__(self, batch: pa.RecordBatch, where: Where) -> tuple[AbuseReports, Faults]:
        """Return every event, the faulty ones with defaults, and the faults."""
        table, faults = read.Table(batch), oversized(batch)
        group_faults(table, "segment", faults)
        for path in self._paths:
            read.nested_faults(table.get(path), f"$.{path}", faults)
        found = AbuseReports(
            ids=self._ids(read.texts(table, "event_id", faults)),
            ts=read.times(table, "ts", faults),
            appended=where.appended,
            model=read.coded_texts(table, "model", faults),
            category=read.coded_texts(table, "category", faults),
            columns={path: path_column(table, path) for path in self._paths},
            offset=where.offset,
            index=where.index,
        )
        return found, faults


def embedded(batch: pa.RecordBatch, ids: Ids, faults: Faults) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
    """Return which rows carry a prediction, and those as a batch of their own, under the ids of their outcomes.

    It is the struct `prediction`, or dotted columns such as `prediction.score`: then a row carries one that has any of them.
    """
    present, columns = np.zeros(batch.num_rows, np.bool_), {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        kind: Any = array.type
        if name.startswith(DOTTED):
            present |= read.present(array)
            columns[name.removeprefix(DOTTED)] = array
        elif name == "prediction" and pa.types.is_struct(kind):
            present |= read.present(array)
            columns |= {part.name: below for part, below in zip(kind, array.flatten(), strict=True)}  # type: ignore[attr-defined]
        elif name == "prediction":
            blame(faults, read.present(array), lambda _, array=array: read.mistyped("$.prediction", "a struct", array))  # type: ignore[misc]
    columns["event_id"] = ids.texts
    kept = pa.array(present)
    arrays: list[Any] = [array.filter(kept) for array in columns.values()]
    return present, pa.RecordBatch.from_arrays(arrays, names=list(columns))


def path_column(table: read.Table, path: str) -> Column:
    """Return the Column of a path; in a class of `probabilities`, null means that the key is missing."""
    found = read.column(table.get(path), table.rows)
    return read.absent_as_missing(found) if path.startswith("probabilities.") else found


def group_faults(table: read.Table, group: str, faults: Faults) -> None:
    """Add a fault per row whose group is no struct."""
    array = table.get(group)
    if array is not None and not pa.types.is_null(array.type):
        blame(faults, read.present(array), lambda _: read.mistyped(f"$.{group}", "a struct", array))


def tops(table: read.Table, faults: Faults) -> tuple[Column | None, NDArray[np.float64]]:
    """Return the class of the highest probability (ties: the smallest name) and that probability; NaN if none."""
    best = np.full(table.rows, np.nan)
    names = list(table.below("probabilities"))
    place = np.full(table.rows, -1, dtype=np.int32)
    for number, name in enumerate(names):
        values = read.fractions(table, f"probabilities.{name}", faults)
        outside = (values < 0) | (values > 1)
        blame(faults, outside, lambda row, name=name, values=values: unlikely(name, values[row]))  # type: ignore[misc]
        better = ~(values <= best) & ~np.isnan(values)
        best[better], place[better] = values[better], number
    if not (place >= 0).any():
        return None, best
    kind = np.where(place < 0, MISSING, STRING).astype(np.uint8)
    return Column(kind, np.zeros(table.rows), np.maximum(place, 0), names), best


def unlikely(name: str, value: float) -> Bad:
    """Return the fault of a probability outside [0, 1]."""
    return Bad("out_of_range", f"$.probabilities.{name}: expected 0 to 1, got {value}")


def flags(table: read.Table, name: str, faults: Faults) -> NDArray[np.int8]:
    """Return true or false as 1 and 0, -1 where absent."""
    array = table.get(name)
    if array is None or pa.types.is_null(array.type):
        return np.full(table.rows, -1, dtype=np.int8)
    if not pa.types.is_boolean(array.type):
        blame(faults, read.present(array), lambda _: read.mistyped(f"$.{name}", "true or false", array))
        return np.full(table.rows, -1, dtype=np.int8)
    found: NDArray[np.int8] = array.cast(pa.int8()).fill_null(-1).to_numpy()
    return found


def revisions(table: read.Table, faults: Faults) -> NDArray[np.int32]:
    """Return revisions, 0 where absent."""
    values = read.fractions(table, "revision", faults)
    known = np.nan_to_num(values, nan=0.0)
    broken = known != np.floor(known)
    blame(faults, broken, lambda row: Bad("wrong_type", f"$.revision: expected a whole number, got {known[row]}"))
    wrong = (known < 0) | (known > MAX_REVISION)
    fault = f"$.revision: expected 0 to {MAX_REVISION}"
    blame(faults, wrong, lambda row: Bad("out_of_range", f"{fault}, got {known[row]:.0f}"))
    return np.where(wrong | broken, 0, known).astype(np.int32)


def oversized(batch: pa.RecordBatch) -> Faults:
    """Return the faults of rows whose texts alone pass the limit of an event's size."""
    faults: Faults = {}
    if batch.nbytes <= MAX_EVENT_BYTES:
        return faults
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    table = read.Table(batch)
    for array in table.arrays():
        sizes += read.text_lengths(array)
    message = f"$: expected at most {MAX_EVENT_BYTES} bytes"
    blame(faults, sizes > MAX_EVENT_BYTES, lambda row: Bad("too_large", f"{message}, got {sizes[row]} of text"))
    return faults


def row_json(batch: pa.RecordBatch, row: int) -> bytes:
    """Return one row as JSON: what a dead letter shows of it, whatever it is."""
    try:
        values: Sequence[dict[str, Any]] = batch.slice(row, 1).to_pylist()
        return msgspec.json.encode({name: _encodable(value) for name, value in values[0].items()}, enc_hook=str)
    except (ArithmeticError, TypeError, ValueError) as error:  # a struct with a name twice, a date beyond the calendar
        return msgspec.json.encode({"row": row, "is no JSON": str(error)})


def _encodable(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _name(array: Any, row: int) -> str:
    value = None if array is None else array[row].as_py()
    return category_text(float(value) if isinstance(value, Decimal) else value)
