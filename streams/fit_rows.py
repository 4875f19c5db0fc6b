"""The rows that a reference is learned from: predictions and their labels, gathered chunk by chunk.

Memory is nine bytes per value of a feature and about 90 per row. Rows end in the order of their hashed ids, so that
neither the order of the input nor how it was cut changes anything that is learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.columns import STRING, Column
from interlock.policies.model_parts import POSITIVE
from interlock.streams.batch import Outcomes, Predictions
from interlock.streams.classes import Classes, predicted, signs_of
from interlock.streams.counting import probabilities
from interlock.streams.decode_columns import Interned, missing_column
from interlock.streams.fit_logits import LogitGatherer, LogitRows
from interlock.streams.fit_vectors import Embeddings, VectorGatherer
from interlock.streams.ids import IdHash
from interlock.streams.labels import NO_CLASS, class_hashes, positives
from interlock.streams.ratios import abstained

Ints = NDArray[np.int64]
_ID_KEY = b"interlock/fit/1"  # fixed: the split must be the same for everybody, and protects nothing


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One feature of n rows: kind uint8[n]; value float64[n], the number, or the code of the text in `texts`."""

    kind: NDArray[np.uint8]
    value: NDArray[np.float64]
    texts: Sequence[str]

    def take(self, rows: NDArray[np.intp]) -> "FeatureRows":
        """Return these rows only."""
        return FeatureRows(self.kind[rows], self.value[rows], self.texts)


NO_ROWS = FeatureRows(np.zeros(0, np.uint8), np.zeros(0), ())
"""A feature of no rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n distinct predictions ordered by hashed id, and what their labels said.

    `key` uint64[n]; `ts` int64[n] ms; `p` int64[n] in units of 2**-32, -1 without; `model`, `version` codes int64[n] of
    `names`; `y` int8[n]: 1, 0, or -1 without label; `age` int64[n]: ms to the first label, -1 without. `abstained` bool[n]:
    without an answer; `embeddings`: of a sample of all rows; `said` and `meant`: the classes of predictions and of labels, none where there is none;
    `prediction`: what the model said, whatever its kind; `scored` bool[n]: p is the score, not the likeliest class's;
    `logits`: what its logits said.
    """

    key: NDArray[np.uint64]
    ts: Ints
    p: Ints
    model: Ints
    version: Ints
    names: Sequence[str]
    features: Mapping[str, FeatureRows]
    y: NDArray[np.int8]
    age: Ints
    abstained: NDArray[np.bool_]
    said: Classes
    meant: Classes
    embeddings: Embeddings
    prediction: FeatureRows
    scored: NDArray[np.bool_]
    logits: LogitRows

    def of_model(self, name: str) -> "Rows":
        """Return the rows of one model."""
        code = self.names.index(name) if name in self.names else -1
        return self.take(np.flatnonzero(self.model == code))

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """Return these rows only."""
        features = {name: f.take(rows) for name, f in self.features.items()}
        return Rows(
            self.key[rows], self.ts[rows], self.p[rows], self.model[rows], self.version[rows], self.names,
            features, self.y[rows], self.age[rows], self.abstained[rows], _of(self.said, rows), _of(self.meant, rows), self.embeddings,
            self.prediction.take(rows), self.scored[rows], self.logits.take(rows),
        )  # fmt: skip


class FeatureGatherer:
    """Takes the columns of one feature, one chunk at a time."""

    def __init__(self) -> None:
        """Start empty."""
        self._texts = Interned()
        self._kinds: list[NDArray[np.uint8]] = []
        self._values: list[NDArray[np.float64]] = []

    def add(self, column: Column) -> None:
        """Take one chunk's column."""
        table = np.array([self._texts[text] for text in column.texts] or [0], dtype=np.float64)
        text = column.kind == STRING
        value = column.number.copy()
        value[text] = table[column.text[text]]
        self._kinds.append(column.kind)
        self._values.append(value)

    def gathered(self, order: NDArray[np.intp]) -> FeatureRows:
        """Return the rows taken, in this order, and forget them."""
        rows = FeatureRows(np.concatenate(self._kinds)[order], np.concatenate(self._values)[order], list(self._texts))
        self._kinds, self._values = [], []
        return rows


Answers = tuple[NDArray[np.bool_], NDArray[np.int8], NDArray[np.uint64], NDArray[np.bool_]]
"""Of n predictions: without an answer; the sign and the name of the class that they say; whether they have a score."""


class RowGatherer:
    """Takes decoded predictions and outcomes, a chunk at a time; then says what rows they make."""

    def __init__(self, features: Sequence[str]) -> None:
        """Gather these features; a prediction's `columns` has them as `features.<name>`."""
        self._features = {name: FeatureGatherer() for name in features}
        self._vectors, self._logits = VectorGatherer(), LogitGatherer()
        self._prediction = FeatureGatherer()
        self._hash, self._names = IdHash(_ID_KEY), Interned()
        self._predictions: list[tuple[NDArray[np.uint64], Ints, Ints, Ints, Ints]] = []
        self._answers: list[Answers] = []
        self._outcomes: list[tuple[NDArray[np.uint64], Ints, Ints, Ints]] = []
        self._meant: list[tuple[NDArray[np.int8], NDArray[np.uint64]]] = []

    def predictions(self, batch: Predictions) -> None:
        """Take a chunk of predictions."""
        if not batch.rows():
            return
        model = self._codes(batch.model.values)[batch.model.codes]
        version = self._codes(batch.version.values)[batch.version.codes]
        self._predictions.append((self._key(batch.ids.texts), batch.ts, probabilities(batch), model, version))
        self._vectors.add(self._predictions[-1][0], batch.ts, batch.embedding)
        self._logits.add(batch.rows(), batch.logits)
        said = predicted(batch, POSITIVE, None)
        self._answers.append((abstained(batch), said.positive, said.name, ~np.isnan(batch.score)))
        absent = missing_column(batch.rows())
        self._prediction.add(batch.columns.get("prediction", absent))
        for name, gatherer in self._features.items():
            gatherer.add(batch.columns.get(f"features.{name}", absent))

    def outcomes(self, batch: Outcomes) -> None:
        """Take a chunk of outcomes."""
        if batch.rows():
            y = positives(batch.label, POSITIVE).astype(np.int64)
            self._outcomes.append((self._key(batch.ids.texts), batch.ts, batch.revision.astype(np.int64), y))
            self._meant.append((signs_of(batch.label, POSITIVE), class_hashes(batch.label)))

    def rows(self) -> Rows:
        """Return all rows; of an id that comes twice, the earliest event. Call it once."""
        if not self._predictions:
            return self._rows(*(np.zeros(0, np.int64) for _ in range(5)), order=np.zeros(0, np.intp))
        key, ts, p, model, version = (np.concatenate(part) for part in zip(*self._predictions, strict=True))
        order = np.lexsort((p, ts, key))
        order = order[_first_of_each(key[order])]
        return self._rows(key[order], ts[order], p[order], model[order], version[order], order=order)

    def _rows(self, *parts: Ints, order: NDArray[np.intp]) -> Rows:
        key, ts, p, model, version = parts
        features = {name: f.gathered(order) for name, f in self._features.items()} if len(order) else {}
        prediction = self._prediction.gathered(order) if len(order) else NO_ROWS
        y, age, meant = self._labels(key.astype(np.uint64), ts)
        abstained, positive, name, scored = self._answered(order)
        return Rows(
            key.astype(np.uint64), ts, p, model, version, list(self._names), features, y, age,
            abstained, Classes(positive, name), meant, self._vectors.gathered(), prediction, scored,
            self._logits.gathered(order),
        )  # fmt: skip

    def _answered(self, order: NDArray[np.intp]) -> Answers:
        if not self._answers:
            return np.zeros(0, np.bool_), np.zeros(0, np.int8), np.zeros(0, np.uint64), np.zeros(0, np.bool_)
        abstained, positive, name, scored = (np.concatenate(part)[order] for part in zip(*self._answers, strict=True))
        return abstained, positive, name, scored

    def _labels(self, key: NDArray[np.uint64], ts: Ints) -> tuple[NDArray[np.int8], Ints, Classes]:
        """Return each prediction's label of highest revision, the age of its first one, and the class it means."""
        y, age = np.full(len(key), -1, np.int8), np.full(len(key), -1, np.int64)
        meant = Classes(np.full(len(key), -1, np.int8), np.full(len(key), NO_CLASS, np.uint64))
        if not self._outcomes or not len(key):
            return y, age, meant
        of, at, revision, label = (np.concatenate(part) for part in zip(*self._outcomes, strict=True))
        place = np.minimum(np.searchsorted(key, of), len(key) - 1)
        order = np.flatnonzero((key[place] == of) & (label >= 0))
        order = order[np.lexsort((-at[order], revision[order]))]  # the last write wins: highest revision, earliest
        y[place[order]] = label[order]
        signs, names = (np.concatenate(part) for part in zip(*self._meant, strict=True))
        meant.positive[place[order]], meant.name[place[order]] = signs[order], names[order]
        delay = np.maximum(at[order] - ts[place[order]], 0)
        latest_first = np.argsort(-delay, kind="stable")
        age[place[order][latest_first]] = delay[latest_first]
        return y, age, meant

    def _key(self, texts: pa.StringArray) -> NDArray[np.uint64]:
        return self._hash(texts).h1

    def _codes(self, values: Sequence[str]) -> Ints:
        return np.array([self._names[value] for value in values] or [0], dtype=np.int64)


def _of(classes: Classes, rows: NDArray[np.intp]) -> Classes:
    return Classes(classes.positive[rows], classes.name[rows])


def _first_of_each(ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.append(True, ordered[1:] != ordered[:-1]) if len(ordered) else np.zeros(0, dtype=np.bool_)
