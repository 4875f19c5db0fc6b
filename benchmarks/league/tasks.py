"""What the league is played on: streams that change at a known event, and sets of which one class is left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from benchmarks.evidence.drift import waveform
from benchmarks.evidence.ood import SETS
from benchmarks.oddness import left_out_splits

Floats = np.ndarray
Task = Mapping[str, Floats]
"""`history` and `quiet` float64[S, F, n] of S streams of F features, then `after/CHANGE`, each as if it came next."""

CHANGES = ("+0.25 sd", "+0.5 sd", "+1 sd", "sd x1.5", "10 % stuck")
FEATURES_OF_RBF = 10


@dataclass(frozen=True, slots=True)
class Size:
    """How much is played: streams, and events of history, before and after the change."""

    streams: int
    history: int
    quiet: int
    after: int

    def smaller(self, streams: int, most: int) -> "Size":
        """Return fewer streams of at most so many events in each part."""
        return Size(min(streams, self.streams), *(min(most, part) for part in (self.history, self.quiet, self.after)))


FULL = Size(100, 20_000, 25_000, 10_000)
QUICK = Size(1, 250, 100, 100)


def gaussian(size: Size) -> Task:
    """Return normal numbers of which mean or spread change, or of which a tenth is stuck at one value."""
    rng = np.random.default_rng(1)
    history, quiet, after = (rng.standard_normal((size.streams, 1, n)) for n in (size.history, size.quiet, size.after))
    stuck = np.where(rng.random(after.shape) < 0.1, 0.3, after)
    changed = (after + 0.25, after + 0.5, after + 1, after * 1.5, stuck)
    return {"history": history, "quiet": quiet} | {f"after/{k}": v for k, v in zip(CHANGES, changed, strict=True)}


def sea(size: Size) -> Task:
    """Return the errors of a naive Bayes classifier on River's SEA, whose concept changes; 1 is an error.

    It is fitted on as many events before the history; River's own examples feed its detectors so.
    """
    from sklearn.naive_bayes import GaussianNB  # noqa: PLC0415 - a package of developers

    parts = []
    for seed in range(size.streams):
        x, y = _river_stream("SEA", ({"variant": 0}, {"variant": 3}), seed, (2 * size.history + size.quiet, size.after))
        model = GaussianNB().fit(x[: size.history], y[: size.history])
        parts.append((model.predict(x) != y)[None, size.history :].astype(np.float64))
    return _cut(np.stack(parts), size)


def rbf(size: Size) -> Task:
    """Return River's RandomRBF, 10 features, whose centres all move."""
    given = {"n_features": FEATURES_OF_RBF}
    parts = [
        _river_stream("RandomRBF", (given, given), seed, (size.history + size.quiet, size.after))[0].T
        for seed in range(size.streams)
    ]
    return _cut(np.stack(parts), size)


def waves(size: Size) -> Task:
    """Return the waveform protocol, 21 features, whose template changes at event 5000 (or half of what is asked for)."""
    half = min(5000, size.history + size.quiet)
    parts = np.stack([waveform(seed, 10_000).T[:, 5000 - half :] for seed in range(size.streams)])
    return _cut(parts, Size(size.streams, half // 2, half // 2, size.after))


def _cut(values: Floats, size: Size) -> Task:
    """Cut streams float64[S, F, n] whose change comes after history and quiet."""
    change = size.history + size.quiet
    parts = {"history": values[..., : size.history], "quiet": values[..., size.history : change]}
    return parts | {"after/change": values[..., change : change + size.after]}


def _river_stream(
    name: str, kinds: tuple[Mapping[str, int], Mapping[str, int]], seed: int, events: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Return x float64[n, F] and y float64[n] of a stream of River that changes kind after the first of two numbers of events."""
    from river.datasets import synth  # noqa: PLC0415 - an optional extra

    made = getattr(synth, name)
    seeds = {"seed": seed} if name == "SEA" else {"seed_model": seed, "seed_sample": seed}
    later = {key: value + 1000 for key, value in seeds.items()}
    # One after the other: its ConceptDriftStream overflows where an abrupt change comes after more than 177 events.
    streams = iter(made(**seeds, **kinds[0])), iter(made(**later, **kinds[1]))
    pairs = [pair for stream, n in zip(streams, events, strict=True) for pair in islice(stream, n)]
    return np.array([list(x.values()) for x, _ in pairs]), np.array([float(y) for _, y in pairs])


def odd_sets(seeds: int, most: int) -> dict[str, dict[str, Floats]]:
    """Return for each of scikit-learn's sets its splits, `most` of them at most: `N/reference`, `N/test` and `N/odd`, which of the test is odd."""
    found: dict[str, dict[str, Floats]] = {}
    for name in SETS:
        found[name] = dict(_named(name, seeds, most))
    return found


def _named(name: str, seeds: int, most: int) -> Iterator[tuple[str, Floats]]:
    for place, (reference, test, odd) in enumerate(islice(left_out_splits(name, seeds), most)):
        yield from ((f"{place}/reference", reference), (f"{place}/test", test), (f"{place}/odd", odd))
