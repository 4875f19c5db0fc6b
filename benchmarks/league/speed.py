"""Ratios of speed, each of two things timed in one run, and what judging 200,000 streams takes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.league import oddities, ours, rivals
from interlock.detectors.drift import BINS, Design, DriftDetector
from interlock.detectors.e_bh import e_bh

SLICES = 10_000
"""With FEATURES streams each."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was timed, what came out, the target."""

    what: str
    figure: str
    target: str


def speeds(events: int, slices: int = SLICES) -> Iterator[Speed]:
    """Yield the rows; `events` are timed of the fast ones."""
    alone, flagged, every = ours.odd_cost(events)
    yield Speed("OOD score of 20 features, reasons of the 1 % flagged", f"{flagged:.2f} µs an event", "2 µs")
    yield Speed("score alone; reasons of all events", f"{alone:.2f} µs; {every:.2f} µs", "")
    score, learn = oddities.trees_cost(min(events, 2000))
    yield Speed(
        "of River HalfSpaceTrees(10), which scores and learns", f"{flagged / learn:.3f} ({learn:.1f} µs)", "0.1"
    )
    yield Speed("of it if it only scores", f"{flagged / score:.3f} ({score:.1f} µs)", "")
    adwin = rivals.cost(rivals.DRIFT["River ADWIN"][1], min(events, 20_000))
    counted = counting(events)
    yield Speed("bins and counts of drift, 20 features", f"{counted:.2f} µs an event", "")
    yield Speed("River ADWIN, 20 features, of that", f"{adwin / counted:.1f} times ({adwin:.1f} µs)", "10 times")
    seconds, megabytes = tick(slices)
    streams = f"{slices * rivals.FEATURES:,} streams judged in one tick"
    yield Speed(streams, f"{seconds * 1e3:.0f} ms, {megabytes:.0f} MB of state", "250 ms, 1 GiB")


def counting(events: int) -> float:
    """Return the microseconds an event of FEATURES numbers takes until it is counted."""
    rng = np.random.default_rng(9)
    made = ours.Drift(rng.standard_normal((1, rivals.FEATURES, 20_000)), np.inf)
    values = rng.standard_normal((1, rivals.FEATURES, events))
    start = time.process_time()
    codes = made.codes(values)
    places = np.arange(rivals.FEATURES)[:, None] * BINS
    np.bincount((places + codes).reshape(-1), minlength=rivals.FEATURES * BINS)
    return (time.process_time() - start) / events * 1e6


def tick(slices: int) -> tuple[float, float]:
    """Return the seconds to judge `slices` x FEATURES streams once, 100 events each, and the megabytes of their state."""
    rng = np.random.default_rng(9)
    streams = [ours.learned(values) for values in rng.standard_normal((rivals.FEATURES, 20_000))]
    detector = DriftDetector([Design.of(stream.bins) for stream in streams], slices)
    counts = rng.multinomial(100, np.full(BINS - 2, 1 / (BINS - 2)), (slices, rivals.FEATURES)).astype(np.int64)
    counts = np.concatenate([np.zeros((slices, rivals.FEATURES, 2), np.int64), counts], axis=2)
    busy, took = np.arange(slices), []
    for _ in range(3):
        start = time.process_time()
        detector.step(counts, busy)
        e_bh(detector.m, 1e6, detector.m.size)
        took.append(time.process_time() - start)
    state = detector.snapshot()
    return float(np.median(took)), sum(part.nbytes for part in state.values()) / 1e6
