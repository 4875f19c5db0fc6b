"""What counts the events of each policy: those whose effective time lies in its time (STREAM.md §6)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock.policies.plan import Plan
from interlock.streams.batch import Predictions
from interlock.streams.classes import predicted
from interlock.streams.clock import Times
from interlock.streams.counting import Chunk, Counter, probabilities
from interlock.streams.due import DueList
from interlock.streams.exemplars import Explainer
from interlock.streams.names import Names
from interlock.streams.scoring import Scorer
from interlock.streams.tally import Ints


class Segment(NamedTuple):
    """What counts by one policy."""

    plan: Plan
    scorer: Scorer
    counter: Counter
    explainer: Explainer
    due: DueList

    def chunk(self, batch: Predictions, times: Times, version: Ints) -> Chunk:
        """Return predictions with what is found out about each of them; `version` int64[n] are codes."""
        p, labels, classes = probabilities(batch), self.plan.policy.labels, None
        if self.plan.classifies:
            classes = predicted(batch, labels.positive_values, self.plan.predicted)
        pane, scores = times.effective // self.plan.tick, self.scorer.score(batch)
        return Chunk(batch, scores, pane, version, times.late, p, classes, self.scorer.bins(batch, p))


class Segments:
    """A shard's policies, one after the other."""

    def __init__(self, plan: Plan, scorer: Scorer, names: Names) -> None:
        """Count by the plan and by those that follow it; slices get their codes from `names`."""
        later = [(one, scorer.under(one.policy)) for one in plan.later]
        self.all = [_segment(one, by, names) for one, by in [(plan, scorer), *later]]
        self._since = np.array([one.since for one in plan.later], np.int64)

    def split(self, pane: Ints) -> Iterator[tuple[Segment, NDArray[np.bool_] | None]]:
        """Yield the policies that n events of these panes belong to, with which they are, bool[n]; None: all of them."""
        if not len(self._since):
            yield self.all[0], None
            return
        own = np.searchsorted(self._since, pane, side="right")
        for place in np.unique(own).tolist():
            yield self.all[place], own == place


def _segment(plan: Plan, scorer: Scorer, names: Names) -> Segment:
    counter = Counter(plan, len(scorer.probabilities), names, inputs=scorer.reliable)
    return Segment(plan, scorer, counter, Explainer(plan, scorer, names), DueList(plan, scorer, names))
