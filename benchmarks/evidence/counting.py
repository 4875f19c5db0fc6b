"""A16: how fast predictions are scored and counted in 1000 slices. The speed is for the full form alone to say."""

import numpy as np

from benchmarks.counting import BARE, COUNTED, LABELLED, SLICES, Decoded, decoded, rows, through
from benchmarks.evidence.registry import Measured, Size, acceptance
from interlock.policies.plan import N
from interlock.streams.tally import CELL, COUNT, SERIES, SLICE

LEAST = 400_000


@acceptance(
    "A16",
    "Predictions of 20 features are scored for OOD and counted in 1000 slices on one core; they are decoded before. "
    "`python -m benchmarks --counting` prints the same rows.",
    "at least 400,000 events/s",
)
def counted(size: Size) -> Measured:
    """Measure A16; the small form checks only that every event is counted in its slice."""
    if size is Size.SMALL:
        right = _right(decoded(20_000))
        return Measured("counts of every slice are those of np.bincount" if right else "counts differ", right)
    rates = {row.what: row.rate for row in rows(300_000, 3)}
    figure = f"{rates[COUNTED]:,.0f} events/s; {LABELLED} {rates[LABELLED]:,.0f}; {BARE} {rates[BARE]:,.0f}"
    return Measured(figure, rates[COUNTED] >= LEAST)


def _right(of: Decoded) -> bool:
    """Return whether the sizes of slices, sorted, are those that np.bincount finds: slices have other codes here."""
    table = np.concatenate(through(of), axis=1)
    table = table[:, (table[SERIES] == of.plan.of_slo[0][0]) & (table[CELL] == N)]
    by_slice = np.zeros(SLICES + 1, np.int64)
    np.add.at(by_slice, table[SLICE], table[COUNT])
    bare = sum(np.bincount(made.columns["segment.tenant"].text, minlength=SLICES) for made, _ in of.batches)
    return np.array_equal(np.sort(by_slice[by_slice > 0]), np.sort(bare[bare > 0]))
