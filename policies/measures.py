"""How each indicator reads its counts: evidence of a pane, and value, interval and proof over the window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interlock.detectors import recall
from interlock.detectors.mirror import Mirror
from interlock.policies.alarm import Bank
from interlock.policies.measures_base import WithoutMemory
from interlock.policies.panes import Thresholds
from interlock.policies.plan import (
    AUDITABLE,
    CONFIRMED,
    FLAGGED,
    MISSED,
    REVIEWED,
    SELECTED,
    SETTLED,
    UNDECIDED,
)

ALPHA = 0.05
"""Level of the intervals that are shown and that `met` rests on (VERDICTS.md §2)."""

IDENTIFIED = 0.95
"""Share of flagged events reviewed, and of due audits settled, from which recall is identified."""

SELECTION_NATS = float(np.log(1000.0))
"""Evidence from which the number of audits no longer fits their probability."""

MOST_UNDECIDED = 0.05
"""Share of events whose `where` could not be decided, above which a verdict is `unidentified`."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of S slots over the window: value float64[S] (NaN: none), events n, effective events, and what they prove."""

    value: Floats
    n: Ints
    effective: Floats
    missed: Mask
    proven: Mask
    unidentified: Mask


class Measure(Protocol):
    """One indicator with its target. Tables are int64[S, width]: cells of S slots."""

    width: int

    def column(self, cell: int) -> int:
        """Return the column of a series' cell."""

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""

    def seen(self, table: Ints) -> Ints:
        """Return the predictions that count, int64[S]."""

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return labels due and found, int64[S] each; zeros for an indicator without labels."""

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return the labels that a pane may wait for until maturity, and those that are there, int64[S] each."""

    def log_bad(self, pane: int, table: Ints) -> Ints:
        """Return the evidence of a judged pane, int64[S, K]; a measure with a memory takes the pane in."""

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane."""

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the intervals of the values of these slots, float64[S] each, from their sums."""

    def details(self, row: Ints) -> dict[str, object]:
        """Return counts worth showing beside a verdict."""

    def expire(self, pane: int) -> None:
        """Let what has left the window go, as of an empty pane."""

    def restart(self, slots: Mask) -> None:
        """Forget what was remembered of these slots beyond the window."""

    def snapshot(self) -> dict[str, Any]:
        """Return what is remembered beyond the window, as plain values and arrays."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""


class RecallMeasure(WithoutMemory):
    """Recall of the OOD flags from reviews and audits, weighted by the audit probabilities."""

    def __init__(self, target: float, probabilities: tuple[float, ...], dispersion: float) -> None:
        """Judge `recall >= target`; without audits nothing is identified, and probability 1 stands in for evidence."""
        self._target, self._phi, self._pis = target, dispersion, probabilities
        self._levels = len(probabilities)
        self._evidence = recall.RecallEvidence.build(target, probabilities or (1.0,), dispersion)
        self.width = 4 + 4 * max(1, self._levels)

    def column(self, cell: int) -> int:
        """Return the column of a series' cell: flagged cells, then four per audit level, then undecided."""
        if cell == UNDECIDED:
            return self.width - 1
        return cell if cell < 10 else cell - 10 + 3  # noqa: PLR2004 - as plan.audit_cell numbers them

    def bank(self, thresholds: Thresholds, stale_panes: int) -> Bank:
        """Return what its alarms need."""
        good = self._evidence.good_weights
        return Bank(thresholds, self._evidence.bad_weights, lambda: Mirror(good), stale_panes)

    def _level(self, table: Ints, what: int) -> Ints:
        """Return `what` of each audit level, int64[S, L]."""
        return table[:, 3 + what : self.width - 1 : 4]

    def seen(self, table: Ints) -> Ints:
        """Return scored predictions: flagged ones and those that might have been audited."""
        seen: Ints = table[:, FLAGGED] + self._level(table, AUDITABLE).sum(axis=1)
        return seen

    def labels(self, table: Ints) -> tuple[Ints, Ints]:
        """Return reviews and audits due, and those done."""
        due = table[:, FLAGGED] + self._level(table, SELECTED).sum(axis=1)
        return due, table[:, REVIEWED] + self._level(table, SETTLED).sum(axis=1)

    def awaited(self, table: Ints) -> tuple[Ints, Ints]:
        """Return reviews and audits due, and those done."""
        return self.labels(table)

    def log_bad(self, pane: int, table: Ints) -> Ints:  # noqa: ARG002 - no memory, so no need of the pane
        """Return the evidence of a pane, int64[S, 6]; an unsettled audit says nothing."""
        return self._evidence.log_bad(table[:, CONFIRMED], self._level(table, MISSED))

    def log_good(self, row: Ints) -> Ints:
        """Return the mirrored evidence of one slot's pane, int64[5]; an unsettled audit counts as a miss."""
        table = row[None]
        good: Ints = self._evidence.log_good(table[:, CONFIRMED], self._worst(table))[0]
        return good

    def _worst(self, table: Ints) -> Ints:
        # Where labels are judged as they arrive, more may be settled in a pane than were drawn in it.
        unsettled = np.maximum(self._level(table, SELECTED) - self._level(table, SETTLED), 0)
        worst: Ints = self._level(table, MISSED) + unsettled
        return worst

    def estimate(self, sums: Ints) -> Estimate:
        """Return what a window's sums say."""
        hits, misses = sums[:, CONFIRMED], self._level(sums, MISSED)
        pis = self._pis or (1.0,)
        value = recall.value(hits, misses, pis)
        weight, square = hits.astype(np.float64), hits.astype(np.float64)
        for level, pi in enumerate(pis):
            weight = weight + misses[:, level] / pi
            square = square + misses[:, level] / pi**2
        effective = weight**2 / np.maximum(square, 1.0) / self._phi
        lower, _ = recall.interval(hits, self._worst(sums), pis, ALPHA, self._phi)
        n = hits + misses.sum(axis=1)
        return Estimate(value, n, effective, value < self._target, lower >= self._target, ~self._identified(sums))

    def _identified(self, sums: Ints) -> Mask:
        if not self._pis:
            return np.zeros(len(sums), np.bool_)
        selected, settled = self._level(sums, SELECTED), self._level(sums, SETTLED)
        reviewed = sums[:, REVIEWED] >= IDENTIFIED * sums[:, FLAGGED]
        audited = settled.sum(axis=1) >= IDENTIFIED * selected.sum(axis=1)
        drawn = np.zeros(len(sums))
        for level, pi in enumerate(self._pis):
            drawn = drawn + recall.selection_log_e(selected[:, level], self._level(sums, AUDITABLE)[:, level], pi)
        decided = sums[:, -1] <= MOST_UNDECIDED * (self.seen(sums) + sums[:, -1])
        identified: Mask = reviewed & audited & (drawn < SELECTION_NATS) & decided
        return identified

    def interval(self, table: Ints, slots: Sequence[int]) -> tuple[Floats, Floats]:  # noqa: ARG002 - the sums say it all
        """Return the intervals of weighted recall; unsettled audits are left out."""
        hits, misses = table[:, CONFIRMED], self._level(table, MISSED)
        return recall.interval(hits, misses, self._pis or (1.0,), ALPHA, self._phi)

    def details(self, row: Ints) -> dict[str, object]:
        """Return reviews and audits: due, done, and what they found."""
        table = row[None]
        due, missed = self._level(table, SELECTED), self._level(table, MISSED)
        return {
            "flagged": int(row[FLAGGED]),
            "reviewed": int(row[REVIEWED]),
            "hits": int(row[CONFIRMED]),
            "audits_due": int(due.sum()),
            "audits_settled": int(self._level(table, SETTLED).sum()),
            "audited_misses": int(missed.sum()),
            "undecided": int(row[-1]),
            **self._bounds(table),
        }

    def _bounds(self, table: Ints) -> dict[str, object]:
        """Return the value if all reviews and audits that are not settled found nothing missed, and if each found a miss."""
        pis, open_flags = self._pis or (1.0,), table[:, FLAGGED] - table[:, REVIEWED]
        right = recall.value(table[:, CONFIRMED] + np.maximum(open_flags, 0), self._level(table, MISSED), pis)[0]
        wrong = recall.value(table[:, CONFIRMED], np.maximum(self._worst(table), self._level(table, MISSED)), pis)[0]
        shown = {"if_right": float(right), "if_wrong": float(wrong)}
        return {name: None if np.isnan(value) else value for name, value in shown.items()}
