"""Panes that need two chains by arrival: predictions with reports of abuse, or with the labels that came meanwhile."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interlock.policies.machine import Machine
from interlock.policies.measures_staleness import StalenessMeasure
from interlock.policies.plan import HIT
from interlock.policies.said import Said
from interlock.streams.axes import NOTHING, ArrivalAxis
from interlock.streams.feed import Feed, Part, Rows, by_slice
from interlock.streams.tally import CELL, COHORT, COUNT, SLICE, Ints


class PairedAxis(ArrivalAxis):
    """Judges by arrival pane what two chains have counted; `chain` is the one beside the predictions."""

    def __init__(self, machine: Machine, feed: Feed, other: Feed, chain: str) -> None:
        """Start before the model's first pane."""
        super().__init__(machine, feed, lambda parts: by_slice(parts, machine))
        self.chain, self.other = chain, other
        self._paired = machine

    def put(self, predictions: Rows, joined: Rows) -> None:
        """Take in counts of both chains."""
        self.feed.put(predictions)
        self.other.put(joined)

    def feeds(self) -> tuple[Feed, ...]:
        """Return what feeds it."""
        return self.feed, self.other

    def reached(self, through: int, joined: int) -> int:
        """Return the tick up to which it can judge: both chains have passed it."""
        return min(through, joined)

    def advance(self, start: int, through: int, joined: int) -> list[Said]:
        """Judge the panes that both chains have passed."""
        return super().advance(start, min(through, joined), joined)

    def _resting(self, pane: int) -> bool:
        return pane not in self.other.parts and super()._resting(pane)

    def _ahead(self, pane: int) -> int | None:
        found = [place for place in (self.feed.next(pane), self.other.next(pane)) if place is not None]
        return min(found, default=None)

    def _step(self, pane: int) -> list[Said]:
        made, beside = self.feed.take(pane), self.other.take(pane)
        self._busy = pane if made or beside else self._busy
        self.machine.judge(pane, self._counted(pane, made, beside))
        return self._said(pane, news=bool(made or beside) or self.machine.pending)

    def _counted(self, pane: int, made: Sequence[Part], beside: Sequence[Part]) -> Mapping[str, Ints]:  # noqa: ARG002 - one axis needs it
        return self._read([*made, *beside]) if made or beside else NOTHING

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return super().snapshot() | {"other": self.other.snapshot()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        super().restore(saved)
        self.other.restore(saved["other"])


class StalenessAxis(PairedAxis):
    """Remembers of each slice the youngest prediction that has a label; before any label, the first prediction."""

    def __init__(self, machine: Machine, feed: Feed, other: Feed, chain: str) -> None:
        """Start without labels."""
        super().__init__(machine, feed, other, chain)
        self.youngest: dict[str, int] = {}

    def _counted(self, pane: int, made: Sequence[Part], beside: Sequence[Part]) -> Mapping[str, Ints]:
        measure = self._paired.measure
        if not isinstance(measure, StalenessMeasure):
            raise TypeError(type(measure))
        for table, legend in beside:
            labels = table[:, table[CELL] == HIT]
            cohort = labels[COHORT] // self.feed.ratio
            pairs, place = np.unique(np.stack([labels[SLICE], cohort]), axis=1, return_inverse=True)
            sums = np.bincount(place.reshape(-1), labels[COUNT], pairs.shape[1])
            pairs = pairs[:, sums > 0]  # a correction may take a label away
            for code in np.unique(pairs[0]).tolist():
                name, newest = legend.slices[code], int(pairs[1][pairs[0] == code].max())
                self.youngest[name] = max(self.youngest.get(name, newest), newest)
        width = self._paired.context.pane_ms
        counted = by_slice([*made, *beside], self._paired)
        busy = {name: row for name, row in counted.items() if measure.seen(row[None])[0]}
        return {name: measure.aged(row, self._age(name, pane) * width) for name, row in busy.items()}

    def _age(self, name: str, pane: int) -> int:
        return max(0, pane - self.youngest.setdefault(name, pane))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return super().snapshot() | {"youngest": dict(self.youngest)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""
        super().restore(saved)
        self.youngest = dict(saved["youngest"])
