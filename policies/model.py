"""The policy: what one YAML file promises of one model's safety, typed and frozen.

Durations are int milliseconds. Field names are the YAML keys (`on_unknown.*.for` is `for_` in Python).
"""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from interlock.policies.model_base import Action, Part, Scalar, Text
from interlock.policies.model_later import BlastRadius, Operator, Rollout, SafeMode
from interlock.policies.model_parts import (
    POSITIVE,
    AcceptDrift,
    Audits,
    Labels,
    Lease,
    NeverEvent,
    OnUnknown,
    Ood,
    Owners,
    Proxy,
    Reference,
    Release,
    Review,
    SliceSet,
)
from interlock.policies.model_slo import INDICATORS, Compare, Indicator, Slo
from interlock.policies.scalars import Duration, Rate, Target, duration_field

__all__ = [
    "INDICATORS",
    "POSITIVE",
    "AcceptDrift",
    "Action",
    "Audits",
    "Compare",
    "Indicator",
    "Labels",
    "NeverEvent",
    "Ood",
    "Owners",
    "Policy",
    "Proxy",
    "Rate",
    "Reference",
    "Release",
    "SliceSet",
    "Slo",
    "Target",
]

_LATER_KEYS = {
    "rollout": "standing limits are not applied yet",
    "safe_mode": "nothing switches to it yet; guards only learn the mode",
    "blast_radius": "controls are not capped yet",
    "operators": "commands are not checked against groups yet",
}


class Policy(Part):
    """The safety SLOs of a model, and what surrounds them. Only `slos` is required."""

    version: Literal[1] = Field(default=1, description="Version of this grammar.")
    model: Text | None = Field(default=None, description="The model; by default each model seen is judged apart.")
    human_goal: Text | None = Field(default=None, description="What people want of the model, in a sentence.")
    proxies: tuple[Proxy, ...] = Field(default=(), description="Numbers that stand for the goal and are not it.")
    owners: Owners = Field(default_factory=Owners, description="Who answers for what.")
    runbook_url: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        default=None, description="Where the person who is paged reads on."
    )
    reference: Reference | None = Field(default=None, description="The data that the model is known to be good on.")
    false_pages_per_year: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=1.0, description="False pages a year that you accept for each model."
    )
    lateness: Duration = duration_field("30s", "How late an event may come and still count in its pane.")
    dedup_ttl: Duration = duration_field("10m", "How long event ids are remembered to drop duplicates.")
    max_skew: Duration = duration_field("5m", "How far in the future an event's time may lie.")
    endpoint: Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")] | None = Field(
        default=None, description="Field that names the endpoint of a decision, such as segment.endpoint."
    )
    high_impact: tuple[Scalar, ...] = Field(
        default=(), description="Decisions of high impact, which decision_ece judges; by default all."
    )
    labels: Labels = Field(default_factory=Labels, description="When labels are expected and how they are judged.")
    ood: Ood = Field(default_factory=Ood, description="When an event is flagged as out of distribution.")
    audits: Audits | None = Field(default=None, description="Unflagged events that people look at.")
    k_anonymity: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=5, description="Reports of abuse below which a slice's rate is neither shown nor judged."
    )
    slices: tuple[SliceSet, ...] = Field(default=(), description="Slices that an SLO can be judged per.")
    rollout: tuple[Rollout, ...] = Field(default=(), description="Standing limits (not in force yet).")
    review: Review | None = Field(default=None, description="Review by people.")
    safe_mode: SafeMode | None = Field(default=None, description="What serves in safe mode (not in force yet).")
    lease: Lease | None = Field(default=None, description="How long guards trust what they last heard.")
    on_unknown: OnUnknown | None = Field(default=None, description="What is done when a verdict stays unknown.")
    release: Release = Field(default_factory=Release, description="What it takes to end a control.")
    blast_radius: BlastRadius | None = Field(default=None, description="Cap of a control (not in force yet).")
    operators: tuple[Operator, ...] = Field(default=(), description="Who may command what (not in force yet).")
    accept_drift: tuple[AcceptDrift, ...] = Field(default=(), description="Known changes that drift is silent about.")
    never_events: tuple[NeverEvent, ...] = Field(default=(), description="What must not happen once.")
    slos: tuple[Slo, ...] = Field(min_length=1, max_length=1000, description="The promises, at least one.")

    @property
    def slos_in_force(self) -> tuple[Slo, ...]:
        """The SLOs that are judged; a comparison of anything but shares is not, yet."""
        return tuple(slo for slo in self.slos if slo.in_force)

    def slice_set(self, slo: Slo) -> SliceSet | None:
        """Return the declared slices that the SLO is judged per; None if it is judged as a whole.

        Raises:
            KeyError: no declared set fits, or `slice` is ambiguous; a loaded policy has no such SLO.
        """
        if slo.per is None:
            return None
        fits = [one for one in self.slices if slo.per == "slice" or set(one.by) == set(slo.per)]
        if len(fits) != 1:
            raise KeyError(slo.name)
        return fits[0]

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hash of all values, defaults included: comments and key order do not change it."""
        values = self.model_dump(mode="json", by_alias=True)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def not_in_force(self) -> tuple[tuple[str, str], ...]:
        """Return (path, sentence) for everything present that loads and is not in force yet."""
        found = [(key, text) for key, text in _LATER_KEYS.items() if getattr(self, key) not in (None, ())]
        if self.release.probe is not None:
            found.append(("release.probe", "no share is readmitted before a release yet"))
        if self.review is not None and (self.review.capacity is not None or "on_full" in self.review.model_fields_set):
            found.append(("review.capacity", "what people can review is not measured yet; thresholds are in force"))
        for i, event in enumerate(self.never_events):
            if event.enforce is not None:
                found.append((f"never_events[{i}].enforce", "guards do not refuse it yet; it is detected"))
        for i, slo in enumerate(self.slos):
            found += _slo_later(f"slos[{i}]", slo)
        return tuple(found)


def _slo_later(path: str, slo: Slo) -> list[tuple[str, str]]:
    found = []
    if not slo.in_force:
        name = slo.resolved_indicator
        found.append((f"{path}.compare", f"variants are not compared by {name} yet; this SLO is not judged at all"))
    return found
