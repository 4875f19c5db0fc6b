"""How long judging takes: a month of one SLO over 200 slices, its tallies given."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import workload
from interlock.policies.context import Learned
from interlock.policies.plan import HIT, N
from interlock.policies.planning import make_plan
from interlock.streams.clock import BEGINNING
from interlock.streams.judge import Judge
from interlock.streams.tally import NO_COHORT, TallyRecord

SLICES = 200
EVENTS, RATE = 10, 0.01
"""Mean events of a slice in a pane, and how many of them are flagged: well within the target."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged, and how long it took."""

    panes: int
    verdicts: int
    seconds: float


def month(days: int = 30) -> Judged:
    """Judge a month of panes of ten minutes."""
    plan = make_plan(workload.slices_policy(SLICES))
    judge = Judge(plan, Learned({}, scores_ood=True), 1)
    records = list(_records(days * 86_400_000 // plan.tick, plan.of_slo[0][0], workload.START // plan.tick))
    start = time.perf_counter()
    verdicts = sum(len(said.verdicts) for record in records for said in judge.apply([record]))
    return Judged(len(records), verdicts, time.perf_counter() - start)


def _records(panes: int, series: int, first: int) -> Iterator[TallyRecord]:
    rng = np.random.default_rng(0)
    names = tuple(f'["tenant-{number:03d}"]' for number in range(SLICES))
    after = BEGINNING
    for pane in range(first, first + panes):
        n = rng.poisson(EVENTS, SLICES)
        counts = np.concatenate([_counts(pane, (series, N), n), _counts(pane, (series, HIT), rng.binomial(n, RATE))], 1)
        yield TallyRecord(0, "predictions", after, pane, counts, (("claims", "3"),), names)
        after = pane


def _counts(pane: int, cell: tuple[int, int], counts: np.ndarray) -> np.ndarray:
    slices = np.flatnonzero(counts)
    table = np.empty((7, len(slices)), np.int64)
    table[:] = np.broadcast_arrays(pane, NO_COHORT, cell[0], 0, slices, cell[1], counts[slices])
    return table
