"""The parts of a policy around its SLOs that are in force."""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from interlock.detectors.logits import Score
from interlock.policies.model_base import Action, Cel, Name, Part, Scalar, Share, Text
from interlock.policies.scalars import Duration, PositiveDuration, RateText, duration_field, parse_date

POSITIVE: tuple[str | float | bool, ...] = (True, 1.0, "1", "true")
"""Label values that are the positive class unless the policy names its own."""


class Proxy(Part):
    """A number that is easy to measure and is not the goal."""

    name: Text = Field(description="The number that people watch, such as auto_rate.")
    over_optimised: Text = Field(description="What goes wrong when it is optimised beyond sense.")


class Owners(Part):
    """Who answers for what."""

    model: Text | None = Field(default=None, description="The team that owns the model.")
    on_call: Text | None = Field(default=None, description="The team that is paged.")
    risk: Text | None = Field(default=None, description="The team that may approve a release.")


class Reference(Part):
    """The data that the model is known to be good on, as `interlock fit` wrote it."""

    file: Text = Field(description="File written by `interlock fit`, relative to the policy.")
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{8,64}$")] | None = Field(
        default=None, description="SHA-256 that the file must have, or at least its first 8 hex digits."
    )


class Labels(Part):
    """When labels are expected and how they are judged."""

    join_ttl: PositiveDuration = duration_field("7d", "How long after its prediction a label may come.")
    orphan_ttl: Duration = duration_field("1h", "How long a label waits for its prediction.")
    maturity: Duration | None = Field(
        default=None, description="Age at which predictions are judged; default what the reference says, else 24h."
    )
    coverage: Share = Field(default=0.95, description="Share of due labels below which a pane gives no evidence.")
    on_unlabelled: Literal["exclude", "hit", "miss", "ipw"] = Field(
        default="exclude", description="How predictions without a label count."
    )
    judge_on: Literal["prediction", "arrival"] = Field(
        default="prediction", description="Whose time decides the pane: the prediction's, or the label's arrival."
    )
    joined_at_source: bool = Field(
        default=False, description="Whether outcomes carry their prediction, so that none is remembered for them."
    )
    sample: Share | None = Field(
        default=None, description="Share of predictions whose labels are due, by keyed hash; default all."
    )
    positive: tuple[Scalar, ...] | None = Field(
        default=None, min_length=1, description='Labels of the positive class; default true, 1, "1" and "true".'
    )

    predicted: Cel | None = Field(
        default=None, description="CEL: true where the model says the positive class; default what `prediction` says."
    )

    @property
    def positive_values(self) -> tuple[str | float | bool, ...]:
        """The labels of the positive class; kinds matter: true is not 1."""
        return POSITIVE if self.positive is None else self.positive


class Ood(Part):
    """When an event is flagged as out of distribution."""

    flag_rate: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.01, description="Share of the reference that the score may flag."
    )
    threshold: float | None = Field(default=None, description="Flag events whose own ood_score is this or more.")
    logits: Score | None = Field(
        default=None,
        description="How logits count in the score, where events bring them: by energy, or by the largest; default not.",
    )


class Audits(Part):
    """Unflagged events that people look at, so that the recall of the flags can be known."""

    rate: Share = Field(description="Probability with which an unflagged event is audited.")
    stratify_by: Literal["ood_score"] | None = Field(
        default=None, description="Audit high scores more often than low ones."
    )


class AcceptDrift(Part):
    """A known change in one stream: drift says no more of it until a date, and all of the others."""

    feature: Text | None = Field(default=None, description="The feature that has changed.")
    stream: Literal["score", "prediction"] | None = Field(
        default=None, description="Or what the model says that has changed."
    )
    slice: Text | None = Field(default=None, description="The slice it changed in, as verdicts name it: tenant=acme.")
    until: Annotated[int, BeforeValidator(parse_date), WithJsonSchema({"type": "string", "format": "date"})] = Field(
        description="The last day, UTC, in event time, such as 2026-12-31."
    )
    reason: Text = Field(description="Why it is no surprise.")

    @property
    def name(self) -> str:
        """The stream's name: `features.<feature>`, `score` or `prediction`."""
        return self.stream or f"features.{self.feature}"


class SliceSet(Part):
    """Slices that an SLO can be judged per."""

    by: tuple[Text, ...] = Field(min_length=1, max_length=4, description="Segment keys whose values make a slice.")
    max: int = Field(default=200, ge=1, le=10_000, description="Slices kept apart; the rest is judged as (other).")


class Release(Part):
    """What it takes to end a control."""

    hold: PositiveDuration = duration_field("2h", "Judged time without a warning before a release.")
    wrong_per_year: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Releases a year that may come while the target is still missed."
    )
    max_hold: PositiveDuration = duration_field("7d", "Time in recovery after which a person is asked.")
    probe: Share | None = Field(default=None, description="Share of traffic that is let through first.")


PassingAction = Literal["degrade_to_safe_mode", "route_to_human_review", "throttle", "notify"]
"""An action that ends by itself."""


def parse_passing(value: object) -> object:
    """Return an action that ends by itself; a kill switch is ended by people only."""
    if value == "kill_switch":
        raise ValueError(f"one of {', '.join(get_args(PassingAction))}: only people end a kill switch")
    return value


class Patience(Part):
    """What is done when something stays unknown."""

    for_: PositiveDuration = Field(alias="for", description="Event time that it may stay unknown.")
    action: Annotated[PassingAction, BeforeValidator(parse_passing)] = Field(
        description="What is done then, until the verdict is another; not kill_switch, which only people end."
    )


class OnUnknown(Part):
    """What is done when the verdict of an SLO in a scope stays unknown; each state has its own time and action."""

    no_data: Patience | None = Field(default=None, description="When no data comes.")
    unidentified: Patience | None = Field(default=None, description="When the data cannot answer.")
    insufficient: Patience | None = Field(default=None, description="When there is too little of it.")

    def by_state(self) -> dict[str, Patience]:
        """Return what is asked for, by the verdict's state."""
        asked = {"no_data": self.no_data, "unidentified": self.unidentified, "insufficient": self.insufficient}
        return {state: patience for state, patience in asked.items() if patience is not None}


class Lease(Part):
    """How long a guard trusts what it last heard."""

    ttl: PositiveDuration = duration_field("2m", "Validity of a heartbeat.")
    grace: Duration = duration_field("10m", "Time without a heartbeat before on_lost.")
    on_lost: Action = Field(default="route_to_human_review", description="What a guard does then.")


class NeverEvent(Part):
    """Something that must not happen once."""

    name: Name = Field(description="Name, unique in the policy.")
    when: Cel = Field(description="CEL: true for a violation.")
    where: Cel | None = Field(default=None, description="CEL: which events are opportunities; by default all.")
    enforce: Literal["guard"] | None = Field(default=None, description="guard: refuse it before it happens.")
    undecided: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of opportunities that may be undecidable (missing fields)."
    )


class Review(Part):
    """What people can review, and which decisions go to them."""

    capacity: RateText | None = Field(default=None, description="Events that people can review, such as 120/h.")
    on_full: Action = Field(default="degrade_to_safe_mode", description="What is done when they cannot keep up.")
    thresholds: Literal["from_calibration"] | None = Field(
        default=None, description="Which decisions stay automatic before any breach: those that calibration proves."
    )
    error_rate: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Errors that automatic decisions may have; by default the target of the ECE SLO."
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="How sure it must be that they have no more."
    )
    boundary: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="The score from which a decision is for the positive class."
    )
