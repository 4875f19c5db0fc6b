"""Reports of abuse into counts: each event reported counts once, by slice and, if asked, by category."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.expressions import TRUE
from interlock.policies.expressions import UNDECIDED as UNKNOWN
from interlock.policies.plan import HIT, UNDECIDED, Kind, Plan, Series
from interlock.streams.admitting import admit
from interlock.streams.batch import AbuseReports, Ids
from interlock.streams.budget import Budget
from interlock.streams.clock import Times
from interlock.streams.names import Names, slice_codes
from interlock.streams.store import Store
from interlock.streams.tally import NO_COHORT, Ints, OpenCounts, tabulate

Mask = NDArray[np.bool_]

FIRST_SLICE = 1 << 10
"""Codes of the abuse chain below it are categories; above it, slices."""


class Reports:
    """The reported events of one shard, so that a second report of an event is known to be one."""

    def __init__(self, plan: Plan, budget: Budget | None = None) -> None:
        """Start empty; an event is remembered for as long as its label may come."""
        self._memory = max(plan.policy.dedup_ttl, plan.policy.labels.join_ttl)
        self.store = Store({}, budget)

    def fresh(self, ids: Ids, times: Times) -> Mask:
        """Return which reports are the first of their event, bool[n]."""
        return admit(self.store, ids, times, self._memory).fresh

    def forget(self, watermark: int) -> None:
        """Forget events that were reported too long ago to be remembered."""
        while (block := self.store.oldest()) is not None and watermark > block.latest + self._memory:
            self.store.forget()

    def count(self, plan: Plan, batch: AbuseReports, keys: tuple[Ints, Ints], at: tuple[Names, OpenCounts]) -> None:
        """Count fresh reports; `keys` are their panes and codes of models, int64[n] each."""
        names, into = at
        for place, series in plan.counted:
            if series.kind is not Kind.ABUSE:
                continue
            where = _where(series, batch)
            pieces = slice_codes(batch.columns, series.by, batch.rows(), names) + FIRST_SLICE
            for rows, cell in ((where == TRUE, HIT), (where == UNKNOWN, UNDECIDED)):
                if rows.any():
                    (pane, model, piece), sums = tabulate([keys[0][rows], keys[1][rows], pieces[rows]])
                    into.add((pane, NO_COHORT, place, model, piece, cell), sums[0])

    def snapshot(self, *, blocks: bool = False) -> dict[str, Any]:
        """Return the state as plain values and arrays; with `blocks` as in `Store`."""
        return {"store": self.store.snapshot(blocks=blocks)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same plan."""
        self.store.restore(saved["store"])


def _where(series: Series, batch: AbuseReports) -> NDArray[np.int8]:
    """Return whether a series counts each report: TRUE, FALSE or UNDECIDED; another category never counts."""
    found = np.full(batch.rows(), TRUE, np.int8)
    if series.where is not None:
        found = series.where.evaluate(batch.columns, batch.rows())
    if not series.field:
        return found
    named = np.array([text == series.field for text in batch.category.values] or [False])[batch.category.codes]
    return np.where(named, found, np.int8(0))
