"""What judging says as of a pane, and as of when it speaks."""

from dataclasses import dataclass, field

from interlock.records import Control, Verdict


@dataclass(slots=True)
class Said:
    """What judging yields as of `ts`, the end of an arrival pane in ms; `freed` are scopes that are judged no more."""

    verdicts: list[Verdict] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    freed: list[dict[str, str]] = field(default_factory=list)
    ts: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when a verdict speaks: the arrival pane, and the last judged pane of the SLO's own axis."""

    pane: int
    judged: int
