"""Why an event is odd, in words that many events share: a feature with its value, or with the range the number lies in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.streams.batch import MISSING_CODE, UNSEEN_CODE, Predictions
from interlock.streams.reference import Reference

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

STEPS = (1.0, 2.0, 5.0, 10.0)
"""Ranges are as wide as one of these times a power of ten, at most half a standard deviation."""
LARGEST = 1e308
WHOLE = ("embedding", "logits")
"""Reasons that are no features: they are numbered after all of them."""
FARTHEST = 8.0
"""Standard deviations beyond which all numbers are one range."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Of m events, `codes` intp[m] index `texts`, which are distinct."""

    codes: NDArray[np.intp]
    texts: Sequence[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Reasons":
        """Return the reasons of events by their texts."""
        known: dict[str, int] = {}
        codes = [known.setdefault(text, len(known)) for text in texts]
        return cls(np.array(codes, np.intp), list(known))

    def also(self, other: "Reasons") -> "Reasons":
        """Return these reasons and then others."""
        known = {text: code for code, text in enumerate(self.texts)}
        renamed = np.array([known.setdefault(text, len(known)) for text in other.texts], np.intp)
        codes = renamed[other.codes] if len(other.codes) else other.codes
        return Reasons(np.concatenate([self.codes, codes]), list(known))


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of one number: `width` each, numbered from `first` to `last`, and one beyond either end."""

    width: float
    first: float
    last: float

    @classmethod
    def around(cls, mean: float, sd: float) -> "Ranges":
        """Return the ranges of a number with this mean and standard deviation > 0."""
        scale = 10.0 ** math.floor(math.log10(sd / 2))
        width = max(step * scale for step in STEPS if step * scale <= sd / 2 or step == STEPS[0])
        ends = (min(max(mean + side * FARTHEST * sd, -LARGEST), LARGEST) for side in (-1, 1))
        low, high = (float(math.floor(end / width)) for end in ends)
        return cls(width, low, high)

    def text(self, name: str, place: float) -> str:
        """Return a range in words: its lower end belongs to it, its upper one does not."""
        if place > self.last:
            return f"{name} from {shown((self.last + 1) * self.width)}"
        if place < self.first:
            return f"{name} below {shown(self.first * self.width)}"
        return f"{name} {shown(place * self.width)} to {shown((place + 1) * self.width)}"


def range_numbers(values: Floats, widths: Floats, firsts: Floats, lasts: Floats) -> Floats:
    """Return the number of each value's range, float64[n]; NaN stays. The others, float64[n] or [1], are those of `Ranges`."""
    with np.errstate(over="ignore"):
        places = np.floor(values / widths)
    return np.clip(places, firsts - 1, lasts + 1)


def shown(number: float) -> str:
    """Return a bound of a range, without the dust of its arithmetic."""
    return f"{number:.10g}"


class Namer:
    """Names features with their values."""

    def __init__(self, reference: Reference) -> None:
        """Name the features of a reference, as `OodScorer.reasons` numbers them."""
        self._names, self._words = reference.features, [part.values for part in reference.vocabularies.values()]
        scorer = reference.scorer
        self._ranges = [Ranges.around(mean, sd) for mean, sd in zip(scorer.means, scorer.sds, strict=True)]
        self._bounds = np.array([(one.width, one.first, one.last) for one in self._ranges]).reshape(-1, 3).T
        self._known: dict[tuple[int, float], str] = {}
        """The texts of numbers' ranges, of which there are a few for each feature."""

    def named(self, batch: Predictions, rows: Rows, features: NDArray[np.int32]) -> Reasons:
        """Return what these rows have in the features int32[m] that made them what they are."""
        texts, odd = [""] * len(rows), features.tolist()
        numeric = np.flatnonzero((features >= 0) & (features < len(batch.numbers)))
        of = features[numeric]
        places = range_numbers(batch.numbers[of, rows[numeric]], *self._bounds[:, of]).tolist()
        for at, place in zip(numeric.tolist(), places, strict=True):
            texts[at] = self._number(odd[at], place)
        for at in np.flatnonzero(features >= len(batch.numbers)).tolist():
            texts[at] = self._other(batch, int(rows[at]), odd[at])
        return Reasons.of(texts)

    def _number(self, feature: int, place: float) -> str:
        name = self._names[feature]
        if math.isnan(place):
            return f"{name} missing"
        text = self._known.get((feature, place))
        if text is None:
            text = self._known[feature, place] = self._ranges[feature].text(name, place)
        return text

    def _other(self, batch: Predictions, row: int, feature: int) -> str:
        if feature >= len(self._names):
            return WHOLE[feature - len(self._names)]
        name, category = self._names[feature], feature - len(batch.numbers)
        code = int(batch.categories[category, row])
        if code == MISSING_CODE:
            return f"{name} missing"
        value = batch.category_text(category, row) if code == UNSEEN_CODE else self._words[category][code]
        return f"{name}={value}"
