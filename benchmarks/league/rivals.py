"""Detectors of other libraries, on arrays: imported where the library is, or run in a process of its own.

`python rivals.py NAME IN.npz OUT.npz` does the latter, so this file imports numpy and, inside functions, one library.
"""

import math
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray
Score = Callable[[Floats], Floats]
"""Events float64[n, F] -> scores float64[n], odd ones high."""
Fit = Callable[[Floats, int], Score]
"""A reference float64[n, F] and a seed -> a score."""

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


def alarms(make: Callable[[], Watch], task: Mapping[str, Floats], most: int) -> dict[str, Floats]:
    """Return the false alarms of a detector, and the delays of each change, inf where it was missed.

    `task` has `history` and `quiet`, float64[S, F, n], and changes `after/NAME`; an alarm of any of F features is one. What
    is learnt from the history counts nowhere; alarms in `quiet` are false.
    """
    streams = (
        min(max(1, most // task["history"].shape[1]), len(task["history"])) if most < FAST else len(task["history"])
    )
    found: dict[str, list[float]] = {name: [] for name in task if name.startswith("after/")}
    false = 0
    for s in range(streams):
        watches = [make() for _ in task["history"][s]]
        for watch, row in zip(watches, task["history"][s], strict=True):
            watch.learn(row[-10 * WARM :] if most < SLOW else row)
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


def cost(make: Callable[[], Watch], events: int) -> float:
    """Return the microseconds that an event of FEATURES numbers takes."""
    values = np.random.default_rng(9).standard_normal((events, FEATURES)).tolist()
    watches = [make() for _ in range(FEATURES)]
    for watch in watches:
        watch.learn(np.random.default_rng(8).standard_normal(WARM))
    start = time.process_time()
    for event in values:
        for watch, value in zip(watches, event, strict=True):
            watch.update(value)
    return (time.process_time() - start) / events * 1e6


# -- oddness --------------------------------------------------------------------------------------------------------------


def forest(reference: Floats, seed: int) -> Score:
    """Fit scikit-learn's IsolationForest of 100 trees."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415

    made = IsolationForest(n_estimators=100, random_state=seed).fit(reference)
    return lambda test: -np.asarray(made.score_samples(test))


def trees(count: int) -> Fit:
    """Return what fits River's half-space trees; each feature is scaled to [0, 1] by the reference, as they ask."""

    def fit(reference: Floats, seed: int) -> Score:
        from river import anomaly  # noqa: PLC0415

        low, span = reference.min(axis=0), np.maximum(np.ptp(reference, axis=0), 1e-12)
        made: Any = anomaly.HalfSpaceTrees(n_trees=count, window_size=min(250, len(reference)), seed=seed)
        for row in ((reference - low) / span).tolist():
            made.learn_one(dict(enumerate(row)))
        return lambda test: np.array([made.score_one(dict(enumerate(row))) for row in ((test - low) / span).tolist()])

    return fit


def pyod(module: str, name: str, *, alone: bool = False) -> Fit:
    """Return what fits a detector of PyOD by its defaults; `alone`: it scores one event at a time."""

    def fit(reference: Floats, seed: int) -> Score:
        from importlib import import_module  # noqa: PLC0415

        given = {"random_state": seed} if name == "IForest" else {}
        made = getattr(import_module(f"pyod.models.{module}"), name)(**given).fit(reference)
        if alone:
            return lambda test: np.concatenate([made.decision_function(row) for row in test[:, None]])
        return lambda test: np.asarray(made.decision_function(test))

    return fit


ODD: dict[str, tuple[str, Fit]] = {
    "scikit-learn IsolationForest": ("100 trees", forest),
    "River HalfSpaceTrees(10)": ("10 trees, scaled, window 250", trees(10)),
    "River HalfSpaceTrees(25)": ("25 trees, scaled, window 250", trees(25)),
    "PyOD ECOD": (
        "defaults, an event at a time: it is fitted anew on what it scores",
        pyod("ecod", "ECOD", alone=True),
    ),
    "PyOD HBOS": ("defaults", pyod("hbos", "HBOS")),
    "PyOD IForest": ("defaults", pyod("iforest", "IForest")),
}
"""Scores of oddness: settings in words, and what fits one."""


def scored(fit: Fit, splits: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the scores of each split `KEY/reference`, `KEY/test`; the n-th split has seed n."""
    keys = [name.removesuffix("/test") for name in splits if name.endswith("/test")]
    return {key: fit(splits[f"{key}/reference"], n)(splits[f"{key}/test"]) for n, key in enumerate(keys)}


def scoring_cost(fit: Fit, events: int) -> float:
    """Return the microseconds to score an event of FEATURES numbers, `events` of them at once, fitting aside."""
    rng = np.random.default_rng(9)
    score, test = fit(rng.standard_normal((2000, FEATURES)), 1), rng.standard_normal((events, FEATURES))
    start = time.process_time()
    score(test)
    return (time.process_time() - start) / events * 1e6


def trees_cost(events: int) -> tuple[float, float]:
    """Return the microseconds in which River's half-space trees, 10 of them, score an event, and score and learn it."""
    from river import anomaly  # noqa: PLC0415

    made: Any = anomaly.HalfSpaceTrees(n_trees=10, seed=1)
    rows = [dict(enumerate(row)) for row in np.random.default_rng(9).random((events + 300, FEATURES)).tolist()]
    for row in rows[:300]:
        made.learn_one(row)
    marks = [time.process_time()]
    for row in rows[300:]:
        made.score_one(row)
    marks.append(time.process_time())
    for row in rows[300:]:
        made.score_one(row)
        made.learn_one(row)
    marks.append(time.process_time())
    return (marks[1] - marks[0]) / events * 1e6, (marks[2] - marks[1]) / events * 1e6


def run(name: str, data: Mapping[str, Floats], events: int) -> dict[str, Floats]:
    """Return what a rival says of a task or of splits, and `cost`, microseconds an event; NaN if no `events` are to be timed."""
    if name in ODD:
        _, fit = ODD[name]
        return scored(fit, data) | {"cost": np.array(scoring_cost(fit, min(events, 200 if "ECOD" in name else 5000)))}
    _, make, most = DRIFT[name]
    timed = min(events, 20_000 if most > SLOW else 100)
    return alarms(make, data, most) | {"cost": np.array(cost(make, timed) if timed else np.nan)}


def versions(*packages: str) -> str:
    """Return the versions of these packages, as far as they are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


if __name__ == "__main__":
    rival, given, written, timed = sys.argv[1:]
    with np.load(Path(given)) as arrays:
        said = run(rival, dict(arrays), int(timed))
    np.savez(Path(written), **said)  # type: ignore[arg-type]
