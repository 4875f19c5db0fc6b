"""How long drift takes: one judging tick of 200,000 streams, and counting per event."""

import resource
import time
from dataclasses import dataclass

import numpy as np

from interlock.detectors.drift import BINS, KNOWN, Bins
from interlock.policies.context import Context, Learned
from interlock.policies.load import load_policy
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.said import Moment
from interlock.streams.counting_bins import Groups, add_bins
from interlock.streams.drift_bins import DriftStream
from interlock.streams.fit_drift import number_stream
from interlock.streams.tally import OpenCounts

STREAMS = 20
"""Features of a slice."""
EVENTS = 100
"""Events of a slice in a tick."""
POLICY = """
model: claims
slices: [{by: [tenant], max: %d}]
slos: [{name: drift_7d, objective: o, target: "== 0", window: 7d, action_on_breach: notify, severity: ticket, per: tenant}]
"""


@dataclass(frozen=True, slots=True)
class Ticks:
    """A median tick: seconds to judge and to say what changed; resident MiB at most; microseconds of counting an event."""

    slices: int
    judge: float
    conclude: float
    resident: float
    counting: float


def ticks(slices: int, repeats: int) -> Ticks:
    """Judge quiet traffic of so many slices of 20 features."""
    rng, machine = np.random.default_rng(0), machine_of(slices)
    judged, said = [], []
    for pane in range(repeats):
        rows = quiet(rng, slices)
        start = time.perf_counter()
        machine.judge(pane, rows)
        middle = time.perf_counter()
        machine.conclude(Moment(pane, pane))
        judged.append(middle - start)
        said.append(time.perf_counter() - middle)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Ticks(slices, float(np.median(judged)), float(np.median(said)), resident, counting(100_000, repeats))


def machine_of(slices: int) -> DriftMachine:
    """Return a machine for so many slices of 20 features."""
    bins = tuple(
        Bins(f"features.f{f}", _labels(), (0, 0, *[1250] * (BINS - KNOWN)), True, 3e-4) for f in range(STREAMS)
    )
    policy = load_policy((POLICY % slices).encode(), "bench")
    return DriftMachine(Context(policy, policy.slos[0], "claims", Learned({}, reference_id="r", drift=bins)))


def quiet(rng: np.random.Generator, slices: int) -> dict[str, np.ndarray]:
    """Return a pane's counts of traffic without drift, by slice."""
    known = BINS - KNOWN
    counts = np.zeros((slices, 2 + STREAMS * BINS), np.int64)
    counts[:, 0] = EVENTS
    drawn = rng.multinomial(EVENTS, np.full(known, 1 / known), (slices, STREAMS))
    counts[:, 2:].reshape(slices, STREAMS, BINS)[:, :, KNOWN:] = drawn
    return {f'["t{i}"]': row for i, row in enumerate(counts)}


def counting(events: int, repeats: int) -> float:
    """Return the microseconds that finding and counting the bins of an event of 20 features takes, in chunks of 8192."""
    rng = np.random.default_rng(1)
    streams = [number_stream(f"f{f}", rng.standard_normal(20_000)) for f in range(STREAMS)]
    values, slices = rng.standard_normal((STREAMS, 8192)), np.sort(rng.integers(0, 50, 8192))
    zero = np.zeros(50, np.int64)
    groups, every = Groups(slices, [zero, zero, np.arange(50)], slices), np.ones(8192, np.bool_)
    took = []
    for _ in range(max(repeats, events // 8192)):
        start, into = time.perf_counter(), OpenCounts()
        add_bins(into, 1, (_codes(streams, values), every), groups)
        took.append(time.perf_counter() - start)
    return float(np.median(took)) / 8192 * 1e6


def _codes(streams: list[DriftStream], values: np.ndarray) -> np.ndarray:
    return np.array([stream.of_numbers(row) for stream, row in zip(streams, values, strict=True)], np.uint8)


def _labels() -> tuple[str, ...]:
    return ("missing", "outside", *(f"bin {i + 1}" for i in range(BINS - KNOWN)))
