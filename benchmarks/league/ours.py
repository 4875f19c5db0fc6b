"""Interlock's own detectors on the same arrays: what `interlock fit` learns, the evidence of drift, the OOD score."""

import time
from collections.abc import Mapping
from functools import cache

import numpy as np

from benchmarks.evidence.drift import detectors, step
from benchmarks.league.rivals import FEATURES
from benchmarks.tables import fitted, frame, named, read
from interlock.detectors.drift import Design, DriftDetector
from interlock.streams.drift_bins import DriftStream
from interlock.streams.fit_drift import category_stream
from interlock.streams.reference import Reference

Floats = np.ndarray

PANE = 25
"""Events of a pane: what is judged at once."""
COSTED = 500
"""Events of a pane where the cost is measured, as in `make bench`."""
DISTINCT = 8
"""A stream of at most so many values is one of categories."""
CHUNK = 4096
"""Events that are scored at once where the cost is measured."""
FLAGGED = 0.01
"""Share of usual events that is flagged by default."""
LEAST_ROWS = 20
"""Sets of the league are smaller than any reference may be; the learning is the same."""

THRESHOLDS = {"Interlock drift C=3.3e4": 3.3e4, "Interlock drift C=1e6": 1e6}
"""C, the bound on mean panes to a false alarm: 800,000 events with panes of 25, and 25 million."""


class Drift:
    """The drift detectors of S streams of F features each; one alarms when the mean of M over its features reaches C."""

    def __init__(self, history: Floats, threshold: float) -> None:
        """Learn the bins from histories float64[S, F, n]."""
        self._shape, self._threshold = history.shape[:2], threshold
        self.streams = [learned(values) for values in history.reshape(-1, history.shape[2])]
        self.detector = DriftDetector([Design.of(stream.bins) for stream in self.streams], 1)

    def alarms(self, values: Floats, *, once: bool, pane: int = PANE) -> list[list[int]]:
        """Return at which events float64[S, F, n] each stream alarms; evidence starts anew after each, or `once` ends it."""
        codes = self.codes(values)
        found: list[list[int]] = [[] for _ in values]
        for end in range(pane, values.shape[2] + 1, pane):
            m = step(self.detector, codes[:, end - pane : end]).reshape(self._shape).mean(axis=1)
            hit = np.flatnonzero(m >= self._threshold)
            for stream in hit.tolist():
                found[stream].append(end)
            again = (hit[:, None] * self._shape[1] + np.arange(self._shape[1])).reshape(-1)
            if len(again):
                self.detector.restart(np.zeros(len(again), np.int64), again)
            if once and all(found):
                break
        return found

    def codes(self, values: Floats) -> np.ndarray:
        """Return the bins of values, uint8[S * F, n]."""
        flat = values.reshape(-1, values.shape[2])
        return np.stack([_codes(stream, row) for stream, row in zip(self.streams, flat, strict=True)])


def learned(values: Floats) -> DriftStream:
    """Return the stream of a history float64[n]: of numbers, or of few values as categories."""
    kinds = np.unique(values)
    if len(kinds) > DISTINCT:
        return detectors(values[None])[0][0]
    codes = np.searchsorted(kinds, values).astype(np.int32)
    return category_stream("x", codes, [str(kind) for kind in kinds.tolist()])


def _codes(stream: DriftStream, values: Floats) -> np.ndarray:
    if stream.range is not None:
        return np.asarray(stream.of_numbers(values))
    kinds = [float(kind) for kind in stream.values]
    return np.asarray(stream.of_vocabulary(stream.values)[np.searchsorted(kinds, values)])


def drift(name: str, task: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the false alarms and the delays of each change, as `rivals.alarms` does."""
    made = Drift(task["history"], THRESHOLDS[name])
    false = sum(len(one) for one in made.alarms(task["quiet"], once=False))
    state, found = made.detector.snapshot(), {}
    for change in (key for key in task if key.startswith("after/")):
        made.detector.restore(state)
        found[change] = np.array([one[0] if one else np.inf for one in made.alarms(task[change], once=True)])
    return found | {"false": np.array([false, float(len(task["quiet"]) * task["quiet"].shape[2])])}


def drift_cost(events: int) -> float:
    """Return the microseconds that an event of FEATURES numbers takes: bins, counts and evidence, COSTED events a pane."""
    rng = np.random.default_rng(9)
    made = Drift(rng.standard_normal((1, FEATURES, 20_000)), np.inf)
    values = rng.standard_normal((1, FEATURES, events))
    start = time.process_time()
    made.alarms(values, once=False, pane=COSTED)
    return (time.process_time() - start) / events * 1e6


@cache
def _reference() -> Reference:
    return fitted(named(np.random.default_rng(8).standard_normal((20_000, FEATURES))))


def odd_cost(events: int) -> tuple[float, float, float]:
    """Return the microseconds to score an event of FEATURES numbers, to name the reasons of those flagged too, or of all."""
    rng, reference = np.random.default_rng(9), _reference()
    threshold = reference.calibration.threshold(FLAGGED)
    chunks = [read(reference, frame(named(rng.standard_normal((CHUNK, FEATURES))))) for _ in range(-(-events // CHUNK))]
    took = []
    for least in (np.inf, threshold, -np.inf):
        start = time.process_time()
        for chunk in chunks:
            rows = np.flatnonzero(reference.ood.score(chunk.numbers, chunk.categories) >= least)
            if len(rows):
                reference.ood.reasons(chunk.numbers, chunk.categories, rows)
        took.append((time.process_time() - start) / (len(chunks) * CHUNK) * 1e6)
    return took[0], took[1], took[2]
