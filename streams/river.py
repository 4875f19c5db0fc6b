"""One shard's River detectors: an object for each model version and slice, asked in the order in which events arrive."""

from collections.abc import Iterator

import numpy as np

from interlock.detectors.river_detectors import Detector
from interlock.policies.expressions import TRUE, UNDECIDED
from interlock.policies.plan import Plan
from interlock.streams.batch import Predictions
from interlock.streams.means import numbers
from interlock.streams.ratios import Counts, Mask
from interlock.streams.tally import Ints

MOST = 4096
"""Detectors of a shard; events of slices beyond it are undecided. River's objects take from 1 kB to 1 MB each."""


class Rivers:
    """The detectors of a shard, by series, version and slice. They are not saved: after a restart they begin afresh."""

    def __init__(self, plan: Plan) -> None:
        """Start without any."""
        self._plan = plan
        self._detectors: dict[tuple[int, int, int], Detector] = {}

    def __len__(self) -> int:
        return len(self._detectors)

    def counts(
        self, place: int, batch: Predictions, where: np.typing.NDArray[np.int8], keys: tuple[Ints, Ints]
    ) -> Counts:
        """Return which of n events the series at `place` counts, at which of them it detects, which are undecided.

        `where` int8[n] is its filter, `keys` the codes of versions and slices, int64[n] each. An event that lacks a number is
        undecided, and the detector does not see it.
        """
        fields = self._plan.series[place].fields
        values = np.stack([numbers(batch.columns.get(path), batch.rows()) for path in fields])
        inside = where == TRUE
        there = inside & ~np.isnan(values).any(axis=0)
        hits = np.zeros(batch.rows(), np.bool_)
        seen = np.zeros(batch.rows(), np.bool_)
        for key, rows in _groups(keys, there):
            detector = self._detector((place, *key))
            if detector is not None:
                hits[rows] = detector.detect(values[:, rows])
                seen[rows] = True
        return Counts(seen, hits, (where == UNDECIDED) | (inside & ~seen))

    def _detector(self, key: tuple[int, int, int]) -> Detector | None:
        if key not in self._detectors and len(self._detectors) < MOST:
            series = self._plan.series[key[0]]
            if series.river is None:
                raise ValueError(series.key)
            self._detectors[key] = Detector(series.river, series.fields)
        return self._detectors.get(key)


def _groups(keys: tuple[Ints, Ints], rows: Mask) -> Iterator[tuple[tuple[int, int], Ints]]:
    """Yield rows by version and slice, each in order; the group that came first is first, however chunks are cut."""
    found: dict[tuple[int, int], list[int]] = {}
    some = np.flatnonzero(rows)
    for key, row in zip(zip(*(code[some].tolist() for code in keys), strict=True), some.tolist(), strict=True):
        found.setdefault(key, []).append(row)
    for key, mine in found.items():
        yield key, np.array(mine, np.int64)
