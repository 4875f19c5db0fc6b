"""Outcomes that carry their predictions (`labels.joined_at_source`): both are counted, and no prediction is remembered for it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interlock.policies.plan import Plan
from interlock.streams.batch import Embedded, Outcomes, Predictions
from interlock.streams.clock import Times
from interlock.streams.join import Join
from interlock.streams.names import Names
from interlock.streams.remembering import kept, remember, slices_in
from interlock.streams.scoring import Scorer
from interlock.streams.segments import Segments
from interlock.streams.store import Rows
from interlock.streams.tally import Ints, OpenCounts

Mask = NDArray[np.bool_]
Coding = Callable[[Predictions], Ints]
"""Gives predictions the codes of their models and versions."""


class AtSource:
    """Enters the predictions that a chunk of outcomes carries into a join that lives no longer than the chunk."""

    def __init__(self, plan: Plan, scorer: Scorer, names: Names, version: Coding) -> None:
        """Slices get their codes from `names`, models and versions from `version`, as on the topic of predictions."""
        self._plan, self._kept, self._version = plan, kept(plan), version
        self._segments = Segments(plan.of_outcomes, scorer, names)

    def ours(self, batch: Outcomes) -> tuple[Mask, dict[str, int]]:
        """Return which outcomes may count, bool[n], and how many of the others there are, by the names of counters.

        Not those of another model than the policy's; nor corrections, since what they correct is not remembered.
        """
        foreign, model = np.zeros(batch.rows(), np.bool_), self._plan.policy.model
        if batch.embedded is not None and model is not None:
            theirs = batch.embedded.batch.model
            others = np.array([name != model for name in theirs.values] or [False])
            foreign[batch.embedded.present] = others[theirs.codes]
        revised = ~foreign & (batch.revision > 0)
        return ~foreign & ~revised, {"other_model": int(foreign.sum()), "revision_ignored": int(revised.sum())}

    def enter(self, join: Join, batch: Outcomes, times: Times) -> tuple[Join, Rows]:
        """Return a join with the predictions that n outcomes carry, and the row of each, int64[n].

        -1 where there is none, or none that is near enough in time for the two to match (STREAM.md §2).
        """
        chunk, rows = join.embedding(), np.full(batch.rows(), -1, np.int64)
        if batch.embedded is not None:
            near = self._near(batch.embedded, times)
            made = batch.embedded.batch.take(near)
            if made.rows():
                rows[np.flatnonzero(batch.embedded.present)[near]] = self._remember(chunk, made)
        return chunk, rows

    def _near(self, embedded: Embedded, times: Times) -> Mask:
        made, said, labels = _effective(embedded.batch), times.effective[embedded.present], self._plan.policy.labels
        near: Mask = (said <= made + labels.join_ttl) & (made <= said + labels.orphan_ttl)
        return near

    def _remember(self, join: Join, batch: Predictions) -> Rows:
        e = _effective(batch)
        times = Times(e, e, np.zeros(len(e), np.bool_))
        rows = join.predictions.append(batch.ids.h1, batch.ids.h2, e)
        for segment, mine in self._segments.split(e // self._plan.tick):
            own = np.ones(len(e), np.bool_) if mine is None else mine
            part = batch.take(own)
            chunk = segment.chunk(part, times.take(own), self._version(part))
            counted = segment.counter.predictions(chunk, OpenCounts())  # counted when they came themselves
            remember(join, segment.plan, chunk, rows[own], slices_in(self._kept, counted, chunk.rows()))
        return rows


def _effective(batch: Predictions) -> Ints:
    """Return the effective times of predictions that no watermark holds back, int64[n] ms; `appended` is their outcomes'."""
    return np.minimum(batch.ts, batch.appended)
