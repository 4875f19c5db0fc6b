"""Cohorts whose verdicts also say what the indicator would be if only the inputs had changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interlock.policies.machine import Machine
from interlock.policies.only_inputs import COLUMNS, KEY, only_inputs
from interlock.policies.plan import INPUTS_FROM
from interlock.policies.said import Said
from interlock.policies.window import PaneWindow
from interlock.records import Verdict
from interlock.streams.axes import CohortAxis
from interlock.streams.feed import Feed, Part, by_cell
from interlock.streams.tally import CELL


class InputsAxis(CohortAxis):
    """Judges as its base does, and adds to what has been said: no state, control, page or id can follow from it.

    Predictions are taken as they arrive, over the window that ends where the verdict stands: the newest of them have no
    label yet, so that the estimate is ahead of the value by `labels.maturity`.
    """

    def __init__(self, machine: Machine, made: Feed, joined: Feed) -> None:
        """Start before the model's first pane."""
        super().__init__(machine, made, joined)
        self._one = machine
        self._estimates = only_inputs(machine.context)
        slots = 0 if self._estimates is None else len(machine.slots)
        self._inputs = PaneWindow(slots, COLUMNS, machine.context.window_panes)

    def _predicted(self, pane: int, parts: Sequence[Part]) -> None:
        """Take in predictions; what is judged never sees what the estimate is made from."""
        split = [(table, legend, table[CELL] >= INPUTS_FROM) for table, legend in parts]
        super()._predicted(pane, [(table[:, ~own], legend) for table, legend, own in split])
        if self._estimates is not None:
            self._take(pane, [(table[:, own], legend) for table, legend, own in split if own.any()])

    def _take(self, pane: int, parts: Sequence[Part]) -> None:
        table = np.zeros((len(self._one.slots), COLUMNS), np.int64)
        for name, row in by_cell(parts, INPUTS_FROM, COLUMNS).items():
            table[self._one.slots.slot(name)] += row
        self._inputs.add(pane, table, np.zeros((len(table), 0), np.int64))

    def _step(self, pane: int) -> list[Said]:
        said = super()._step(pane)
        if self._estimates is not None:
            self._inputs.expire(pane)
            for one in said:
                one.verdicts = self._told(one.verdicts)
        return said

    def _told(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Return verdicts with their estimates; a slot that was freed meanwhile had no prediction for a window."""
        taken = self._one.slots.taken()
        slots = {self._one.scope_of(self._one.slots.names[slot]).get("slice"): slot for slot in taken}
        return [self._with(verdict, slots.get(verdict.scope.get("slice"))) for verdict in verdicts]

    def _with(self, verdict: Verdict, slot: int | None) -> Verdict:
        found = None if slot is None or self._estimates is None else self._estimates.told(self._inputs.sums[slot])
        if found is None:
            return verdict
        return verdict.model_copy(update={"evidence": {**verdict.evidence, KEY: found}})

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return super().snapshot() | {"inputs": self._inputs.snapshot()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis; one from before there were estimates has none of this."""
        super().restore(saved)
        if "inputs" in saved and self._estimates is not None:
            self._inputs.restore(saved["inputs"])
