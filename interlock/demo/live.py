"""The live demo: events through a real Kafka, a worker and a guard that obeys; what is seen of it, as it happens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from interlock.demo.follow import Follower, delivered
from interlock.demo.processes import Tail
from interlock.demo.rig import Health, Rig
from interlock.demo.screen import Counting, Scene, Screen
from interlock.demo.story import Incident
from interlock.demo.told import told
from interlock.demo.watch import Name, Watch
from interlock.errors import UserError
from interlock.streams.sink_pages import PageTarget
from interlock.streams.sink_tables import KINDS

STUCK = 60.0
"""Seconds without any progress after which the demo gives up."""

PAGED = 10.0
"""Seconds that a page may take, before a control is told without it."""

TURN = 0.05

SINKS = {"ClickHouse sink": ("clickhouse", tuple(KINDS)), "PagerDuty sink": ("pagerduty", PageTarget.topics)}
"""Each with its group's name and its topics."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """What there will be to see: incidents in `total` events."""

    watch: Watch
    found: Sequence[Incident]
    total: int


@dataclass
class Live:
    """A rig and what is seen of it; panes are `tick` ms wide."""

    rig: Rig
    screen: Screen
    follower: Follower
    scenes: Scenes
    tick: int
    _scene: Scene | None = None
    _health: Health | None = None
    _told: set[Name] = field(default_factory=set)

    def ready(self) -> None:
        """Wait until the worker answers and the guard holds its first lease."""
        log = Tail(self.rig.running["worker"].log)
        said: list[str] = []

        def says_where() -> bool:
            said.extend(line.decode() for line in log.read() if line.startswith(b"worker of "))
            return bool(said)

        self._until(says_where, "the worker")
        self._health = Health(said[0].rpartition(" ")[2])
        self._until(lambda: set(self.watch.modes) == {"normal"}, "the guard's first lease")

    @property
    def watch(self) -> Watch:
        """What was seen."""
        return self.scenes.watch

    @property
    def health(self) -> Health:
        """Whom to ask how the worker is; `ready` finds out."""
        if self._health is None:
            raise RuntimeError("asked before the worker was ready")
        return self._health

    def stream(self) -> None:
        """Send everything; wait until all of it is judged, and all that happened is told."""
        self._scene = Scene(self.watch, self.health, self.scenes.total, Counting())
        self._until(self.rig.send().finished, "the sender")
        self._until(self._is_judged, "the last verdicts")
        self._until(lambda: self.watch.sightings.keys() == self._told, "the guard and the pages")

    def finish(self) -> tuple[int, list[str]]:
        """End the processes in order, when each has done its work.

        Returns the event time (ms) up to which all is judged, and in what the run was no run that a replay must equal.
        """
        judged, exceptions = self.health.judged, list(self.health.status.get("exceptions", []))
        self.health.close()
        self._scene = None
        self.rig.stop("worker")
        for group, topics in SINKS.values():
            self._until(partial(delivered, self.rig.broker.bootstrap, group, topics), f"the {group} sink")
        self.rig.stop(*SINKS, "serving process")
        self.follower.catch_up()
        return judged, exceptions

    def _is_judged(self) -> bool:
        end = self.health.watermark // self.tick * self.tick
        return self.health.counted >= self.scenes.total and self.health.judged >= end > 0

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """Go on until something holds; UserError when nothing new is seen for too long."""
        seen, since = self._seen(), time.monotonic()
        while not holds():
            self._turn()
            if (now := self._seen()) != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > STUCK:
                raise UserError(
                    f"demo: waited {STUCK:.0f} s for {what}; the logs in {self.rig.stream.logs} may say why"
                )

    def _seen(self) -> tuple[int, ...]:
        """Return numbers that change while there is progress."""
        read = (self._health.counted, self._health.judged) if self._health is not None else ()
        return (*read, len(self.watch.sending.steps), *map(len, self.watch.lines.values()))

    def _turn(self) -> None:
        self.rig.check()
        self.follower.look(TURN)
        for name, sighting in self.watch.sightings.items():
            late = time.time_ns() / 1e6 - sighting.at > PAGED * 1000
            if name not in self._told and ((sighting.obeyed and sighting.page) or late):
                self._told.add(name)
                self.screen.say(told(self.watch, sighting, self.scenes.found))
        if self._scene is not None:
            self.screen.show(self._scene)
