"""JSON texts into whole batches, one class per message type."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.columns import Column
from interlock.streams import decode_vectors as vectors
from interlock.streams.batch import AbuseReports, Embedded, Ids, Outcomes, Predictions, Wanted
from interlock.streams.decode_columns import category_text, coded, column
from interlock.streams.decode_dead import Faults, Where, embed
from interlock.streams.decode_json import JsonReader, Texts
from interlock.streams.decode_json_columns import (
    FeatureReader,
    PathReader,
    Values,
    classes_of,
    everything,
    texts_or_empty,
    times,
    tops,
)
from interlock.streams.decode_json_read import MAX_REVISION, out_of_range, read_appended
from interlock.streams.decode_json_shape import (
    ABUSE,
    EMBEDDED,
    EMBEDDING,
    LOGITS,
    OUTCOME,
    PREDICTED,
    PREDICTION,
    Field,
    shape,
)
from interlock.streams.ids import IdHash
from interlock.streams.vectors import Vectors

PREDICTION_FIELDS = tuple(field.name for field in PREDICTION)
ABSENT = (b"", b"null")
"""The JSON texts of an outcome's prediction where it carries none."""
OUTCOME_FIELDS = tuple(field.name for field in OUTCOME)
ABUSE_FIELDS = tuple(field.name for field in ABUSE)


class JsonPredictions:
    """Predictions from JSON."""

    def __init__(self, wanted: Wanted, ids: IdHash, core: tuple[Field, ...] = PREDICTION) -> None:
        """Compile what is wanted; `core` are the fields that are read of each."""
        lists = (EMBEDDING,) * wanted.embedding + (LOGITS,) * wanted.logits
        compiled = shape((*core, *lists), wanted, ("features",))
        self._reader = JsonReader(compiled)
        self._top = everything(compiled.top)
        self._features = FeatureReader(compiled.groups["features"], wanted)
        self._paths = PathReader(compiled, PREDICTION_FIELDS)
        self._classes = sorted(path for path in wanted.paths if path.startswith("probabilities."))
        self._wanted = wanted.paths
        self._names = list(wanted.categories)
        self._ids = ids

    def __call__(self, texts: Texts, ids: Ids | None = None) -> tuple[Predictions, Faults]:
        """Return every event, the faulty ones with defaults, and the faults; `ids` are those of events that name none."""
        events, faults = self._reader.read(texts.values)
        values = self._top.columns(events)
        features = self._features.read(values["features"])
        top, top_probability = tops(values["probabilities"], faults)
        batch = Predictions(
            ids=self._ids(values["event_id"]) if ids is None else ids,
            ts=times(values["ts"], faults),
            appended=append_times(values["appended_at"], texts),
            model=coded(values["model"]),
            version=texts_or_empty(values["model_version"]),
            score=np.array(values["score"], dtype=np.float64),
            ood_score=np.array(values["ood_score"], dtype=np.float64),
            top=top,
            top_probability=top_probability,
            numbers=features.numbers,
            categories=features.codes,
            columns=self._columns(values, features.columns),
            offset=texts.where.offset,
            index=texts.where.index,
            raw_category=lambda feature, row: self._name(texts.values[row], feature),
            origin=np.arange(len(events)),
            embedding=_vectors(vectors.EMBEDDING, values, faults),
            logits=_vectors(vectors.LOGITS, values, faults),
        )
        return batch, faults

    def _name(self, text: bytes, feature: int) -> str:
        """Read a raw category again from its text: rare, and to keep them all would cost as much as decoding."""
        (event,), _ = self._reader.read([text])
        values = everything(self._reader.shape.groups["features"]).columns(self._top.columns([event])["features"])
        return category_text(values[self._names[feature]][0])

    def _columns(self, values: dict[str, Values], features: dict[str, Column]) -> dict[str, Column]:
        found = self._paths.read(values) | classes_of(values["probabilities"], self._classes)
        own = {f"features.{name}": kept for name, kept in features.items()}
        return found | {path: kept for path, kept in own.items() if path in self._wanted}


class JsonOutcomes:
    """Outcomes from JSON."""

    def __init__(self, wanted: Wanted | None, ids: IdHash) -> None:
        """Compile the fields, and what is `wanted` of the predictions that they carry; None: those are not read."""
        compiled = shape(OUTCOME if wanted is None else (*OUTCOME, EMBEDDED), Wanted(), ())
        self._reader = JsonReader(compiled)
        self._top = everything(compiled.top)
        self._ids = ids
        self._predictions = None if wanted is None else JsonPredictions(wanted, ids, PREDICTED)

    def __call__(self, texts: Texts) -> tuple[Outcomes, Faults]:
        """Return every event, the faulty ones with defaults, and the faults."""
        events, faults = self._reader.read(texts.values)
        values = self._top.columns(events)
        batch = Outcomes(
            ids=self._ids(values["event_id"]),
            ts=times(values["ts"], faults),
            appended=append_times(values["appended_at"], texts),
            label=column(values["label"]),
            confirmed_ood=np.array([-1 if flag is None else flag for flag in values["confirmed_ood"]], dtype=np.int8),
            revision=_revisions(values["revision"], faults),
            offset=texts.where.offset,
            index=texts.where.index,
        )
        if self._predictions is None:
            return batch, faults
        raw = [bytes(text) for text in values["prediction"]]
        present = np.array([text not in ABSENT for text in raw], np.bool_)
        where = Where(texts.where.topic, batch.offset, batch.index, batch.appended).take(present)
        theirs = Texts([text for text in raw if text not in ABSENT], where)
        found, inside = self._predictions(theirs, batch.ids.take(present))
        embed(faults, inside, present)
        return replace(batch, embedded=Embedded(present, found)), faults


class JsonAbuse:
    """Abuse reports from JSON."""

    def __init__(self, wanted: Wanted, ids: IdHash) -> None:
        """Compile the fields and the wanted paths under `segment`."""
        segment = frozenset(path for path in wanted.paths if path.startswith("segment."))
        compiled = shape(ABUSE, Wanted(paths=segment), ())
        self._reader = JsonReader(compiled)
        self._top = everything(compiled.top)
        self._paths = PathReader(compiled, ABUSE_FIELDS)
        self._ids = ids

    def __call__(self, texts: Texts) -> tuple[AbuseReports, Faults]:
        """Return every event, the faulty ones with defaults, and the faults."""
        events, faults = self._reader.read(texts.values)
        values = self._top.columns(events)
        batch = AbuseReports(
            ids=self._ids(values["event_id"]),
            ts=times(values["ts"], faults),
            appended=append_times(values["appended_at"], texts),
            model=coded(values["model"]),
            category=coded(values["category"]),
            columns=self._paths.read(values),
            offset=texts.where.offset,
            index=texts.where.index,
        )
        return batch, faults


def _vectors(kind: vectors.Kind, values: dict[str, Values], faults: Faults) -> Vectors | None:
    """Return a field of lists of numbers, None where it is not read."""
    return vectors.of_lists(kind, values[kind.name], faults) if kind.name in values else None


def append_times(values: Values, texts: Texts) -> NDArray[np.int64]:
    """Return when events were appended: in files their own `appended_at`, where they carry it."""
    default = texts.where.appended
    if not texts.from_file or list(values).count(None) == len(values):
        return default
    read = [read_appended(value, "$.appended_at") for value in values]
    return np.array([own if value is None else value for own, value in zip(default, read, strict=True)], dtype=np.int64)


def _revisions(values: Sequence[Any], faults: Faults) -> NDArray[np.int32]:
    found = np.zeros(len(values), dtype=np.int32)
    for row, value in enumerate(values):
        if value is None:
            continue
        if 0 <= value <= MAX_REVISION:
            found[row] = value
        else:
            faults.setdefault(row, out_of_range("$.revision", f"0 to {MAX_REVISION}", value))
    return found
