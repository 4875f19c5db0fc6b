"""What people may tell the workers of a group, as it stands on the `commands` topic."""

from typing import Literal

from msgspec import Struct


class Release(Struct, frozen=True, kw_only=True, tag_field="command", tag="release"):
    """Ends exactly one engagement: it names the control and its epoch, the judge ends nothing else."""

    model: str
    slo: str
    scope: dict[str, str]
    control_id: str
    epoch: int
    by: str
    reason: str = ""


class PolicyRecord(Struct, frozen=True, kw_only=True, tag_field="command", tag="policy"):
    """A policy of a consumer group, whole: its first one (`since` None), or the one that follows from a time (ms) on.

    `reference` is the id of the reference that the group counts by, empty for none.
    """

    group: str
    policy: str
    reference: str = ""
    since: int | None = None


Command = Release
Refusal = Literal["unsigned"]
