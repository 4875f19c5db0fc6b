"""A8: recall from reviews of what was flagged and from audits of one unflagged event in a hundred."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence.registry import Measured, Size, acceptance
from interlock.detectors.recall import RecallEvidence, value
from interlock.policies.alarm import Alarms, Change
from interlock.policies.measures import RecallMeasure
from interlock.policies.panes import Thresholds

TARGET, PI, PREVALENCE = 0.9, 0.01, 0.02
PANES, EVENTS, THRESHOLD = 300, 10_000, 1e4
HOUR = 3_600_000

Ints = NDArray[np.int64]


def simulated(recall: float, streams: int, seed: int) -> tuple[Ints, Ints]:
    """Return hits and audited misses, int64[PANES, streams] each, of a detector with this recall."""
    rng = np.random.default_rng(seed)
    odd = rng.binomial(EVENTS, PREVALENCE, (PANES, streams))
    hits = rng.binomial(odd, recall)
    return hits, rng.binomial(odd - hits, PI)


def paged(hits: Ints, misses: Ints) -> int:
    """Return how many streams the alarms of a recall page at least once."""
    limits = Thresholds(8766.0, THRESHOLD, THRESHOLD / 3, THRESHOLD, PANES, 2, 168, HOUR)
    measure = RecallMeasure(TARGET, (PI,), 1.0)
    alarms = Alarms(hits.shape[1], measure.bank(limits, PANES))
    evidence = RecallEvidence.build(TARGET, (PI,))
    found: set[int] = set()
    for pane in range(PANES):
        log_bad = evidence.log_bad(hits[pane], misses[pane][:, None])
        everyone = np.ones(hits.shape[1], np.bool_)
        changes = alarms.step(pane, log_bad, everyone, lambda _: np.zeros(len(evidence.good_hit), np.int64))
        found |= {one.slot for one in changes if one.change is Change.ENGAGED}
    return len(found)


@acceptance(
    "A8",
    "Audits of one unflagged event in a hundred unveil a recall of .80 that reviews alone read as .997, without false pages.",
    "weighted estimate .80 ± .01; all streams paged; at the boundary (.90) at most 3 %",
)
def audited_recall(size: Size) -> Measured:
    """Simulate streams of 3 million events at recall .80 and at the target, .90; SMALL has a fifth of the streams."""
    streams = 200 if size is Size.FULL else 40
    hits, misses = simulated(0.80, streams, 8)
    estimates = value(hits.sum(axis=0), misses.sum(axis=0)[:, None], (PI,))
    naive = hits.sum() / (hits.sum() + misses.sum())
    pages, false = paged(hits, misses), paged(*simulated(TARGET, streams, 9))
    mean = float(estimates.mean())
    figure = f"{mean:.3f} (unweighted {naive:.3f}); {pages}/{streams} paged; boundary {false}/{streams}"
    return Measured(figure, abs(mean - 0.80) <= 0.01 and pages == streams and false <= max(1, 0.03 * streams))
