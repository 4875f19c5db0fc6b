"""Events into the bins of drift's streams: each feature that the reference has, the score and the prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import BOOL, NUMBER, STRING, Column
from interlock.detectors.drift import KNOWN, MISSING, NEW, Bins
from interlock.detectors.fixed import SCALE
from interlock.streams.batch import Predictions
from interlock.streams.decode_columns import category_text, missing_column

FEATURES, SCORE, PREDICTION = "features.", "score", "prediction"
"""Names of streams: the fields of an event that they come from."""
OTHERS = "(other known values)"

Codes = NDArray[np.uint8]

FEW = 256
"""Numbers for which a binary search is cheaper than one comparison of all with every edge."""


@dataclass(frozen=True)
class DriftStream:
    """One stream and its bins: of a number `edges`, one fewer than its known bins, and `range`, of a category the `values` of its bins.

    A number x lies in known bin i if edges[i - 1] < x <= edges[i]. Known values of a category that have no bin of their own
    share the last one, if there are any; `rest` are those values of a prediction, which is no feature with a vocabulary.
    """

    bins: Bins
    edges: tuple[float, ...] = ()
    range: tuple[float, float] | None = None
    values: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The field it comes from."""
        return self.bins.name

    def of_numbers(self, values: NDArray[np.float64]) -> Codes:
        """Return the bins of numbers float64[n], NaN where there is none: uint8[n]."""
        low, high = self.range or (-np.inf, np.inf)
        codes = _below(self.edges, values)
        inside = (values >= low) & (values <= high)
        if not inside.all():
            codes[~inside] = NEW
            codes[np.isnan(values)] = MISSING
        return codes

    def of_vocabulary(self, known: Sequence[str]) -> Codes:
        """Return the bins of a vocabulary's codes uint8[V + 2]: index -1 is missing, -2 unseen, as decoders number them."""
        own = {value: KNOWN + place for place, value in enumerate(self.values)}
        rest = len(self.bins.labels) - 1
        return np.array([*(own.get(value, rest) for value in known), NEW, MISSING], np.uint8)

    def of_column(self, column: Column, known: Mapping[str, int]) -> Codes:
        """Return the bins of a column of mixed kind; `known` has the bin of every value of a category."""
        if self.range is not None:
            number = (column.kind == NUMBER) | (column.kind == BOOL)
            return self.of_numbers(np.where(number, column.number, np.nan))
        codes = np.full(len(column.kind), MISSING, np.uint8)
        text = column.kind == STRING
        table = np.array([known.get(one, NEW) for one in column.texts] or [NEW], np.uint8)
        codes[text] = table[column.text[text]]
        for kind in (NUMBER, BOOL):
            for value in np.unique(column.number[column.kind == kind]).tolist():
                as_text = category_text(bool(value) if kind == BOOL else value)
                codes[(column.kind == kind) & (column.number == value)] = known.get(as_text, NEW)
        return codes


def _below(edges: Sequence[float], values: NDArray[np.float64]) -> Codes:
    """Return KNOWN + how many edges each number is above.

    A comparison is a few numbers an instruction; a search is a mispredicted branch or two a number, and five times as slow.
    """
    if len(values) < FEW:
        return (np.searchsorted(np.array(edges), values) + KNOWN).astype(np.uint8)
    codes = np.full(len(values), KNOWN, np.uint8)
    above = np.empty(len(values), np.bool_)
    for edge in edges:
        np.greater(values, edge, out=above)
        np.add(codes, above.view(np.uint8), out=codes)
    return codes


class Binner:
    """Finds the bins of chunks of predictions."""

    def __init__(
        self, streams: Sequence[DriftStream], numbers: Sequence[str], vocabularies: Mapping[str, Sequence[str]]
    ) -> None:
        """Bin `streams`; `numbers` and `vocabularies` are the reference's features in the order of its decoder."""
        self._streams = tuple(streams)
        self._numbers = {f"{FEATURES}{name}": place for place, name in enumerate(numbers)}
        self._categories = {f"{FEATURES}{name}": place for place, name in enumerate(vocabularies)}
        self._tables = {
            stream.name: stream.of_vocabulary(vocabularies[stream.name.removeprefix(FEATURES)])
            for stream in streams
            if stream.name in self._categories
        }
        self._said = {s.name: _known(s) for s in streams if s.name == PREDICTION}

    def codes(self, batch: Predictions, p: NDArray[np.int64]) -> Codes:
        """Return the bins of n predictions, uint8[F, n]; `p` are their probabilities, -1 without (`probabilities`)."""
        found = [self._codes(stream, batch, p) for stream in self._streams]
        return np.array(found, np.uint8).reshape(len(found), batch.rows())

    def _codes(self, stream: DriftStream, batch: Predictions, p: NDArray[np.int64]) -> Codes:
        if stream.name == SCORE:
            return stream.of_numbers(score_values(p))
        if stream.name == PREDICTION:
            column = batch.columns.get(PREDICTION, missing_column(batch.rows()))
            return stream.of_column(column, self._said[PREDICTION])
        if stream.name in self._numbers:
            return stream.of_numbers(batch.numbers[self._numbers[stream.name]])
        codes: Codes = self._tables[stream.name][batch.categories[self._categories[stream.name]]]
        return codes


def _known(stream: DriftStream) -> dict[str, int]:
    """Return the bin of each value that a prediction had."""
    last = len(stream.bins.labels) - 1
    return dict.fromkeys(stream.rest, last) | {value: KNOWN + place for place, value in enumerate(stream.values)}


def score_values(p: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return probabilities as numbers, NaN where there is none."""
    return np.where(p < 0, np.nan, p / float(SCALE))
