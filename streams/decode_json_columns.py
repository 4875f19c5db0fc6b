"""Decoded Structs into values by field: one attrgetter per level, one matrix for numbers, one look-up per category."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from interlock.columns import BOOL, Column
from interlock.streams.batch import Coded, Wanted
from interlock.streams.decode_columns import Vocabulary, coded, column, numbers_of
from interlock.streams.decode_dead import Bad, Faults
from interlock.streams.decode_json_read import read_ts
from interlock.streams.decode_json_shape import Part, Shape

Values = Sequence[Any]


class Level:
    """Takes the fields of many Structs of one level at once, field by field."""

    def __init__(self, part: Part, names: Sequence[str]) -> None:
        """Compile the getter."""
        self._names = tuple(names)
        self._getter = part.getter(names) if names else None

    def rows(self, structs: Sequence[Any]) -> list[Any]:
        """Return a tuple per Struct, or a value where one field is asked for."""
        return [] if self._getter is None else list(map(self._getter, structs))

    def columns(self, structs: Sequence[Any]) -> dict[str, Values]:
        """Return the values by field name."""
        if len(self._names) == 1:
            return {self._names[0]: self.rows(structs)}
        found = list(zip(*self.rows(structs), strict=True)) or [()] * len(self._names)
        return dict(zip(self._names, found, strict=True))


class Features(NamedTuple):
    """Features as columns: numbers [Fn, n], codes [Fc, n], and Columns of those wanted as such."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    columns: dict[str, Column]


class FeatureReader:
    """Takes the features of a Wanted out of decoded Structs."""

    def __init__(self, part: Part, wanted: Wanted) -> None:
        """Sort features into plain numbers, plain categories, and mixed ones that keep their kinds."""
        mixed = [field.name for field in part.fields if field.default is UNSET]
        self._wanted = wanted
        self._plain = [name for name in wanted.numbers if name not in mixed]
        self._numbers = Level(part, self._plain)
        self._texts = Level(part, [name for name in wanted.categories if name not in mixed])
        self._mixed = Level(part, mixed)
        self._vocabularies = {name: Vocabulary(codes) for name, codes in wanted.categories.items()}

    def read(self, features: Sequence[Any]) -> Features:
        """Return the columns of the features of n events."""
        values = self._mixed.columns(features)
        columns = {name: column(items) for name, items in values.items()}
        texts = values | self._texts.columns(features)
        raw = [texts[name] for name in self._wanted.categories]
        return Features(self._matrix(features, columns), self._codes(raw, columns, len(features)), columns)

    def _matrix(self, features: Sequence[Any], columns: dict[str, Column]) -> NDArray[np.float64]:
        rows = self._numbers.rows(features)
        plain = np.array(rows, dtype=np.float64).reshape(-1 if rows else len(features), len(self._plain)).T
        if len(self._plain) == len(self._wanted.numbers):
            return np.ascontiguousarray(plain)
        by_name = dict(zip(self._plain, plain, strict=True))
        names = self._wanted.numbers
        return np.array([by_name[name] if name in by_name else numbers_of(columns[name]) for name in names])

    def _codes(self, raw: list[Values], columns: dict[str, Column], rows: int) -> NDArray[np.int32]:
        codes = np.empty((len(raw), rows), dtype=np.int32)
        for place, (name, values) in enumerate(zip(self._wanted.categories, raw, strict=True)):
            vocabulary = self._vocabularies[name]
            codes[place] = np.fromiter(map(vocabulary.__getitem__, values), dtype=np.int32, count=rows)
            if name in columns:
                _correct_bools(codes[place], columns[name], vocabulary)
        return codes


class PathReader:
    """Takes the Columns of paths beyond the core fields and the features out of decoded Structs."""

    def __init__(self, shape: Shape, core: Sequence[str]) -> None:
        """Compile a getter per level."""
        self._top = [field.name for field in shape.top.fields if field.default is UNSET and field.name not in core]
        groups = {name: part for name, part in shape.groups.items() if name != "features"}
        self._groups = {name: Level(part, [field.name for field in part.fields]) for name, part in groups.items()}

    def read(self, values: dict[str, Values]) -> dict[str, Column]:
        """Return a Column per path; `values` has the fields of the top level."""
        found = {name: column(values[name]) for name in self._top}
        for group, level in self._groups.items():
            fields = level.columns(values[group])
            found |= {f"{group}.{name}": column(items) for name, items in fields.items()}
        return found


def everything(part: Part) -> Level:
    """Return what takes every field of a level."""
    return Level(part, [field.name for field in part.fields])


def times(values: Values, faults: Faults) -> NDArray[np.int64]:
    """Return times as int64 ms since 1970; texts are read as RFC 3339, what is no time is a fault."""
    found = np.array(values) if values else np.empty(0, dtype=np.int64)
    if found.dtype == np.int64:
        return found
    result = np.zeros(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            result[row] = read_ts(value, "$.ts") or 0
        except Bad as fault:
            faults.setdefault(row, fault)
    return result


def tops(probabilities: Values, faults: Faults) -> tuple[Column | None, NDArray[np.float64]]:
    """Return the class of the highest probability and that probability; None and NaN where there are none."""
    best = np.full(len(probabilities), np.nan)
    if list(probabilities).count(None) == len(probabilities):
        return None, best
    names: list[Any] = [UNSET] * len(probabilities)
    for row, classes in enumerate(probabilities):
        for name, probability in (classes or {}).items():
            if not 0 <= probability <= 1:
                where = f"$.probabilities.{name}"
                faults.setdefault(row, Bad("out_of_range", f"{where}: expected 0 to 1, got {probability}"))
        if classes:
            names[row] = min(classes, key=lambda name, of=classes: (-of[name], name))  # type: ignore[misc]
            best[row] = classes[names[row]]
    return column(names), best


def classes_of(probabilities: Values, paths: Sequence[str]) -> dict[str, Column]:
    """Return a Column per path such as `probabilities.deny`."""
    names = [path.partition(".")[2] for path in paths]
    found = ([(item or {}).get(name, UNSET) for item in probabilities] for name in names)
    return {path: column(values) for path, values in zip(paths, found, strict=True)}


def texts_or_empty(values: Values) -> Coded:
    """Return texts as codes, "" for None."""
    return coded([value or "" for value in values] if None in values else values)


def _correct_bools(codes: NDArray[np.int32], values: Column, vocabulary: Vocabulary) -> None:
    """Look booleans up by their text: as a key of a dict, True is 1."""
    for truth, text in ((0.0, "false"), (1.0, "true")):
        codes[(values.kind == BOOL) & (values.number == truth)] = vocabulary[text]
