"""How fast a shard scores and counts predictions of 20 features in 1000 slices; they are decoded before."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import workload
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.streams.batch import Frame, Outcomes, Predictions
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.reference import Reference
from interlock.streams.scoring import Scorer
from interlock.streams.shard import Shard
from interlock.streams.tally import Ints

SLICES = 1000
SECRET = b"benchmark"
READ = workload.START + 10 * 366 * 86_400_000
SPACING = 10
"""Milliseconds between events: 60,000 in a pane of ten minutes, 60 of each slice."""
LOW = 0.01
"""Scores below it stand for flags in bare counting."""
BARE, COUNTED, LABELLED = "bare np.bincount", "scored and counted", "with labels and calibration of each slice"


@dataclass(frozen=True, slots=True)
class Row:
    """What ran; predictions per second, the median of the runs."""

    what: str
    rate: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """A policy and reference, and the decoded batches of predictions with the outcomes of each, if it waits for any."""

    plan: Plan
    reference: Reference
    batches: list[tuple[Predictions, Outcomes | None]]


def decoded(events: int, *, labels: bool = False) -> Decoded:
    """Decode events; that takes no part in what is timed."""
    policy, reference = workload.counting_policy(SLICES, labels=labels), workload.reference()
    plan = make_plan(policy)
    decode, decode_label = prediction_decoder(reference.wanted(plan.paths), SECRET), outcome_decoder(SECRET)
    batches: list[tuple[Predictions, Outcomes | None]] = []
    for made in workload.predictions(events, spacing=SPACING):
        batch = _spread(made)
        told = decode_label(Frame(workload.outcomes_of(batch), 0, READ))[0] if labels else None
        batches.append((decode(Frame(batch, 0, READ))[0], told))
    return Decoded(plan, reference, batches)


def _spread(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give the events 1000 tenants, some a hundred times as busy as others."""
    rng = np.random.default_rng(batch.num_rows)
    share = 1 / (10 + np.arange(SLICES))
    names: Any = pa.array([f"tenant-{number:03d}" for number in range(SLICES)])
    codes: Any = pa.array(rng.choice(SLICES, batch.num_rows, p=share / share.sum()).astype(np.int32))
    tenant = pa.DictionaryArray.from_arrays(codes, names).dictionary_decode()
    segment = pa.StructArray.from_arrays([tenant], ["tenant"])
    return batch.set_column(batch.schema.get_field_index("segment"), "segment", segment)


def through(of: Decoded) -> list[Ints]:
    """Take all events through a new shard; return the tables of counts int64[7, n] that leave it."""
    shard = Shard(0, of.plan, Scorer(of.plan.policy, of.reference, SECRET))
    records = []
    for made, told in of.batches:
        records += shard.predictions(made).records
        if told is not None:
            records += shard.outcomes(told).records
    last = max(clock.latest for clock in shard.clocks.values())
    records += shard.finish(last // of.plan.tick).records
    return [record.counts for record in records]


def bare(of: Decoded) -> list[Ints]:
    """Count events by pane, tenant and flag with np.bincount alone; which ones are flagged is given, and nothing is kept.

    Returns:
        Per batch, counts int64[P, 2, S] of all events and of those with a low score, which stand for flagged ones.
    """
    found = []
    for made, _ in of.batches:
        tenant = made.columns["segment.tenant"].text
        pane = made.ts // of.plan.tick
        first = int(pane.min())
        span = int(pane.max()) - first + 1
        code = ((pane - first) * 2 + (made.score < LOW)) * SLICES + tenant
        found.append(np.bincount(code, minlength=2 * span * SLICES).reshape(span, 2, SLICES))
    return found


def speed(work: Callable[[], object], events: int, repeats: int) -> float:
    """Return events per second, the median of some runs."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        rates.append(events / (time.perf_counter() - start))
    return median(rates)


def rows(events: int, repeats: int) -> Iterator[Row]:
    """Yield the rows of the table: bare counting first."""
    plain, labelled = decoded(events), decoded(events, labels=True)
    yield Row(BARE, speed(lambda: bare(plain), events, repeats))
    yield Row(COUNTED, speed(lambda: through(plain), events, repeats))
    yield Row(LABELLED, speed(lambda: through(labelled), events, repeats))
