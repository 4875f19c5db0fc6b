"""Guard: which mode a serving system must serve a request in. It reads the control topic, and fails safe (DESIGN.md §5).

    guard = Guard("127.0.0.1:9092")
    if guard.mode(model="claims-triage", segment={"tenant": "acme"}) == "human_review": ...

Light: kafka-python and msgspec are all it needs.
"""

import logging
import os
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self

from interlock.connection import Connection as Connection
from interlock.control_state import ControlState
from interlock.following import Follower, Pairs
from interlock.protocol import MODES, ControlRecord
from interlock.reaching import settings_of
from interlock.scopes import Request, Segment

LOG = logging.getLogger("interlock.guard")

OnChange = Callable[[str, ControlRecord], object]


def wall_clock() -> float:
    """Return ms since 1970 UTC: what leases are given by."""
    return time.time_ns() / 1e6


class Guard:
    """Follows the control topic in the background, and says the mode of a request at once.

    A request is served in the strongest mode of the engaged controls that are about it. When no lease vouches for what
    the guard knows, in at least the mode that the last lease names for it, or `on_lost` if there never was one.
    """

    def __init__(  # noqa: PLR0913 - what a serving system may set
        self,
        bootstrap: str | None = None,
        *,
        prefix: str | None = None,
        models: Collection[str] | None = None,
        on_change: OnChange | None = None,
        on_lost: str = "human_review",
        clock: Callable[[], float] = wall_clock,
        connection: Connection | None = None,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin to read; this does not wait for the broker.

        How Kafka is reached is said by `connection`; without one, by INTERLOCK_… variables, and `bootstrap` and `prefix`
        stand over theirs. `models` are those that it heeds, by default all. `on_change(model,
        control)` is called from the guard's thread: once it is ready, for every engaged control, then for every change.
        `clock` gives ms since 1970 UTC. `kafka` are further settings of kafka-python's consumer.

        Raises:
            ValueError: `on_lost` is no mode.
            UserError: Something is wrong with the connection, a line each.
        """
        to = connection or Connection.of_environment(bootstrap=bootstrap, prefix=prefix)
        self._state = ControlState(clock, on_lost=on_lost, models=models)
        self._on_change = on_change
        self._told = False
        self._lost: frozenset[str] = frozenset()
        settings = {**settings_of(to), "isolation_level": to.isolation_level, **(kafka or {})}
        self._follower: Follower | None = Follower(f"{to.prefix}control", self._take, self._tick, settings)
        self._follower.start()
        _FOLLOWING.add(self)

    @classmethod
    def static(cls, mode: str) -> Self:
        """Return a guard that says one mode for ever and reads nothing, for tests.

        Raises:
            ValueError: It is no mode.
        """
        guard = cls.__new__(cls)
        guard._stand(ControlState(wall_clock, on_lost=mode))  # noqa: SLF001 - its own
        return guard

    def mode(
        self,
        *,
        model: str,
        segment: Segment = None,
        version: str | None = None,
        variant: str | None = None,
        score: float | None = None,
    ) -> str:
        """Return the mode that a request must be served in; what is left out is taken for the worst. Never waits.

        `score` is what the model said of it: a control of human review may leave some scores to be decided automatically,
        those that calibration proves. Without a score, and for NaN, people decide.
        """
        return MODES[self._state.rank(model, Request(segment, version, variant, score))]

    def controls(
        self, *, model: str, segment: Segment = None, version: str | None = None, variant: str | None = None
    ) -> tuple[ControlRecord, ...]:
        """Return the engaged controls that are about a request, the strongest first."""
        return self._state.controls(model, Request(segment, version, variant))

    def parameters(
        self, *, model: str, segment: Segment = None, version: str | None = None, variant: str | None = None
    ) -> dict[str, Any]:
        """Return the parameters of the strongest control that is about a request; empty without one."""
        controls = self.controls(model=model, segment=segment, version=version, variant=variant)
        return dict(controls[0].parameters) if controls else {}

    @property
    def counts(self) -> dict[str, int]:
        """How many records it has read, by what they were; see ControlState."""
        return dict(self._state.counts)

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until it has read what was on the topic when it began; whether it has. `timeout` in seconds."""
        return self._follower is None or self._follower.ready.wait(timeout)

    def close(self) -> None:
        """Stop reading. What it knows stays, and its leases run out."""
        if self._follower is not None:
            self._follower.close()
            _FOLLOWING.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stand(self, state: ControlState) -> None:
        """Say what a state says that nothing will change."""
        self._state, self._follower = state, None

    def _take(self, records: Pairs) -> None:
        changed = self._state.read(records)
        if self._told:
            self._tell(changed)

    def _tick(self) -> None:
        if not self._told and self._follower is not None and self._follower.ready.is_set():
            self._told = True
            self._tell(self._state.engaged())
        lost = self._state.lost()
        for model in lost - self._lost:
            LOG.warning("no lease vouches for the controls of %s: at least its mode for lost leases is in force", model)
        for model in self._lost - lost:
            LOG.warning("a lease vouches for the controls of %s again", model)
        self._lost = lost

    def _tell(self, controls: Collection[ControlRecord]) -> None:
        if self._on_change is None:
            return
        for control in controls:
            try:
                self._on_change(control.model, control)
            except Exception:
                LOG.exception("on_change failed for control %s of %s", control.control_id, control.model)

    def _go_on(self) -> None:
        if self._follower is not None:
            self._follower.start()


_FOLLOWING: "weakref.WeakSet[Guard]" = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_FOLLOWING):
        guard._go_on()  # noqa: SLF001 - a forked worker of a server has the guard, but not its thread


os.register_at_fork(after_in_child=_after_fork)
