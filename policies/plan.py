"""What a policy needs counted: each SLO mapped to a series of integer counts that shards keep."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from interlock.detectors.river_detectors import Setting
from interlock.policies.expressions import Expression
from interlock.policies.model import Policy, Slo
from interlock.policies.model_slo import RIVER


class Kind(StrEnum):
    """What a series counts."""

    EVENTS = "events"
    OOD = "ood"
    UNSEEN = "unseen"
    ABSTENTION = "abstention"
    MISSING = "missing"
    RANGE = "range"
    RATIO = "ratio"
    ACCURACY = "accuracy"
    PRECISION = "precision"
    CLASS_RECALL = "class_recall"
    FALSE_POSITIVES = "false_positives"
    FALSE_NEGATIVES = "false_negatives"
    COVERAGE = "label_coverage"
    RECALL = "recall"
    ECE = "ece"
    BRIER = "brier"
    LOG_LOSS = "log_loss"
    MAE = "mae"
    RMSE = "rmse"
    MEAN = "mean"
    AUROC = "auroc"
    ABUSE = "abuse_rate"
    STALENESS = "label_staleness"
    DRIFT = "drift"
    NEVER = "never"
    RIVER = "river"


KINDS = {
    "ood_rate": Kind.OOD,
    "unseen_rate": Kind.UNSEEN,
    "abstention_rate": Kind.ABSTENTION,
    "missing_rate": Kind.MISSING,
    "range_violations": Kind.RANGE,
    "ratio": Kind.RATIO,
    "accuracy": Kind.ACCURACY,
    "precision": Kind.PRECISION,
    "recall": Kind.CLASS_RECALL,
    "false_positive_rate": Kind.FALSE_POSITIVES,
    "false_negative_rate": Kind.FALSE_NEGATIVES,
    "label_coverage": Kind.COVERAGE,
    "ood_recall": Kind.RECALL,
    "brier": Kind.BRIER,
    "log_loss": Kind.LOG_LOSS,
    "mae": Kind.MAE,
    "rmse": Kind.RMSE,
    "mean": Kind.MEAN,
    "auroc": Kind.AUROC,
    "abuse_rate": Kind.ABUSE,
    "label_staleness": Kind.STALENESS,
    "drift": Kind.DRIFT,
    "decision_ece": Kind.ECE,
    "decision_ece_p95": Kind.ECE,
    "never_event_violations": Kind.NEVER,
    **dict.fromkeys(RIVER, Kind.RIVER),
}

OF_CLASS = (Kind.PRECISION, Kind.CLASS_RECALL, Kind.FALSE_POSITIVES, Kind.FALSE_NEGATIVES)
"""Kinds that ask whether a prediction, or a label, is of one class."""

LABELLED_RATIOS = (Kind.ACCURACY, *OF_CLASS, Kind.COVERAGE, Kind.STALENESS)
"""Shares of joined predictions, or of predictions that should have been joined."""

ERRORS = (Kind.MAE, Kind.RMSE)
"""Losses of predictions that are numbers."""

LOSSES = (Kind.BRIER, Kind.LOG_LOSS, *ERRORS)
"""Means of losses that labels decide."""

LABELLED = (Kind.RECALL, Kind.ECE, *LABELLED_RATIOS, *LOSSES, Kind.AUROC)
"""Kinds that are judged by cohort, from joined outcomes."""

JOINED = (Kind.EVENTS, *LABELLED)
"""Kinds that count in the joined chain."""

UNDECIDED = 1000
"""Cell of events for which the series' `where`, or what it counts, could not be decided."""

N, HIT = 0, 1
"""Cells of `events` (predictions, late), and of the ratios of predictions: events, and those that are hits.

Of `abuse_rate` hits are reports, of which N has no part. Hits of `ood` (of scored events): flagged; of `unseen` (of compared ones): with an unseen value; of `abstention`: without
an answer; of `missing` and `range` (of compared ones): with a feature missing, or outside its range; of `ratio`: good.
"""

DUE, FOUND, ASIDE, SAID, MEANT = range(2, 7)
"""Cells of the ratios of labels beside N and HIT, which labels decide: labels due and found, predictions that need none.

Of those found, SAID are predicted to be of the class, and MEANT are. UNDECIDED counts predictions of which it is not known
what they say, and labels of which it is not known what they mean. `label_coverage` and `label_staleness` have N (due) and HIT (found) only.
"""

LABELS, ORPHANS = 10, 11
"""Cells of `events` in the joined chain."""

VIOLATION, DECIDED, UNDECIDABLE = range(3)
"""Cells of `never`: broken, not broken, could not be decided."""

FLAGGED, REVIEWED, CONFIRMED = range(3)
"""Cells of `recall` for flagged events: due, reviewed, confirmed out of distribution."""

AUDITABLE, SELECTED, SETTLED, MISSED = range(4)
"""Cells of `recall` per audit level: unflagged, chosen for audit, audited, confirmed out of distribution."""

DECISIONS, TOP_LABELS = 1001, 1002
"""Cells of `ece`: in the predictions chain labels due; in the joined chain labels of a top class beside its probability.

The joined chain has 3 * bin + {n, sum of p, sum of y} for the 64 micro-bins.
"""


CLIPPED = 1002
"""Cell of means: values, or losses, that counted as an end of their range because they lay beyond it."""

BINS_FROM = 2000
"""First cell of the bins of means: 2 * bin + {n, sum}; and of `auroc`: 2 * bin + {n, positives}.

Of `drift`: 18 * stream + bin, streams and bins as the reference numbers them; N counts the events.
"""

INPUTS_FROM = 3000
"""First cell, in the predictions chain, of what `policies/only_inputs.py` estimates performance from; of `drift` it is a bin."""


def audit_cell(level: int, what: int) -> int:
    """Return the cell of `recall` that counts `what` (AUDITABLE…) of an audit level."""
    return 10 + 4 * level + what


ALWAYS = -(1 << 62)
"""The tick from which a first policy counts."""


@dataclass(frozen=True, slots=True)
class Series:
    """One set of counts: of a kind, over events (of a `variant`, if one is named) for which `where` holds, split by `by`."""

    kind: Kind
    by: tuple[str, ...] = ()
    where: Expression | None = None
    rule: str = ""
    when: Expression | None = None
    high_impact: bool = False
    good: Expression | None = None
    named: str | float | bool | None = None
    field: str = ""
    span: tuple[float, float] | None = None
    fields: tuple[str, ...] = ()
    river: Setting | None = None
    variant: str = ""

    @property
    def key(self) -> str:
        """Name the series, uniquely in a policy: kind, rule, what it is split by, its filter."""
        by = f"by {','.join(self.by)}" if self.by else ""
        where = f"where {self.where.source}" if self.where else ""
        good = f"good {self.good.source}" if self.good else ""
        named = "" if self.named is None else f"class {json.dumps(self.named)}"
        of = f"of {self.field or ','.join(self.fields)}" if self.field or self.fields else ""
        river = f"{self.river.name} {self.river.params}" if self.river else ""
        span = f"in {json.dumps(self.span)}" if self.span else ""
        arm = f"variant {json.dumps(self.variant)}" if self.variant else ""
        limits = (named, river, of, span, arm, good, where)
        parts = (self.kind.value, self.rule, by, "high_impact" * self.high_impact, *limits)
        return " ".join(part for part in parts if part)

    @property
    def paths(self) -> frozenset[str]:
        """Return the fields it reads."""
        read = set(self.by) | ({"decision"} if self.high_impact else set())
        read |= {"prediction", "decision"} if self.kind is Kind.ABSTENTION else set()
        read |= {"prediction"} if self.kind in (Kind.ACCURACY, Kind.DRIFT, *OF_CLASS, *ERRORS) else set()
        field = self.field * (self.kind is Kind.MEAN)
        read |= {path for path in (field, self.stated, *self.fields, "variant" * bool(self.variant)) if path}
        for expression in (self.where, self.when, self.good):
            read |= expression.paths if expression else set()
        return frozenset(read)

    @property
    def stated(self) -> str:
        """Return the field that states the probability of a class by name; empty: the score, else the likeliest class's."""
        of_probability = self.kind in (Kind.BRIER, Kind.LOG_LOSS, Kind.AUROC, Kind.ECE)
        return f"probabilities.{spelled(self.named)}" if of_probability and self.named is not None else ""


def spelled(named: str | float | bool) -> str:
    """Return a class as a key of `probabilities`: 3 is called 3 and true is called true."""
    if isinstance(named, float) and not isinstance(named, bool) and named.is_integer():
        return str(int(named))
    return named if isinstance(named, str) else json.dumps(named)


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy compiled: the tick, every series, and the series of each SLO by its position in `policy.slos_in_force`.

    `later` are the policies that follow in mid-stream, `live` the series that this one counts (None: all).
    """

    policy: Policy
    tick: int
    series: tuple[Series, ...]
    of_slo: tuple[tuple[int, ...], ...]
    paths: frozenset[str] = field(default=frozenset())
    predicted: Expression | None = None
    since: int = ALWAYS
    live: frozenset[int] | None = None
    later: tuple["Plan", ...] = ()

    @property
    def segments(self) -> tuple["Plan", ...]:
        """The plan and those that follow it in mid-stream, each from its tick `since` on; all have the same series."""
        return (self, *self.later)

    @property
    def counted(self) -> tuple[tuple[int, Series], ...]:
        """The series that this policy counts, by position; after a change the others are those of another policy."""
        named = enumerate(self.series)
        return tuple(named if self.live is None else (one for one in named if one[0] in self.live))

    @property
    def classifies(self) -> bool:
        """Whether any series needs the class that a prediction says."""
        return any(series.kind in (Kind.ACCURACY, *OF_CLASS) for series in self.series)

    @property
    def regresses(self) -> bool:
        """Whether any series needs numbers as predictions and labels."""
        return any(series.kind in ERRORS for series in self.series)

    @property
    def reported(self) -> bool:
        """Whether any series counts reports of abuse."""
        return any(series.kind is Kind.ABUSE for series in self.series)

    @property
    def joins(self) -> bool:
        """Whether any series waits for outcomes."""
        return any(series.kind in LABELLED for series in self.series)

    @property
    def awaits(self) -> bool:
        """Whether predictions are remembered until their outcomes come."""
        return self.joins and not self.policy.labels.joined_at_source

    @property
    def sampled(self) -> bool:
        """Whether shards remember only predictions that `labels.sample` draws: reviews may come of any, labels of these."""
        share = self.policy.labels.sample
        return share is not None and share < 1 and not self.reviewed

    @property
    def reviewed(self) -> bool:
        """Whether any series waits for reviews."""
        return any(series.kind is Kind.RECALL for series in self.series)

    @property
    def of_outcomes(self) -> "Plan":
        """The same, but only what outcomes count is counted."""
        live = frozenset(place for place, series in self.counted if series.kind in JOINED)
        return replace(self, live=live, later=tuple(one.of_outcomes for one in self.later))


def slice_paths(by: Sequence[str]) -> tuple[str, ...]:
    """Return segment keys as field paths."""
    return tuple(f"segment.{key}" for key in by)


def slo_paths(policy: Policy, slo: Slo) -> tuple[str, ...]:
    """Return the field paths whose values are the slots of an SLO; empty for one slot."""
    if slo.resolved_indicator == "decision_ece_p95":
        return (policy.endpoint,) if policy.endpoint else ()
    chosen = policy.slice_set(slo)
    return slice_paths(chosen.by) if chosen else ()
