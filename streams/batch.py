"""What decoding yields: events as columns, one array per field, and the dead letters beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.columns import Column
from interlock.streams.vectors import Vectors

Rows = NDArray[np.intp] | NDArray[np.bool_]

MISSING_CODE = -1
"""Category code of a feature that is missing or null."""
UNSEEN_CODE = -2
"""Category code of a value that the reference's vocabulary lacks."""


class Message(NamedTuple):
    """One record of an input topic: its bytes, its offset, its append time (ms since 1970) and its content type."""

    value: bytes
    offset: int
    appended: int
    content_type: str | None = None


class Lines(NamedTuple):
    """Consecutive events of a file, one JSON text each; event i has offset `offset + i`. `appended` in ms."""

    values: list[bytes]
    offset: int
    appended: int


class Frame(NamedTuple):
    """Consecutive events of a file as an Arrow batch; event i has offset `offset + i`. `appended` in ms.

    A column `appended_at` (ms, or timestamp) takes the place of `appended` where it is not null.
    """

    batch: pa.RecordBatch
    offset: int
    appended: int


Chunk = Sequence[Message] | Lines | Frame
"""What a decoder takes at a time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a policy and its reference need of an event; all else is skipped while decoding.

    `numbers`: numeric features. `categories`: categorical features, each with the reference's vocabulary (value ->
    code). `embedding`, `logits`: whether they are read. `paths`: fields for which a Column is needed, such as "decision", "features.amount", "segment.tenant".
    """

    numbers: tuple[str, ...] = ()
    categories: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    embedding: bool = False
    logits: bool = False


@dataclass(frozen=True, slots=True)
class Ids:
    """Event ids: a keyed 128-bit hash as two lanes, uint64[n] each, and the texts."""

    h1: NDArray[np.uint64]
    h2: NDArray[np.uint64]
    texts: pa.StringArray

    def text(self, row: int) -> str:
        """Return the id of one row."""
        return str(self.texts[int(row)].as_py())

    def take(self, rows: Rows) -> "Ids":
        """Return the ids of these rows only."""
        return Ids(self.h1[rows], self.h2[rows], self.texts.take(as_index(rows)))


@dataclass(frozen=True, slots=True)
class Coded:
    """A text per row as codes: `codes` int32[n] index `values`, which are distinct."""

    codes: NDArray[np.int32]
    values: list[str]

    def text(self, row: int) -> str:
        """Return the text of one row."""
        return self.values[int(self.codes[row])]

    def take(self, rows: Rows) -> "Coded":
        """Return these rows only; `values` stay."""
        return Coded(self.codes[rows], self.values)


@dataclass(frozen=True, slots=True)
class Predictions:
    """n predictions as columns.

    `ts`, `appended` int64[n]: ms since 1970 UTC. `version` is "" where absent. `score`, `ood_score`, `top_probability`
    float64[n]: NaN where absent; `top` is the class of the highest probability (ties: the smallest name), None if no
    event has probabilities. `numbers` float64[Fn, n]: NaN where missing, null or no number. `categories` int32[Fc, n]:
    the vocabulary's code, MISSING_CODE or UNSEEN_CODE; a number counts as its JSON text. `columns`: one per path of
    Wanted.paths. `offset` int64[n]: of the message; `index` int32[n]: of the event inside its message.
    """

    ids: Ids
    ts: NDArray[np.int64]
    appended: NDArray[np.int64]
    model: Coded
    version: Coded
    score: NDArray[np.float64]
    ood_score: NDArray[np.float64]
    top: Column | None
    top_probability: NDArray[np.float64]
    numbers: NDArray[np.float64]
    categories: NDArray[np.int32]
    columns: Mapping[str, Column]
    offset: NDArray[np.int64]
    index: NDArray[np.int32]
    raw_category: Callable[[int, int], str]
    origin: NDArray[np.intp]
    embedding: Vectors | None = None
    logits: Vectors | None = None

    def rows(self) -> int:
        """Return n."""
        return len(self.ts)

    def category_text(self, feature_index: int, row: int) -> str:
        """Return the raw value of a categorical feature, "" where it is missing: to name a code never seen."""
        return self.raw_category(feature_index, int(self.origin[row]))

    def take(self, rows: Rows) -> "Predictions":
        """Return these rows only, in this order."""
        return Predictions(
            ids=self.ids.take(rows),
            ts=self.ts[rows],
            appended=self.appended[rows],
            model=self.model.take(rows),
            version=self.version.take(rows),
            score=self.score[rows],
            ood_score=self.ood_score[rows],
            top=None if self.top is None else self.top.take(rows),
            top_probability=self.top_probability[rows],
            numbers=self.numbers[:, rows],
            categories=self.categories[:, rows],
            columns={path: column.take(rows) for path, column in self.columns.items()},
            offset=self.offset[rows],
            index=self.index[rows],
            raw_category=self.raw_category,
            origin=self.origin[rows],
            embedding=None if self.embedding is None else self.embedding.take(rows),
            logits=None if self.logits is None else self.logits.take(rows),
        )


@dataclass(frozen=True, slots=True)
class Embedded:
    """The predictions that outcomes carry: `present` bool[n], which of n do; `batch`: theirs, in their order."""

    present: NDArray[np.bool_]
    batch: Predictions

    def take(self, rows: Rows) -> "Embedded":
        """Return those of these outcomes only, in this order."""
        place, present = np.cumsum(self.present) - 1, self.present[rows]
        return Embedded(present, self.batch.take(place[rows][present]))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """n outcomes as columns: `confirmed_ood` int8[n] is 1, 0, or -1 where absent; `revision` int32[n] is 0 there.

    `embedded` are the predictions that they carry; None where they are not read.
    """

    ids: Ids
    ts: NDArray[np.int64]
    appended: NDArray[np.int64]
    label: Column
    confirmed_ood: NDArray[np.int8]
    revision: NDArray[np.int32]
    offset: NDArray[np.int64]
    index: NDArray[np.int32]
    embedded: Embedded | None = None

    def rows(self) -> int:
        """Return n."""
        return len(self.ts)

    def take(self, rows: Rows) -> "Outcomes":
        """Return these rows only, in this order."""
        return Outcomes(
            ids=self.ids.take(rows),
            ts=self.ts[rows],
            appended=self.appended[rows],
            label=self.label.take(rows),
            confirmed_ood=self.confirmed_ood[rows],
            revision=self.revision[rows],
            offset=self.offset[rows],
            index=self.index[rows],
            embedded=None if self.embedded is None else self.embedded.take(rows),
        )


@dataclass(frozen=True, slots=True)
class AbuseReports:
    """n abuse reports as columns; `columns` has the paths of Wanted.paths under `segment`."""

    ids: Ids
    ts: NDArray[np.int64]
    appended: NDArray[np.int64]
    model: Coded
    category: Coded
    columns: Mapping[str, Column]
    offset: NDArray[np.int64]
    index: NDArray[np.int32]

    def rows(self) -> int:
        """Return n."""
        return len(self.ts)

    def take(self, rows: Rows) -> "AbuseReports":
        """Return these rows only, in this order."""
        return AbuseReports(
            ids=self.ids.take(rows),
            ts=self.ts[rows],
            appended=self.appended[rows],
            model=self.model.take(rows),
            category=self.category.take(rows),
            columns={path: column.take(rows) for path, column in self.columns.items()},
            offset=self.offset[rows],
            index=self.index[rows],
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be read, where it stood and why.

    `reason` is one of `interlock.streams.decode.REASONS` or of the shard's; `detail` is one line with the JSON path and
    what was expected; `raw` holds the first 4096 of `size` bytes, `digest` the SHA-256 of all of them in hex.
    """

    topic: str
    offset: int
    index: int
    reason: str
    detail: str
    raw: bytes
    size: int
    digest: str


def as_index(rows: Rows) -> NDArray[np.intp]:
    """Return a boolean mask, or indices, as indices."""
    return np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.intp, copy=False)
