"""The machine that judges an SLO, by its indicator."""

import numpy as np

from interlock.detectors.ece import EceEvidence, groups_equal_width
from interlock.policies.context import Context
from interlock.policies.machine import Machine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.measures import RecallMeasure
from interlock.policies.measures_ece import EceMeasure
from interlock.policies.measures_rate import RateMeasure

AnyMachine = Machine | P95Machine | NeverMachine


def build(context: Context) -> AnyMachine:
    """Return a machine before its first pane."""
    target, phi = context.slo.target, context.dispersion
    match context.slo.resolved_indicator:
        case "ood_rate" | "unseen_rate" | "abstention_rate" | "missing_rate" | "range_violations" | "ratio":
            return Machine(context, RateMeasure(target, phi))
        case "ood_recall":
            return Machine(context, RecallMeasure(target.value, context.learned.audit_probabilities, phi))
        case "decision_ece":
            return Machine(context, _ece(context))
        case "decision_ece_p95":
            return P95Machine(context, _ece(context))
        case "never_event_violations":
            return NeverMachine(context)
        case unknown:
            raise ValueError(unknown)


def _ece(context: Context) -> EceMeasure:
    groups = context.learned.groups
    fixed = groups_equal_width() if groups is None else np.array(groups, np.int64)
    evidence = EceEvidence(context.slo.target.value, fixed, context.dispersion)
    return EceMeasure(evidence, context.cap + 1, context.window_panes)
