"""A1, A2, A4, A5 and A18: what drift's evidence finds, how soon, and how rarely it is wrong.

The bins are those that `interlock fit` learns and the evidence is that of the machine. Thresholds are the notes' own C for one
stream, so that figures compare; in a policy C follows from the budget of false pages.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from interlock.detectors.drift import BINS, Design, DriftDetector
from interlock.streams.drift_bins import DriftStream
from interlock.streams.fit_drift import Times, number_stream

Floats = np.ndarray
Change = Callable[[np.random.Generator, Floats], Floats]


def detectors(references: Floats, pane: int | None = None) -> tuple[list[DriftStream], DriftDetector]:
    """Return the streams of references float64[S, n], phi from panes of `pane` rows if given, and a detector of one slot."""
    times = Times() if pane is None else Times(np.arange(references.shape[1]) // pane)
    streams = [number_stream("x", values, times) for values in references]
    return streams, DriftDetector([Design.of(stream.bins) for stream in streams], 1)


def step(detector: DriftDetector, codes: np.ndarray) -> Floats:
    """Take in the bins uint8[S, n] of a pane of S streams; return M float64[S]."""
    streams = len(codes)
    counts = np.bincount((np.arange(streams)[:, None] * BINS + codes).reshape(-1), minlength=streams * BINS)
    detector.step(counts.reshape(1, streams, BINS), np.zeros(1, np.int64))
    return np.asarray(detector.m[0])


def binned(streams: list[DriftStream], values: Floats) -> np.ndarray:
    """Return the bins of values float64[S, n]."""
    return np.stack([stream.of_numbers(row) for stream, row in zip(streams, values, strict=True)])


def found(streams: list[DriftStream], detector: DriftDetector, values: Floats, rule: tuple[int, float]) -> Floats:
    """Return after how many events each stream first reaches C, inf where it never does; `rule` is (events a pane, C)."""
    size, threshold = rule
    codes, first = binned(streams, values), np.full(len(values), np.inf)
    for end in range(size, values.shape[1] + 1, size):
        hit = (step(detector, codes[:, end - size : end]) >= threshold) & np.isinf(first)
        first[hit] = end
    return first


def delays(change: Change, streams: int, seed: int) -> Floats:
    """Return the delays of a change after 5000 quiet events: 20,000 rows of reference, panes of 25, C = 1e6."""
    rng = np.random.default_rng(seed)
    learned, detector = detectors(rng.standard_normal((streams, 20_000)))
    values = rng.standard_normal((streams, 5000 + 15_000))
    values[:, 5000:] = change(rng, values[:, 5000:])
    return found(learned, detector, values, (25, 1e6)) - 5000


def _median(change: Change, size: Size) -> tuple[float, float]:
    """Return the median delay and the share of streams that were missed, or were found before the change."""
    got = delays(change, 100 if size is Size.FULL else 24, 2)
    return float(np.median(got)), float(np.mean(np.isinf(got) | (got <= 0)))


@acceptance(
    "A1",
    "Streams that do not drift are rarely found, though the reference is an estimate of 10,000 rows.",
    "at most 10 of 1000 streams found in 100,000 events, panes of 100, C = 1e5",
)
def a1(size: Size) -> Measured:
    """Measure it; small: 30 streams, of which none may be found."""
    streams, events = (1000, 100_000) if size is Size.FULL else (30, 40_000)
    rng, total = np.random.default_rng(1), 0
    for start in range(0, streams, 20):
        learned, detector = detectors(rng.standard_normal((min(20, streams - start), 10_000)))
        total += int(
            np.isfinite(found(learned, detector, rng.standard_normal((len(learned), events)), (100, 1e5))).sum()
        )
    return Measured(f"{total} of {streams} streams in {events:,} events", total <= streams // 100)


@acceptance(
    "A2",
    "A shift of the mean is found after a few hundred events.",
    "median delay at most 700, 200 and 75 events for 0.25, 0.5 and 1 sd (C = 1e6, panes of 25, 20,000 rows of reference)",
)
def a2(size: Size) -> Measured:
    """Measure it."""
    got = [_median(partial(_shifted, d), size)[0] for d in (0.25, 0.5, 1.0)]
    return Measured(", ".join(f"{one:g}" for one in got), all(a <= b for a, b in zip(got, (700, 200, 75), strict=True)))


def _shifted(by: float, _: np.random.Generator, values: Floats) -> Floats:
    return values + by


def _stuck(rng: np.random.Generator, values: Floats) -> Floats:
    return np.where(rng.random(values.shape) < 0.1, 0.3, values)


@acceptance(
    "A4",
    "A change of spread, and a tenth of the traffic stuck at one value, are found too; detectors of the mean miss both.",
    "none missed; median delay at most 250, 250 and 450 events for sd x1.5, sd x0.7, 10 % stuck (C = 1e6)",
)
def a4(size: Size) -> Measured:
    """Measure it."""
    got = [_median(change, size) for change in (lambda _, x: x * 1.5, lambda _, x: x * 0.7, _stuck)]
    held = all(a <= b and not missed for (a, missed), b in zip(got, (250, 250, 450), strict=True))
    return Measured(", ".join(f"{a:g} ({missed:.0%} missed)" for a, missed in got), held)


def _ar1(rng: np.random.Generator, shape: tuple[int, int], rho: float) -> Floats:
    """Return autoregressive rows of variance 1."""
    values = rng.standard_normal(shape)
    for place in range(1, shape[1]):
        values[:, place] = rho * values[:, place - 1] + np.sqrt(1 - rho * rho) * values[:, place]
    return values


@acceptance(
    "A5",
    "Events that depend on each other (AR(1)) are no drift: phi, as the reference's panes tell it, deflates the counts.",
    "at most 1 of 100 streams found at rho .3, .7, .9 in 100,000 events, panes of 100, C = 1e5",
)
def a5(size: Size) -> Measured:
    """Measure it; small: 12 streams of 30,000 events, of which none may be found."""
    streams, events = (100, 100_000) if size is Size.FULL else (12, 30_000)
    rng, got = np.random.default_rng(5), []
    for rho in (0.3, 0.7, 0.9):
        learned, detector = detectors(_ar1(rng, (streams, 20_000), rho), pane=100)
        got.append(int(np.isfinite(found(learned, detector, _ar1(rng, (streams, events), rho), (100, 1e5))).sum()))
    return Measured(", ".join(f"{n} of {streams}" for n in got), max(got) <= streams // 100)


HEIGHTS = np.maximum(6.0 - np.abs(np.arange(1, 22) - np.array([[11], [15], [7]])), 0)
TEMPLATES = (HEIGHTS, HEIGHTS + 6, 6 - HEIGHTS, -HEIGHTS)
PAIRS = np.array([(0, 1), (0, 2), (1, 2)])
EVERY = 5000


def waveform(seed: int, events: int) -> Floats:
    """Return the waveform stream float64[events, 21]: another template every 5000 events (Lukats et al. 2024; Breiman 1984)."""
    rng, now, parts = np.random.default_rng(seed), 0, []
    for start in range(0, events, EVERY):
        if start:
            now = int(rng.choice([k for k in range(4) if k != now]))
        n = min(EVERY, events - start)
        pair, u = PAIRS[rng.integers(0, 3, n)], rng.random(n)[:, None]
        heights = TEMPLATES[now]
        parts.append(u * heights[pair[:, 0]] + (1 - u) * heights[pair[:, 1]] + rng.standard_normal((n, 21)))
    return np.concatenate(parts)


def alarms(values: Floats) -> list[int]:
    """Return where a detector that learns anew from 500 events after each alarm finds drift: panes of 5, mean M >= 1e4."""
    at, n = 0, len(values)
    found_at: list[int] = []
    while at + 500 < n:
        learned, detector = detectors(values[at : at + 500].T)
        at += 500
        codes = binned(learned, values[at : at + EVERY * 2].T)
        while True:
            if at + 5 > n:
                return found_at
            begin = codes.shape[1]
            hit = next((e for e in range(5, begin + 1, 5) if step(detector, codes[:, e - 5 : e]).mean() >= 1e4), None)
            if hit is not None:
                at += hit
                found_at.append(at)
                break
            at += begin - begin % 5
            codes = binned(learned, values[at : at + EVERY * 2].T)
    return found_at


@acceptance(
    "A18",
    "On the waveform protocol, 21 features that change every 5000 events, each change is found within a few events.",
    "mean delay at most 15 events, none missed, at most 1 false alarm in 10 streams of 154,987",
)
def a18(size: Size) -> Measured:
    """Measure it; small: one stream of 15,000 events."""
    streams, events = (10, 154_987) if size is Size.FULL else (1, 15_000)
    late, missed, false = [], 0, 0
    for seed in range(streams):
        got = alarms(waveform(seed, events))
        for change in range(EVERY, events, EVERY):
            after = [a for a in got if change < a <= change + EVERY]
            late += [after[0] - change] if after else []
            missed += not after
        false += len(got) - len({(a - 1) // EVERY for a in got if a > EVERY})
    figure = f"{np.mean(late):.1f} events, {missed} missed, {false} false"
    return Measured(figure, float(np.mean(late)) <= 15 and not missed and false <= 1)
