"""Scores of oddness by other libraries, on arrays: imported where the library is, or run in a process of its own.

`python oddities.py NAME IN.npz OUT.npz EVENTS` does the latter, so this file imports numpy and, inside functions, one library.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray
Score = Callable[[Floats], Floats]
"""Events float64[n, F] -> scores float64[n], odd ones high."""
Fit = Callable[[Floats, int], Score]
"""A reference float64[n, F] and a seed -> a score."""

FEATURES = 20
"""Features of an event whose cost is timed."""


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


ALONE, AT_ONCE = "PyOD ECOD", "PyOD ECOD at once"
"""ECOD is fitted anew on what it scores: on an event at a time; or on all of a test, where what is often odd is not odd to it."""

ODD: dict[str, tuple[str, Fit]] = {
    "scikit-learn IsolationForest": ("100 trees", forest),
    "River HalfSpaceTrees(10)": ("10 trees, scaled, window 250", trees(10)),
    "River HalfSpaceTrees(25)": ("25 trees, scaled, window 250", trees(25)),
    ALONE: (
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
    """Return what a rival says of splits, and `cost`, microseconds an event."""
    fit = pyod("ecod", "ECOD") if name == AT_ONCE else ODD[name][1]
    return scored(fit, data) | {"cost": np.array(scoring_cost(fit, min(events, 200 if "ECOD" in name else 5000)))}


if __name__ == "__main__":
    rival, given, written, timed = sys.argv[1:]
    with np.load(Path(given)) as arrays:
        said = run(rival, dict(arrays), int(timed))
    np.savez(Path(written), **said)  # type: ignore[arg-type]
