"""Detectors of other libraries, on arrays: imported where the library is, or run in a process of its own.

`python rivals.py NAME IN.npz OUT.npz` does the latter, so this file imports numpy and, inside functions, one library.
"""

import math
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray


WARM = 200
"""Values that each detector has seen before it is timed: KSWIN does nothing until its window is full."""

BATCH = 500
"""Events that whylogs profiles at once."""

FEATURES = 20
"""Features of an event whose cost is timed."""


class Watch:
    """A detector of one stream: `update` says whether it detects; `copy` is one in the same state."""

    def __init__(self, made: Any, *, resets: bool, shift: float = 0.0) -> None:
        """Take a library's detector; `resets`: it must be told to after a detection. `shift` is added to each value."""
        self.made, self.resets, self.shift = made, resets, shift

    def learn(self, values: Floats) -> None:
        """Take in a history float64[n]; what it detects there does not count."""
        for value in values.tolist():
            self.update(value)

    def update(self, value: float) -> bool:
        """Take in a value."""
        if self.resets:
            self.made.update(value=value + self.shift)
            hit = bool(self.made.status["drift"])
            if hit:
                self.made.reset()
            return hit
        self.made.update(value)
        return bool(self.made.drift_detected)

    def copy(self) -> "Watch":
        """Return a detector in the same state."""
        return Watch(pickle.loads(pickle.dumps(self.made)), resets=self.resets, shift=self.shift)  # noqa: S301 - its own


class Profiles(Watch):
    """whylogs: each BATCH of values has a profile, which is compared with that of the history by its KS test."""

    def __init__(self, reference: Any = None) -> None:
        """Start without a history, or with its profile."""
        super().__init__(None, resets=False)
        self.reference, self.batch = reference, list[float]()

    def learn(self, values: Floats) -> None:
        """Take in a history."""
        self.reference = self._profile(values)

    def update(self, value: float) -> bool:
        """Take in a value; a batch is drift where its p-value is below the library's own threshold, .05."""
        from whylogs.viz.drift.column_drift_algorithms import KS  # noqa: PLC0415

        self.batch.append(value)
        if len(self.batch) < BATCH:
            return False
        found = KS().calculate(self._profile(np.array(self.batch)), self.reference, with_thresholds=True)
        self.batch.clear()
        return bool(found.drift_category == "DRIFT")

    def copy(self) -> "Profiles":
        """Return one with the same reference; a change begins with a batch."""
        return Profiles(self.reference)

    @staticmethod
    def _profile(values: Floats) -> Any:
        import pandas as pd  # noqa: PLC0415
        import whylogs  # noqa: PLC0415

        return whylogs.log(pd.DataFrame({"x": values})).view().get_column("x")


def river(name: str, **params: Any) -> Callable[[], Watch]:
    """Return what makes a detector of River."""

    def make() -> Watch:
        from river import drift  # noqa: PLC0415 - only where it is asked for

        return Watch(getattr(drift, name)(**params), resets=False)

    return make


def frouros(name: str, **params: Any) -> Callable[[], Watch]:
    """Return what makes a detector of frouros; its ADWIN refuses sums below zero, so 10 is added to each value."""

    def make() -> Watch:
        from frouros.detectors import concept_drift  # noqa: PLC0415

        config = getattr(concept_drift, f"{name}Config")(**params)
        return Watch(getattr(concept_drift, name)(config=config), resets=True, shift=10.0)

    return make


DRIFT: dict[str, tuple[str, Callable[[], Watch], int]] = {
    "River ADWIN": ("delta .002 (default)", river("ADWIN"), 1000),
    "River ADWIN 1e-5": ("delta 1e-5", river("ADWIN", delta=1e-5), 1000),
    "River PageHinkley": ("defaults: threshold 50", river("PageHinkley"), 1000),
    "River KSWIN": ("defaults: alpha .005, window 100", river("KSWIN", seed=1), 3),
    "frouros ADWIN": ("delta .002 (default)", frouros("ADWIN"), 10),
    "frouros PageHinkley": ("defaults: lambda 50", frouros("PageHinkley"), 20),
    "whylogs KS": ("batches of 500 against the history, p < .05 (default)", Profiles, 20),
    "frouros KSWIN": ("defaults: alpha 1e-4, window 100", frouros("KSWIN", seed=1), 3),
}
"""Detectors of change: settings in words, what makes one, and how many streams its speed lets it watch."""

FAST = 1000
"""A rival that may watch so many streams watches all, else so many features."""
SLOW = 10
"""A rival that watches fewer than this takes long: it has a window of 100, and need not see all of the history."""
LEAST = 5000
"""Events without a change, and after one, that such a rival sees."""


def alarms(make: Callable[[], Watch], task: Mapping[str, Floats], most: int) -> dict[str, Floats]:
    """Return the false alarms of a detector, and the delays of each change, inf where it was missed.

    `task` has `history` and `quiet`, float64[S, F, n], and changes `after/NAME`; an alarm of any of F features is one. What
    is learnt from the history counts nowhere; alarms in `quiet` are false.
    """
    streams = (
        min(max(1, most // task["history"].shape[1]), len(task["history"])) if most < FAST else len(task["history"])
    )
    if most < SLOW:
        task = {
            name: values[..., -10 * WARM :] if name == "history" else values[..., :LEAST]
            for name, values in task.items()
        }
    found: dict[str, list[float]] = {name: [] for name in task if name.startswith("after/")}
    false = 0
    for s in range(streams):
        watches = [make() for _ in task["history"][s]]
        for watch, row in zip(watches, task["history"][s], strict=True):
            watch.learn(row)
        false += len(_feed(watches, task["quiet"][s]))
        for name, delays in found.items():
            delays.append(_first([one.copy() for one in watches], task[name][s]))
    seen = float(streams * task["quiet"].shape[2])
    return {name: np.array(delays) for name, delays in found.items()} | {"false": np.array([false, seen])}


def _feed(watches: Sequence[Watch], values: Floats) -> set[int]:
    hits = set()
    for watch, row in zip(watches, values.tolist(), strict=True):
        hits |= {place for place, value in enumerate(row) if watch.update(value)}
    return hits


def _first(watches: Sequence[Watch], values: Floats) -> float:
    """Return after how many events one of them detects."""
    for place, event in enumerate(values.T.tolist()):
        if any([watch.update(value) for watch, value in zip(watches, event, strict=True)]):  # noqa: C419 - all see it
            return place + 1.0
    return math.inf


def _bare(watches: Sequence[Watch], values: Sequence[Sequence[float]]) -> None:
    """Let detectors see events as one would write it by hand, so that what wraps them here is no load on them."""
    made = [watch.made for watch in watches]
    if isinstance(watches[0], Profiles):
        _feed(watches, np.array(values).T)
    elif watches[0].resets:
        for event in values:
            for one, value in zip(made, event, strict=True):
                one.update(value=value + 10.0)
                _ = one.status["drift"]
    else:
        _bare_river(made, values)


def _bare_river(made: Sequence[Any], values: Sequence[Sequence[float]]) -> None:
    for event in values:
        for one, value in zip(made, event, strict=True):
            one.update(value)
            _ = one.drift_detected


def cost(make: Callable[[], Watch], events: int) -> float:
    """Return the microseconds that an event of FEATURES numbers takes."""
    values = np.random.default_rng(9).standard_normal((events, FEATURES)).tolist()
    watches = [make() for _ in range(FEATURES)]
    for watch in watches:
        watch.learn(np.random.default_rng(8).standard_normal(WARM))
    start = time.process_time()
    _bare(watches, values)
    return (time.process_time() - start) / events * 1e6


def run(name: str, data: Mapping[str, Floats], events: int) -> dict[str, Floats]:
    """Return what a rival says of a task, and `cost`, microseconds an event; NaN if no `events` are to be timed."""
    _, make, most = DRIFT[name]
    timed = min(events, 20_000 if most > SLOW else 100)
    return alarms(make, data, most) | {"cost": np.array(cost(make, timed) if timed else np.nan)}


if __name__ == "__main__":
    rival, given, written, timed = sys.argv[1:]
    with np.load(Path(given)) as arrays:
        said = run(rival, dict(arrays), int(timed))
    np.savez(Path(written), **said)  # type: ignore[arg-type]
