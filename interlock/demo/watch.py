"""What the live demo has seen: how far the stream is, what was published, paged and obeyed, and how soon. No I/O."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.demo.sender import Step
from interlock.demo.serving import Report, Slice
from interlock.records import Control, Verdict
from interlock.streams.pipeline import Yield
from interlock.streams.replay import Summary

RATE = 2_000_000_000
"""Nanoseconds over which a rate is taken."""

Name = tuple[str, str]
"""A transition of a control: its id, and `engaged` or `released`."""


@dataclass
class Sending:
    """The steps of the sender, by event time."""

    steps: list[Step] = field(default_factory=list)

    def first_at(self, ts: int) -> Step | None:
        """Return the first step that reached an event time (ms), None if none has."""
        place = bisect_left(self.steps, ts, key=lambda step: step.ts)
        return self.steps[place] if place < len(self.steps) else None

    def reached(self, clock: int) -> int:
        """Return the event time (ms) that was reached at a moment of the monotonic clock (ns)."""
        place = bisect_left(self.steps, clock, key=lambda step: step.clock)
        return self.steps[max(0, place - 1)].ts

    def rate(self) -> float:
        """Return events per second of late."""
        if len(self.steps) < 2:  # noqa: PLR2004 - a rate needs two moments
            return 0.0
        last = self.steps[-1]
        first = self.steps[bisect_left(self.steps, last.clock - RATE, key=lambda step: step.clock)]
        return (last.events - first.events) / max(1, last.clock - first.clock) * 1e9


@dataclass
class Sighting:
    """A transition of a control: as published (`at`: ms, the broker's clock), as the guard obeyed it, as it was paged."""

    control: Control
    at: int
    obeyed: Report | None = None
    page: dict[str, Any] | None = None


@dataclass
class Watch:
    """Everything that was seen; `slices` are those whose mode the serving process asks for."""

    slices: Sequence[Slice]
    sending: Sending = field(default_factory=Sending)
    summary: Summary = field(default_factory=Summary)
    sightings: dict[Name, Sighting] = field(default_factory=dict)
    modes: list[str] = field(default_factory=list)
    lines: dict[str, list[bytes]] = field(default_factory=lambda: {"verdicts": [], "control": [], "pages": []})
    """The records of each topic, as they came."""

    def __post_init__(self) -> None:
        """No mode is known yet."""
        self.modes = [""] * len(self.slices)
        self._reports: dict[Name, Report] = {}
        self._pages: dict[Name, dict[str, Any]] = {}

    def verdicts(self, lines: Iterable[bytes]) -> None:
        """Take in verdicts."""
        found = list(lines)
        self.lines["verdicts"] += found
        self.summary.hear(Yield(verdicts=[Verdict.model_validate_json(line) for line in found]))

    def control(self, line: bytes, at: int) -> None:
        """Take in a control. The first that is heard of a transition counts: a never-event's comes ahead of its pane's."""
        self.lines["control"].append(line)
        control = Control.model_validate_json(line)
        name = control.control_id, control.state
        if name not in self.sightings:
            self.sightings[name] = Sighting(control, at, self._reports.get(name), self._pages.get(name))

    def report(self, report: Report) -> None:
        """Take in what the serving process says."""
        for number, _, mode in report.changed:
            self.modes[number] = mode
        name = report.control_id, report.state
        if report.control_id and name not in self._reports:
            self._reports[name] = report
            if name in self.sightings:
                self.sightings[name].obeyed = report

    def page(self, told: dict[str, Any]) -> None:
        """Take in an event of PagerDuty's API."""
        name = told["dedup_key"].rpartition("/")[2], "released" if told["event_action"] == "resolve" else "engaged"
        if name not in self._pages:
            self._pages[name] = told
            if name in self.sightings:
                self.sightings[name].page = told

    def delay(self, sighting: Sighting) -> tuple[float, float] | None:
        """Return ms from when the causing event was sent until it was published, and until the guard had obeyed.

        The causing event of a never-event is the violation; else the first event at or past the control's time, which is
        the end of the pane that settled it.
        """
        cause = self.sending.first_at(sighting.control.ts)
        if cause is None or sighting.obeyed is None:
            return None
        return sighting.at - cause.at, (sighting.obeyed.clock - cause.clock) / 1e6
