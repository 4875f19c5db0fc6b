"""Service level objectives and the indicators that they may name."""

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from interlock.detectors.river_detectors import NAMES as RIVER_NAMES
from interlock.policies.model_base import Action, Cel, Name, Part, Scalar, Text, parse_names
from interlock.policies.scalars import DAY, Op, PositiveDuration, TargetText, Window


@dataclass(frozen=True, slots=True)
class Indicator:
    """What an SLO measures.

    `chain` says what counts it: `predictions` (by arrival pane) `joined` (predictions with their labels, by cohort
    pane), `abuse` (predictions and reports) or `labels` (predictions and labels, both by arrival pane). `kind` says which test judges it. `ops` are the directions that can be tested. `needs` says what it needs.
    `of` is what one observation is called.
    """

    chain: Literal["predictions", "joined", "abuse", "labels"]
    kind: Literal[
        "proportion", "ece", "ece_p95", "mean", "auroc", "abuse", "staleness", "drift", "never_event", "river"
    ]
    ops: tuple[Op, ...]
    needs: str
    per: bool = True
    min_events: int = 100
    of: str = "event"


AT_MOST: tuple[Op, ...] = ("<=",)
AT_LEAST: tuple[Op, ...] = (">=",)

CLASSES = "labels, and predictions that say a class"

OF_CLASS = ("precision", "recall", "false_positive_rate", "false_negative_rate")
"""Indicators of one class: the positive one, or the one that `class` names."""

OF_PROBABILITY = ("brier", "log_loss", "auroc", "decision_ece")
"""Indicators of a probability: the score, else the likeliest class's, or the one that `probabilities` gives to `class`."""

CAPPED = ("log_loss", "mae", "rmse")
"""Indicators of losses without a bound: each loss counts as `cap` at most."""

LOG_LOSS_CAP = 10.0
"""What a log loss counts as at most unless `cap` says so: a probability of 0.000045 for what came true."""

NUMBERS = "numbers as labels and as predictions, and `cap`"

RIVER = tuple(f"river.{name}" for name in RIVER_NAMES)
"""Indicators that count what a detector of River detects."""

FLAGS = "OOD flags: a reference, or ood_score and ood.threshold"

INDICATORS = {
    "ood_recall": Indicator("joined", "proportion", AT_LEAST, "audits, OOD flags and labels with `confirmed_ood`"),
    "ood_rate": Indicator("predictions", "proportion", AT_MOST, FLAGS),
    "unseen_rate": Indicator("predictions", "proportion", AT_MOST, "a reference that knows the categories"),
    "abstention_rate": Indicator("predictions", "proportion", AT_MOST, "nothing beyond predictions"),
    "missing_rate": Indicator("predictions", "proportion", AT_MOST, "a reference that knows the features"),
    "range_violations": Indicator("predictions", "proportion", AT_MOST, "a reference that knows the ranges"),
    "ratio": Indicator("predictions", "proportion", (*AT_MOST, *AT_LEAST), "`good`, a CEL condition"),
    "accuracy": Indicator("joined", "proportion", AT_LEAST, CLASSES, of="labelled prediction"),
    "precision": Indicator("joined", "proportion", AT_LEAST, CLASSES, of="labelled positive prediction"),
    "recall": Indicator("joined", "proportion", AT_LEAST, CLASSES, of="positive label"),
    "false_positive_rate": Indicator("joined", "proportion", AT_MOST, CLASSES, of="negative label"),
    "false_negative_rate": Indicator("joined", "proportion", AT_MOST, CLASSES, of="positive label"),
    "label_coverage": Indicator("joined", "proportion", AT_LEAST, "labels", of="due label"),
    "brier": Indicator("joined", "mean", AT_MOST, "scores and labels", of="labelled prediction"),
    "log_loss": Indicator("joined", "mean", AT_MOST, "scores and labels", of="labelled prediction"),
    "mae": Indicator("joined", "mean", AT_MOST, NUMBERS, of="labelled prediction"),
    "rmse": Indicator("joined", "mean", AT_MOST, NUMBERS, of="labelled prediction"),
    "mean": Indicator("predictions", "mean", (*AT_MOST, *AT_LEAST), "`field` and its `range`"),
    "abuse_rate": Indicator("abuse", "abuse", AT_MOST, "reports of abuse"),
    "label_staleness": Indicator("labels", "staleness", AT_MOST, "labels", min_events=1, of="pane"),
    "auroc": Indicator("joined", "auroc", AT_LEAST, "scores and labels", of="pair"),
    "decision_ece": Indicator("joined", "ece", AT_MOST, "scores and labels", min_events=1000),
    "decision_ece_p95": Indicator("joined", "ece_p95", AT_MOST, "scores and labels", per=False, min_events=1000),
    "drift": Indicator("predictions", "drift", ("==",), "a reference that knows the bins", min_events=1000),
    "never_event_violations": Indicator("predictions", "never_event", ("==",), "never_events", per=False),
    **{name: Indicator("predictions", "river", ("==",), "River, and `field`") for name in RIVER},
}
"""The indicators in force, by name."""

SHARES = frozenset(name for name, one in INDICATORS.items() if one.kind == "proportion" and name != "ood_recall")
"""Indicators that are a number of hits among a number of events, and nothing else."""

_WINDOW_SUFFIX = re.compile(r"_(?:[0-9]+(?:ms|[dhms]))+$")


@cache
def _without_window(name: str) -> str:
    """Return an SLO's name without its window suffix; every verdict asks for it."""
    return _WINDOW_SUFFIX.sub("", name)


def parse_per(value: object) -> object:
    """Return `slice`, None, or a list of segment keys; one key may stand without a list."""
    if value == "slice" or value is None:
        return value
    names = parse_names(value)
    if not isinstance(names, tuple | list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("slice, a segment key, or a list of segment keys")
    return tuple(names)


def parse_range(value: object) -> object:
    """Return two numbers as doubles, the lower first."""
    ends = tuple(value) if isinstance(value, tuple | list) else ()
    numbers = [float(end) for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not -math.inf < numbers[0] < numbers[1] < math.inf:  # noqa: PLR2004
        raise ValueError("two numbers, the lower first")
    return tuple(numbers)


RANGE_SCHEMA = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


class Compare(Part):
    """Judge the difference between two variants instead of one of them."""

    variant: Text = Field(description="The variant that is judged, such as canary.")
    to: Text = Field(description="The variant that it is compared with, such as baseline.")


class Burn(Part):
    """One alert on how fast the error budget burns: over a long window, and still over a short one."""

    window: PositiveDuration = Field(description="The long window, such as 1h.")
    short: PositiveDuration | None = Field(
        default=None, description="The short window, so that it ends soon after the failure; a twelfth of the long one."
    )
    factor: float = Field(gt=1, description="How many times as fast as the target allows, such as 14.4.")

    @property
    def short_ms(self) -> int:
        """The short window in milliseconds."""
        return self.short or max(1, self.window // 12)


FAST = {"window": "1h", "factor": 14.4}
SLOW = {"window": "6h", "factor": 6.0}
"""The alerts that the SRE workbook (chapter 5) takes for a month: 2 % of its budget in an hour, 5 % in six."""


class BurnRates(Part):
    """Alerts on burn rates: the fast one pages, the slow one opens a ticket."""

    fast: Burn = Field(
        default_factory=lambda: Burn.model_validate(FAST), description="A burn that pages: 14.4 times over 1h."
    )
    slow: Burn | None = Field(
        default_factory=lambda: Burn.model_validate(SLOW), description="A burn that opens a ticket: 6 times over 6h."
    )


class Slo(Part):
    """One promise: an indicator, its target, the window, and what is done when it is broken."""

    name: Name = Field(description="Name, unique in the policy; implies the indicator: ood_rate_24h means ood_rate.")
    objective: Text = Field(description="What the target is good for, for the person who is paged.")
    indicator: Text | None = Field(default=None, description="What is measured; by default what the name implies.")
    target: TargetText = Field(description='What must hold, such as "<= 0.05".')
    window: Window = Field(description="A duration, or rolling for never-events: since the last release.")
    action_on_breach: Action = Field(description="What is done when the target is proven to be missed.")
    where: Cel | None = Field(default=None, description="CEL: which predictions count; by default all.")
    good: Cel | None = Field(
        default=None, description="CEL, for the indicator ratio: which of them are counted as hits."
    )
    class_: Scalar | None = Field(
        default=None,
        alias="class",
        description="The class that precision, recall and the like are of; else the positive.",
    )
    field: Text | None = Field(
        default=None, description="The number that mean is of, or a detector of River watches, such as features.amount."
    )
    fields: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="The numbers that river.HalfSpaceTrees or river.LODA scores together."
    )
    params: dict[str, Any] | None = Field(
        default=None, description="Parameters of a detector of River, by the names that River gives them."
    )
    range_: Annotated[tuple[float, float], BeforeValidator(parse_range), WithJsonSchema(RANGE_SCHEMA)] | None = Field(
        default=None,
        alias="range",
        description="The range of that number, [low, high]; what lies outside counts as its end.",
    )
    category: Text | None = Field(default=None, description="The category of reports that abuse_rate counts; else all.")
    cap: float | None = Field(
        default=None, gt=0, description="What one error of mae or rmse, or one log loss (10), counts as at most."
    )
    per: Annotated[
        tuple[str, ...] | Literal["slice"] | None,
        BeforeValidator(parse_per),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
        ),
    ] = Field(default=None, description="Judge every slice by itself: slice, or the segment keys of a declared slice.")
    min_events: int | None = Field(
        default=None, ge=1, description="Events below which the verdict is insufficient (100; for ECE 1000)."
    )
    severity: Literal["page", "ticket"] = Field(default="page", description="Whether a breach wakes somebody.")
    evidence: Literal["per_event", "per_pane", "threshold", "burn_rate"] = Field(
        default="per_event",
        description="What proves a breach: each event, or pane, is an observation; or a plain rule outside the budget of "
        "false pages: the value misses the target, or the error budget burns too fast.",
    )
    burn_rate: BurnRates | None = Field(
        default=None, description="Over which windows burn rates are shown, and alerted on with `evidence: burn_rate`."
    )
    dispersion: float | None = Field(
        default=None, ge=1, description="Counts are divided by it, for events that come in clusters (1: independent)."
    )
    compare: Compare | None = Field(default=None, description="Judge a variant against another.")
    stale_after: PositiveDuration | None = Field(
        default=None, description="Silence after which the verdict is no_data; default the window, rolling 24h."
    )

    @property
    def resolved_indicator(self) -> str:
        """The indicator's name: as given, or the SLO's name without its window suffix."""
        return self.indicator or _without_window(self.name)

    @property
    def spec(self) -> Indicator:
        """The indicator in force; KeyError for one that is not."""
        return INDICATORS[self.resolved_indicator]

    @property
    def in_force(self) -> bool:
        """Whether it is judged: comparisons are for shares, so far."""
        return self.compare is None or self.resolved_indicator in SHARES

    @property
    def in_budget(self) -> bool:
        """Whether its pages keep the budget of false pages: plain rules do not."""
        return self.evidence in ("per_event", "per_pane")

    @property
    def burns(self) -> BurnRates:
        """The burn rates that are asked for, else the usual ones."""
        return self.burn_rate or BurnRates()

    @property
    def window_ms(self) -> int:
        """The window in milliseconds; a rolling one shows and goes stale as a day does."""
        return DAY if self.window == "rolling" else self.window

    @property
    def stale_after_ms(self) -> int:
        """Silence in milliseconds after which the verdict is `no_data`."""
        return self.stale_after or self.window_ms

    @property
    def watched(self) -> tuple[str, ...]:
        """The fields that a detector of River watches."""
        return self.fields or ((self.field,) if self.field else ())

    @property
    def span(self) -> tuple[float, float]:
        """The losses, or values, that a mean is of: the lowest and the highest; of `rmse`, squared errors."""
        if self.range_ is not None:
            return self.range_
        name = self.resolved_indicator
        cap = (LOG_LOSS_CAP if name == "log_loss" else 1.0) if self.cap is None else self.cap
        return 0.0, cap * cap if name == "rmse" else cap

    @property
    def limit(self) -> float:
        """The target of a mean on that scale, from 0 to 1; of a comparison, how much more often the variant may fail."""
        if self.compare is not None:
            return -self.target.value if self.target.op == ">=" else self.target.value
        (low, high), value = self.span, self.target.value
        return ((value * value if self.resolved_indicator == "rmse" else value) - low) / (high - low)

    @property
    def least_events(self) -> int:
        """`min_events`, or the indicator's default."""
        return self.min_events or self.spec.min_events
