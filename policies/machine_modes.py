"""Machines for what is proven otherwise than event by event: by panes, by plain rules, by comparing two variants."""

import numpy as np

from interlock.policies.alarm import Alarms
from interlock.policies.alarm_rules import RuleAlarms, bank_of
from interlock.policies.budget import burn_levels, share_of, threshold_levels
from interlock.policies.context import Context
from interlock.policies.machine import Ints, Machine, Mask, Slices
from interlock.policies.measures import Measure
from interlock.policies.measures_compare import CompareMeasure
from interlock.policies.measures_pane import PaneMeasure


class PaneMachine(Machine):
    """Judges a share of which one pane is one observation."""

    def __init__(self, context: Context, measure: PaneMeasure) -> None:
        """Start before the first pane."""
        super().__init__(context, measure)
        self._panes = measure

    def complete(self, table: Ints) -> Ints:
        """Return a judged pane's rows with its shares in their bins."""
        return self._panes.complete(table)

    def restate(self, pane: int, slices: Slices) -> bool:  # noqa: ARG002 - as every machine
        """Take in nothing: a pane is one observation, which has been made."""
        return False


class CompareMachine(Machine):
    """Judges the difference of two variants: a slot is heard while both have predictions."""

    def heard(self, rows: Ints) -> Mask:
        """Return which rows are news of their slot: a pane that lacks a variant says nothing about the difference."""
        both: Mask = self.measure.seen(rows) > 0
        return both


class RuleMachine(Machine):
    """Judges by a plain rule over the window: `evidence: threshold` and `evidence: burn_rate`."""

    def make_alarms(self) -> Alarms:
        """Return alarms that read the window's counts."""
        context = self.context
        bank = bank_of(context.thresholds, context.stale_panes)
        return RuleAlarms(len(self.slots), bank, self._levels, latched=context.slo.action_on_breach == "kill_switch")

    def evidence_of(self, pane: int, told: Ints) -> Ints:  # noqa: ARG002 - a rule needs none
        """Return no evidence, int64[S, 1]."""
        return np.zeros((len(told), 1), np.int64)

    def _levels(self, pane: int) -> Ints:  # noqa: ARG002 - the window is of that pane
        share = share_of(self.context, self.measure)
        if self.context.slo.evidence == "burn_rate" and share is not None:
            return burn_levels(self.context, share, self.window)
        return threshold_levels(self.context, self.measure, self.window)


def machine(context: Context, measure: Measure) -> Machine:
    """Return the machine that an SLO's way of proof asks for, before its first pane."""
    if isinstance(measure, CompareMeasure):
        return CompareMachine(context, measure)
    if isinstance(measure, PaneMeasure):
        return PaneMachine(context, measure)
    return Machine(context, measure) if context.slo.in_budget else RuleMachine(context, measure)
