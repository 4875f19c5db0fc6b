"""What an OOD score with its reason costs, beside scikit-learn's IsolationForest on the same events, in one run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.tables import fitted, frame, named, read
from interlock.policies.load import load_policy
from interlock.streams.scoring import Scorer

FEATURES, FACTORS, REFERENCE = 20, 6, 20_000
BATCH = 8192
POLICY = (
    "{version: 1, model: m, human_goal: g, proxies: [{name: p, over_optimised: o}], owners: {model: a, on_call: b, "
    "risk: c}, runbook_url: 'https://r.example', false_pages_per_year: 1, slos: [{name: ood_rate_24h, "
    "objective: kept, target: '<= 0.05', window: 24h, action_on_breach: notify}]}"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What scored; microseconds an event, the median of the runs."""

    what: str
    us: float


def costs(events: int, repeats: int) -> Iterator[Cost]:
    """Yield ours, with the reasons of what is flagged, and the forest's of 100 trees fitted on the same rows."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - a package of developers

    familiar, traffic = _numbers(REFERENCE, 1), _numbers(events, 2)
    reference = fitted(named(familiar))
    scorer = Scorer(load_policy(POLICY.encode(), "benchmark"), reference, b"secret")
    batches = [read(reference, frame(named(traffic[at : at + BATCH]))) for at in range(0, events, BATCH)]

    def ours() -> None:
        for batch in batches:
            scorer.reasons(batch, np.flatnonzero(scorer.score(batch).flagged))

    yield Cost(f"OOD score of {FEATURES} numbers, with reasons", _us(ours, events, repeats))
    forest = IsolationForest(n_estimators=100, random_state=0).fit(familiar)
    yield Cost("IsolationForest, 100 trees", _us(lambda: forest.score_samples(traffic), events, repeats))


def _numbers(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(FACTORS, FEATURES))
    return rng.normal(size=(rows, FACTORS)) @ mixing + 0.3 * rng.normal(size=(rows, FEATURES))


def _us(work: Callable[[], object], events: int, repeats: int) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) / events * 1e6)
    return median(found)
