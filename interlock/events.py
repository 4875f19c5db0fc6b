"""The wire: what serving systems, labellers and abuse desks send; the types that the published schemas come from."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec import json as msgspec_json

MAX_EVENT_BYTES = 1 << 20
MAX_ID_BYTES = 512

Scalar = str | float | bool
Feature = float | str | None
EventId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES, description="Unique; at most 512 bytes of UTF-8.")]
Timestamp = Annotated[
    int | str, Meta(description="Milliseconds since 1970 UTC, or RFC 3339 with a zone (accepted, slower).")
]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Predicted(Struct, omit_defaults=True):
    """What a model said about the case of an outcome, whose `event_id` it has; the other fields are a prediction's."""

    ts: Timestamp
    model: Annotated[str, Meta(min_length=1)]
    model_version: str | UnsetType = UNSET
    segment: dict[str, str] | UnsetType = UNSET
    features: dict[str, Feature] | UnsetType = UNSET
    embedding: list[float] | UnsetType = UNSET
    logits: Annotated[list[float], Meta(description="One per class, in the same order always.")] | UnsetType = UNSET
    prediction: Scalar | UnsetType = UNSET
    score: Annotated[float, Meta(ge=0, le=1, description="Probability of the positive class.")] | UnsetType = UNSET
    probabilities: dict[str, Probability] | UnsetType = UNSET
    decision: Scalar | UnsetType = UNSET
    route: Literal["automatic", "human", "baseline", "refused"] | UnsetType = UNSET
    served: Annotated[bool, Meta(description="False: scored in shadow, not shown to anyone.")] | UnsetType = UNSET
    control_id: str | UnsetType = UNSET
    instance: str | UnsetType = UNSET
    variant: Annotated[str, Meta(description="Arm of a rollout, such as canary.")] | UnsetType = UNSET
    ood_score: Annotated[float, Meta(description="The serving system's own out-of-distribution score.")] | UnsetType = (
        UNSET
    )
    group_id: str | UnsetType = UNSET
    rank: int | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
    batch_id: str | UnsetType = UNSET
    subject: Annotated[str, Meta(description="HMAC of the person concerned; never a plain identity.")] | UnsetType = (
        UNSET
    )


class Prediction(Predicted, kw_only=True, omit_defaults=True):
    """What a model said about one case, and what was done with it."""

    event_id: EventId


class Outcome(Struct, omit_defaults=True):
    """What turned out to be true of an earlier prediction; `label`, `confirmed_ood` or both."""

    event_id: EventId
    ts: Timestamp
    label: Scalar | UnsetType = UNSET
    confirmed_ood: bool | UnsetType = UNSET
    revision: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Higher replaces lower; default 0.")] | UnsetType = (
        UNSET
    )
    source: str | UnsetType = UNSET
    prediction: (
        Annotated[Predicted, Meta(description="The prediction itself, where labels.joined_at_source asks for it.")]
        | UnsetType
    ) = UNSET


class AbuseReport(Struct, omit_defaults=True):
    """A report of misuse or harm: a category, no free text and no identity."""

    event_id: EventId
    ts: Timestamp
    model: Annotated[str, Meta(min_length=1)]
    category: Annotated[str, Meta(min_length=1)]
    segment: dict[str, str] | UnsetType = UNSET


SCHEMA_TYPES: dict[str, type[Struct]] = {"prediction": Prediction, "outcome": Outcome, "abuse": AbuseReport}


def schemas() -> dict[str, dict[str, object]]:
    """Return the JSON Schema (2020-12) of every input message by name; `docs/schemas/NAME.json` holds each."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: dialect | msgspec_json.schema(kind) for name, kind in SCHEMA_TYPES.items()}
