"""The parts of a policy that load and are not in force yet; `check` says so for each that is present."""

from typing import Annotated, Literal

from pydantic import Field

from interlock.policies.model_base import Cel, Part, Share, Text
from interlock.policies.scalars import RateText


class Throttle(Part):
    """A limit on traffic."""

    limit: RateText = Field(description="Requests in a time, such as 200/h.")
    per: Text | None = Field(default=None, description="Segment key whose values each have the limit.")


class Rollout(Part):
    """A standing limit, in force without any breach."""

    variant: Text = Field(description="The variant that is limited, such as canary.")
    version: Text | None = Field(default=None, description="The model version of the variant.")
    share: Share | None = Field(default=None, description="Share of the traffic that it may have.")
    where: Cel | None = Field(default=None, description="CEL: which requests it may have.")
    throttle: Throttle | None = Field(default=None, description="A limit on its traffic.")


class SafeMode(Part):
    """What serves when the model must not."""

    serve: Text = Field(description="The baseline, such as claims-rules@1.9.")


class BlastRadius(Part):
    """How much one control may take away; never caps never-events."""

    max_share: Share = Field(description="Share of the traffic.")
    beyond: Literal["act_and_page", "page"] = Field(default="act_and_page", description="What is done beyond it.")


class Operator(Part):
    """Who may command what."""

    group: Text = Field(description="A group of the keyset.")
    may: tuple[Literal["engage", "release", "silence"], ...] = Field(min_length=1, description="Commands.")
    approvals: Annotated[int, Field(ge=1, le=10)] = Field(default=1, description="Signatures needed.")
