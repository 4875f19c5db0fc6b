"""What a good future would look like in counts, and how much of it is needed: the mirrored evidence, run ahead."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.fixed import SCALE, to_nats
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Recovery
from interlock.policies.measures import Measure, RecallMeasure
from interlock.policies.measures_abuse import AbuseMeasure
from interlock.policies.measures_ece import BINS_FROM, EceMeasure
from interlock.policies.measures_mean import MeanMeasure
from interlock.policies.measures_pane import PaneMeasure
from interlock.policies.measures_staleness import StalenessMeasure
from interlock.policies.plan import HIT, MISSED, SELECTED, SETTLED, N

FURTHEST = 5_000
"""Panes that are looked ahead."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the time to come may bring: cells int64[width] of so many panes, in each the same."""

    row: Ints
    panes: int


def is_rate(measure: Measure) -> bool:
    """Return whether a measure is of hits among n events, and of nothing else."""
    told = measure.details(np.zeros(measure.width, np.int64))
    return "hits" in told and not isinstance(measure, RecallMeasure)


def without_a_fault(measure: Measure, row: Ints, op: str) -> Ints | None:
    """Return the same traffic without a fault: no hit (of a `>=` target: all hits), no miss, no miscalibration.

    Of a mean, all values are the best there are. None for a measure whose faults are not known here.
    """
    good = row.copy()
    if is_rate(measure):
        good[measure.column(HIT)] = good[measure.column(N)] if op == ">=" else 0
    elif isinstance(measure, RecallMeasure):
        good[3 + MISSED : measure.width - 1 : 4] = 0
        good[3 + SETTLED : measure.width - 1 : 4] = good[3 + SELECTED : measure.width - 1 : 4]
    elif isinstance(measure, EceMeasure):
        stated = good[BINS_FROM + 1 :: 3]
        good[BINS_FROM + 2 :: 3] = np.minimum((stated + SCALE // 2) // SCALE, good[BINS_FROM::3])
    elif isinstance(measure, MeanMeasure | AbuseMeasure | StalenessMeasure):
        return measure.faultless(row)
    else:
        return None
    return good


def rate_row(measure: Measure, n: int, hits: int) -> Ints | None:
    """Return the cells of a rate from its counts; None for other measures."""
    if not is_rate(measure):
        return None
    row = np.zeros(measure.width, np.int64)
    row[measure.column(N)], row[measure.column(HIT)] = n, hits
    return row


def panes_to(goal: float, recovery: Recovery, measure: Measure, traffic: Traffic, log_v: float | None) -> int | None:
    """Return after how many more panes of this traffic ln V reaches `goal`; None if it does not within FURTHEST.

    What V consists of is not stored: all of it is taken to stand where this traffic speaks most for recovery. A mirror of
    signed evidence starts anew, which can only take longer.
    """
    step = np.asarray(measure.log_good(traffic.row))
    step = step if isinstance(measure, PaneMeasure) else step // max(1, traffic.panes)
    if isinstance(recovery, Mirror):
        best = int(np.argmax(step))
        started = np.full(len(step), -np.inf)
        started[best] = -np.inf if log_v is None else log_v
        recovery.restore({"log_v": started})
        if to_nats(step[best : best + 1])[0] <= 0:
            return None
    for pane in range(1, FURTHEST + 1):
        recovery.step(step)
        if recovery.log_v >= goal:
            return pane
        if pane == FURTHEST // 50 and _hopeless(recovery.log_v, goal):
            return None
    return None


def _hopeless(log_v: float, goal: float) -> bool:
    """Return whether evidence that has grown for so long will not get there in fifty times as long."""
    return not math.isfinite(log_v) or log_v * 50 < goal


MILLION = 1_000_000.0


def least_to_prove(measure: Measure, good: Ints) -> int | None:
    """Return about how many events of faultless traffic in one window prove the target; None beyond a million times."""
    events = int(measure.estimate(good[None]).n[0])
    if not events:
        return None
    low, high = 0.0, 1.0
    while not _proves(measure, good, high):
        low, high = high, 2 * high
        if high > MILLION:
            return None
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if _proves(measure, good, middle) else (middle, high)
    return math.ceil(high * events)


def _proves(measure: Measure, good: Ints, times: float) -> bool:
    row = np.rint(good * times).astype(np.int64)
    return bool(measure.estimate(row[None]).proven[0])
