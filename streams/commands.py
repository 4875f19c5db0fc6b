"""What people may tell a judge, as it stands on the `commands` topic."""

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


Command = Release
Refusal = Literal["unsigned"]
