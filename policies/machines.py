"""The machine that judges an SLO, by its indicator."""

import numpy as np

from interlock.detectors.ece import EceEvidence, groups_equal_width
from interlock.policies.context import Context
from interlock.policies.machine import Machine
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.machine_ece import EceMachine
from interlock.policies.machine_modes import machine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.machine_river import RiverMachine
from interlock.policies.measures import Measure, RecallMeasure
from interlock.policies.measures_abuse import AbuseMeasure
from interlock.policies.measures_compare import CompareMeasure
from interlock.policies.measures_ece import EceMeasure
from interlock.policies.measures_labels import CoverageMeasure, LabelledMeasure
from interlock.policies.measures_mean import AurocMeasure, MeanMeasure
from interlock.policies.measures_pane import PaneMeasure
from interlock.policies.measures_rate import RateMeasure
from interlock.policies.measures_staleness import StalenessMeasure
from interlock.policies.measures_weighted import WeightedMeasure
from interlock.policies.scalars import Target

AnyMachine = Machine | P95Machine | NeverMachine | DriftMachine


def build(context: Context) -> AnyMachine:
    """Return a machine before its first pane; KeyError for an indicator that is not in force."""
    match context.slo.spec.kind:
        case "never_event":
            return NeverMachine(context)
        case "drift":
            return DriftMachine(context)
        case "ece_p95":
            return P95Machine(context, _ece(context))
        case "ece" if context.slo.class_ is None:  # guards know the score, not the probability of a class by name
            return EceMachine(context, _ece(context))
        case "river":
            return RiverMachine(context)
        case _:
            return machine(context, _measure(context))


def _measure(context: Context) -> Measure:
    slo, phi = context.slo, context.dispersion
    match slo.spec.kind:
        case "ece":
            return _ece(context)
        case "mean":
            return MeanMeasure(slo, phi)
        case "auroc":
            return AurocMeasure(slo, phi)
        case "abuse":
            return AbuseMeasure(slo.target.value, phi, context.policy.k_anonymity, context.cap + 1)
        case "staleness":
            return StalenessMeasure(slo.target.value)
        case _:
            return _proportion(context)


def _proportion(context: Context) -> Measure:
    slo, phi = context.slo, context.dispersion
    if slo.resolved_indicator == "ood_recall":
        return RecallMeasure(slo.target.value, context.learned.audit_probabilities, phi)
    if slo.compare is not None:
        # What reads either arm's cells has no target of its own: any one with the same direction does.
        return CompareMeasure(slo, _share(context, Target(slo.target.op, 0.5)), phi)
    share = _share(context, slo.target)
    return PaneMeasure(share) if slo.evidence == "per_pane" else share


def _share(context: Context, target: Target) -> RateMeasure:
    name, phi = context.slo.resolved_indicator, context.dispersion
    if name == "label_coverage":
        return CoverageMeasure(target, phi)
    if context.slo.spec.chain == "joined":
        both = name == "false_positive_rate"
        if context.unlabelled == "ipw":
            return WeightedMeasure(target, phi, context.arriving, both=both)
        return LabelledMeasure(target, phi, context.unlabelled, both=both)
    return RateMeasure(target, phi, fine=name == "unseen_rate")


def _ece(context: Context) -> EceMeasure:
    groups = context.learned.groups
    fixed = groups_equal_width() if groups is None else np.array(groups, np.int64)
    evidence = EceEvidence(context.slo.target.value, fixed, context.dispersion)
    return EceMeasure(evidence, context.cap + 1, context.window_panes)
